"""Sets of event indices as disjoint, sorted, half-open intervals."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Self


class IntervalSet:
    """A set of non-negative integers kept as disjoint half-open intervals.

    Adding at the end, the usual case, takes constant time; anywhere else, the time to move the
    intervals behind. Memory grows with the number of intervals, not of indices.

    Example:
        >>> events = IntervalSet([(0, 10), (10, 20), (30, 40)])
        >>> list(events), len(events)
        ([(0, 20), (30, 40)], 30)
        >>> list(events.missing(5, 35))
        [(20, 30)]
    """

    __slots__ = ("_ends", "_n", "_starts")

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._n = 0
        for first, end in intervals:
            self.add(first, end)

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IntervalSet):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"IntervalSet({list(self)})"

    @property
    def n_intervals(self) -> int:
        """Number of disjoint intervals."""
        return len(self._starts)

    def add(self, first: int, end: int) -> int:
        """Adds [first, end) and returns how many of its indices were new.

        Raises:
            ValueError: the interval is negative or ends before it begins.
        """
        if not 0 <= first <= end:
            raise ValueError(f"expected 0 <= first <= end; got [{first}, {end})")
        if first == end:
            return 0
        if not self._ends or first >= self._ends[-1]:
            self._append(first, end)
            self._n += end - first
            return end - first
        left = bisect_left(self._ends, first)
        right = bisect_right(self._starts, end)
        held = sum(self._ends[i] - self._starts[i] for i in range(left, right))
        if left < right:
            first = min(first, self._starts[left])
            end = max(end, self._ends[right - 1])
        self._starts[left:right] = [first]
        self._ends[left:right] = [end]
        added = end - first - held
        self._n += added
        return added

    def _append(self, first: int, end: int) -> None:
        if self._ends and first == self._ends[-1]:
            self._ends[-1] = end
        else:
            self._starts.append(first)
            self._ends.append(end)

    def remove(self, first: int, end: int) -> int:
        """Removes [first, end) and returns how many indices that were."""
        left = bisect_right(self._ends, first)
        right = bisect_left(self._starts, end)
        if left >= right or first >= end:
            return 0
        removed = self.count(first, end)
        kept = [(self._starts[left], first), (end, self._ends[right - 1])]
        kept = [(a, b) for a, b in kept if a < b]
        self._starts[left:right] = [a for a, _ in kept]
        self._ends[left:right] = [b for _, b in kept]
        self._n -= removed
        return removed

    def count(self, first: int, end: int) -> int:
        """Returns how many indices of [first, end) are in the set."""
        left = bisect_right(self._ends, first)
        right = bisect_left(self._starts, end)
        return sum(
            min(end, self._ends[i]) - max(first, self._starts[i]) for i in range(left, right)
        )

    def missing(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """Yields the intervals of [first, end) that are not in the set."""
        at = first
        for i in range(bisect_right(self._ends, first), len(self._starts)):
            if self._starts[i] >= end:
                break
            if self._starts[i] > at:
                yield at, self._starts[i]
            at = self._ends[i]
        if at < end:
            yield at, end

    def union(self, other: Self) -> "IntervalSet":
        """Returns the indices that are in either set."""
        return IntervalSet(sorted([*self, *other]))
