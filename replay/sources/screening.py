"""Events that come twice, and events that come late: found before the stream begins.

Whether an event repeats an earlier one depends on everything before it, and a stream that can be
taken up anywhere mustn't. So identifiers are read once, when the files are opened, and what is
left is a short list of rows. It costs 8 bytes per row while it is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from replay.sources.reader import Reader
from replay.sources.selection import Block
from streams import Status

PER_RUN = 2.0**32
"""More lumisections than a run can have."""


@runtime_checkable
class Keyed(Protocol):
    """A reader whose rows may have identifiers."""

    @property
    def n_keys(self) -> tuple[int, int]:
        """How many numbers identify an event, and how many say where it belongs: 0 for none."""
        ...

    def read_keys(self, start: int, stop: int) -> NDArray[np.float64]:
        """Returns the numbers of both kinds side by side, shape (stop - start, n).

        Raises:
            InputError: the file is damaged there.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """Rows that must not be used.

    Args:
        row: their numbers over all files, ascending, shape (n,).
        status: why, shape (n,), uint8.
    """

    row: NDArray[np.int64]
    status: NDArray[np.uint8]

    def mark(
        self, status: NDArray[np.uint8], first_row: int, keep: NDArray[np.bool_] | None
    ) -> NDArray[np.uint8]:
        """Returns the statuses of a block with good events marked that are on the list.

        Args:
            status: of the rows that are kept, shape (n,).
            first_row: number of the block's first row over all files.
            keep: which of its rows are kept; None for all.
        """
        n_rows = len(status) if keep is None else len(keep)
        low, high = np.searchsorted(self.row, (first_row, first_row + n_rows))
        if low == high:
            return status
        block = np.zeros(n_rows, dtype=np.uint8)
        block[self.row[low:high] - first_row] = self.status[low:high]
        listed = block if keep is None else block[keep]
        marked: NDArray[np.uint8] = np.where(status == int(Status.GOOD), listed, status)
        return marked


def screen(readers: Sequence[Reader], blocks: Sequence[Block]) -> Screened | None:
    """Returns the rows of blocks that repeat an earlier event or belong before one.

    Args:
        readers: the files; those without identifiers aren't looked at.
        blocks: all blocks, in the order of the files.
    """
    first = readers[0]
    if not isinstance(first, Keyed) or not any(first.n_keys):
        return None
    n_identity, n_place = first.n_keys
    hashes, late = [], []
    latest = -np.inf
    rows = [np.arange(b.first_row, b.first_row + b.stop - b.start) for b in blocks]
    for block in blocks:
        reader = readers[block.reader]
        if not isinstance(reader, Keyed):
            return None
        keys = reader.read_keys(block.start, block.stop)
        hashes.append(_hashes(keys[:, :n_identity]))
        place = _place(keys[:, n_identity : n_identity + n_place])
        so_far = np.fmax.accumulate(np.concatenate([[latest], place]))
        late.append(place < so_far[:-1])
        latest = so_far[-1]
    row = np.concatenate(rows)
    status = np.zeros(len(row), dtype=np.uint8)
    if n_place:
        status[np.concatenate(late)] = Status.OUT_OF_ORDER
    if n_identity:
        status[_repeats(np.concatenate(hashes))] = Status.DUPLICATE
    listed = np.flatnonzero(status)
    return Screened(row[listed].astype(np.int64), status[listed])


def _repeats(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which hashes stand further up already."""
    order = np.argsort(hashes, kind="stable")
    is_repeat = np.zeros(len(hashes), dtype=np.bool_)
    is_repeat[order[1:]] = hashes[order[1:]] == hashes[order[:-1]]
    return is_repeat


def _hashes(columns: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Returns 64 bits for each row: splitmix64's finaliser (Steele, Lea, Flood 2014) over all
    columns. Of 1e8 different events two have the same ones once in 3,700 streams.
    """
    mixed = np.zeros(len(columns), dtype=np.uint64)
    for column in columns.T:
        # Adding 0.0 turns -0.0, which is the same number, into 0.0.
        mixed ^= np.ascontiguousarray(column + 0.0).view(np.uint64)
        mixed += np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def _place(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns one number that rises with run and lumisection; exact below 2^21 runs. Where that
    isn't a number, or infinite, it is NaN: such an event says nothing of those behind it.
    """
    place = np.zeros(len(columns))
    for column in columns.T:
        place = place * PER_RUN + column
    place[~np.isfinite(place)] = np.nan
    return place
