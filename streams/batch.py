"""Batches: what was sent of a range of events, columnar and read-only. Truth is apart."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.errors import SchemaError

T = TypeVar("T", bound=np.generic)

FLOAT32 = np.dtype(np.float32)
"""An array's type compares with this at once; with np.float32 it must be converted first."""

EVENTS_PER_ROW = 64
"""Event indices that a batch may cover for each row that it may hold: batches stay full as long
as one event in 64 is selected, and the bits that say which need at most 8 bytes per row."""

LARGEST_RANGE = 1 << 20
"""No batch covers more event indices than these (128 KiB of bits), unless each is a row."""


def largest_range(batch_events: int) -> int:
    """Returns how many event indices a batch of at most so many rows may cover.

    Example:
        >>> largest_range(1024), largest_range(2_000_000)
        (65536, 2000000)
    """
    return max(batch_events, min(EVENTS_PER_ROW * batch_events, LARGEST_RANGE))


def largest_nbytes(batch_events: int, event_nbytes: int) -> int:
    """Returns how many bytes a batch of at most so many rows has with bits and labels."""
    return batch_events * (event_nbytes + 1) + -(-largest_range(batch_events) // 8)


def read_only(array: NDArray[T]) -> NDArray[T]:
    """Returns a read-only view of an array; the array itself where it can't be written to."""
    if not array.flags.writeable:
        return array
    view = array.view()
    view.setflags(write=False)
    return view


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The events that were sent of a range of event indices of one lumisection.

    Args:
        x: features of the events sent, in the order of their indices, shape (n, d), float32,
            C-contiguous, in the schema's units; kept as a read-only view. It may come from a
            message and must never be written to.
        first_event, end_event: half-open range of event indices that the batch covers, at least
            as many as rows.
        run: the run's number.
        lumisection: the lumisection that the whole range belongs to, counted from 1.
        present: one bit per index of the range, 1 where the event was sent: uint8, the first
            index in the lowest bit of the first byte, the last byte filled up with zeros. None
            where every event was sent.

    Raises:
        SchemaError: x isn't a two-dimensional, C-contiguous float32 array, or the bits don't
            fit the range and the rows.

    Example:
        >>> rows = np.zeros((2, 5), dtype=np.float32)
        >>> Batch(rows, 10, 14, 1, 1, np.array([0b1010], dtype=np.uint8)).event_indices()
        array([11, 13])
    """

    x: NDArray[np.float32]
    first_event: int
    end_event: int
    run: int
    lumisection: int
    present: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        x = self.x
        flags = x.flags
        if x.ndim != 2 or x.dtype != FLOAT32 or not flags.c_contiguous:
            raise SchemaError(
                f"expected C-contiguous float32 events of shape (n, d); got {x.dtype} {x.shape}"
            )
        if flags.writeable:
            object.__setattr__(self, "x", read_only(x))
        n_range = self.end_event - self.first_event
        if self.present is not None:
            _require_bits(self.present, n_range, len(x))
            object.__setattr__(self, "present", read_only(self.present))
        elif n_range != len(x):
            raise SchemaError(
                f"events [{self.first_event}, {self.end_event}): expected {n_range} rows, or bits "
                f"that say which were sent; got {len(x)} rows"
            )

    def __len__(self) -> int:
        return len(self.x)

    def event_indices(self) -> NDArray[np.int64]:
        """Returns the index of each row's event in its run, shape (n,)."""
        if self.present is None:
            return np.arange(self.first_event, self.end_event, dtype=np.int64)
        bits = np.unpackbits(self.present, bitorder="little")
        return np.flatnonzero(bits).astype(np.int64, copy=False) + self.first_event


def _require_bits(present: NDArray[np.uint8], n_range: int, n_rows: int) -> None:
    """Raises SchemaError unless bits are as many as the range and as often set as rows exist."""
    if n_range <= 0 or present.dtype != np.uint8 or present.shape != (-(-n_range // 8),):
        raise SchemaError(
            f"expected the bits of {n_range} events in {-(-n_range // 8)} bytes; "
            f"got {present.dtype} {present.shape}"
        )
    n_set = int(np.bitwise_count(present).sum())
    is_filled_up = n_range % 8 == 0 or present[-1] >> n_range % 8 == 0
    if n_set != n_rows or n_rows == n_range or not is_filled_up:
        raise SchemaError(
            f"expected bits for {n_rows} rows among {n_range} events, fewer rows than events and "
            f"zeros behind the last; got {n_set} that are set"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Truth labels of a batch's rows; sent in a frame of their own, only when asked for.

    Args:
        label: 1 for signal, 0 for background, in the order of the rows, shape (n,), uint8.
    """

    label: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.label.ndim != 1 or self.label.dtype != np.uint8:
            raise SchemaError(
                f"expected uint8 labels of shape (n,); got {self.label.dtype} {self.label.shape}"
            )
        object.__setattr__(self, "label", read_only(self.label))

    def __len__(self) -> int:
        return len(self.label)
