"""Which rows make the stream and in which order: pure functions of a seed, cheap to seek in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPLITMIX_GAMMA = 0x9E3779B97F4A7C15
THINNING, BLOCK_ORDER, ROW_ORDER, PRESCALE = 1, 2, 3, 4
"""The uses of a seed; each has random numbers of its own."""


def random_bits(seed: int, use: int, index: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns 64 random bits per index, a pure function of (seed, use, index).

    A counter-based generator: SplitMix64's output function (Steele, Lea, Flood, OOPSLA 2014)
    of a counter that starts at a hash of seed and use. Unlike numpy's generators its values
    are the same in every version, so that a run can be resumed after an upgrade.

    Args:
        seed: any integer.
        use: what the numbers are for.
        index: counters, shape (n,).
    """
    start = np.full(1, seed % 2**64, dtype=np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        key = _mix(_mix(start) + np.uint64(use) * np.uint64(SPLITMIX_GAMMA))
        return _mix(key + (index + np.uint64(1)) * np.uint64(SPLITMIX_GAMMA))


def uniform(seed: int, use: int, index: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Returns one uniform number in [0, 1) per index; see `random_bits`."""
    return (random_bits(seed, use, index) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(seed: int, use: int, start: int, n: int) -> NDArray[np.int64]:
    """Returns a permutation of n things: the order of the random bits of start ... start + n.

    Example:
        >>> permutation(1, ROW_ORDER, 0, 5).tolist() == permutation(1, ROW_ORDER, 0, 5).tolist()
        True
    """
    index = np.arange(start, start + n, dtype=np.uint64)
    order: NDArray[np.int64] = np.argsort(random_bits(seed, use, index), kind="stable")
    return order


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return result


@dataclass(frozen=True, slots=True)
class Thinning:
    """The probabilities with which rows are kept, to reach a fraction of signal.

    Args:
        background, signal: probability to keep a row of each kind; one of them is 1.
    """

    background: float
    signal: float

    @classmethod
    def to_fraction(cls, fraction: float, n_background: int, n_signal: int) -> "Thinning":
        """Returns the thinning that leaves a fraction of signal, by expectation.

        Args:
            fraction: wanted signal / (signal + background), in [0, 1].
            n_background: rows of background that there are.
            n_signal: rows of signal that there are.

        Example:
            >>> Thinning.to_fraction(0.01, 9900, 1000)
            Thinning(background=1.0, signal=0.1)
        """
        if fraction * n_background <= (1.0 - fraction) * n_signal:
            wanted = fraction * n_background
            return cls(1.0, min(1.0, wanted / ((1.0 - fraction) * n_signal)) if n_signal else 0.0)
        wanted = (1.0 - fraction) * n_signal
        return cls(min(1.0, wanted / (fraction * n_background)), 1.0)

    def keep(self, label: NDArray[np.uint8], seed: int, first_row: int) -> NDArray[np.bool_]:
        """Returns which of consecutive rows are kept, shape (n,).

        Args:
            label: their truth, 1 for signal, shape (n,).
            seed: seed of the thinning.
            first_row: number of the first row over all files.
        """
        row = np.arange(first_row, first_row + len(label), dtype=np.uint64)
        probability = np.where(label == 1, self.signal, self.background)
        kept: NDArray[np.bool_] = uniform(seed, THINNING, row) < probability
        return kept


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive rows of one file that are read at once.

    Args:
        reader: which file.
        start, stop: half-open range of its rows.
        first_row: number of the first row over all files.
        n_kept: rows that survive the thinning.
        kept: which ones, as packed bits; None where all do.
    """

    reader: int
    start: int
    stop: int
    first_row: int
    n_kept: int
    kept: NDArray[np.uint8] | None = None

    @property
    def keep(self) -> NDArray[np.bool_] | None:
        """Mask of the rows that survive, shape (stop - start,); None for all."""
        if self.kept is None:
            return None
        return np.unpackbits(self.kept, count=self.stop - self.start).astype(np.bool_)


class RowOrder:
    """The order of the stream: blocks in groups, one group in memory at a time.

    Without shuffling each block is a group and all stay in place. With shuffling the blocks
    are permuted, as many as fit into the row budget make a group, and the rows of a group are
    permuted: each is a pure function of the seed and the group.

    Args:
        blocks: all blocks, in the order of the files.
        shuffle: whether to permute.
        seed: seed of the permutations.
        group_rows: rows per group when shuffling.
    """

    def __init__(
        self, blocks: list[Block], *, shuffle: bool, seed: int, group_rows: int = 65_536
    ) -> None:
        self._seed = seed
        self._shuffle = shuffle
        if shuffle and blocks:
            blocks = [blocks[i] for i in permutation(seed, BLOCK_ORDER, 0, len(blocks))]
            largest = max(block.stop - block.start for block in blocks)
            step = max(1, group_rows // largest)
        else:
            step = 1
        self._groups = [blocks[i : i + step] for i in range(0, len(blocks), step)]
        sizes = [sum(block.n_kept for block in group) for group in self._groups]
        self._ends = np.cumsum(sizes, dtype=np.int64)

    @property
    def n_events(self) -> int:
        """Rows in the stream."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def group_at(self, position: int) -> tuple[int, int]:
        """Returns the group that holds a position of the stream, and its first position."""
        group = int(np.searchsorted(self._ends, position, side="right"))
        return group, int(self._ends[group - 1]) if group else 0

    def blocks(self, group: int) -> list[Block]:
        """Returns the blocks of a group, in the order in which they are read."""
        return self._groups[group]

    def rows(self, group: int, n: int) -> NDArray[np.int64] | None:
        """Returns the order of a group's n rows; None for as they are."""
        if not self._shuffle:
            return None
        start = int(self._ends[group - 1]) if group else 0
        return permutation(self._seed, ROW_ORDER, start, n)
