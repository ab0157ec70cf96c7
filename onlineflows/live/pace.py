"""Rates from counters: how fast something goes now, and how fast it went."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

RECENT_S = 5.0
"""A rate of now is the mean over so long."""

LENGTH = 240
"""Points of a history; even."""

STRIDE_S = 1.0
"""Time between two of them at first."""

SET_BACK_S = 1.0
"""Documents may come late by less than this; a clock that goes back by more was set back."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters at one time.

    Args:
        unix_s: the time.
        counters: by name; they never fall while a process lives.
    """

    unix_s: float
    counters: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Stretch:
    """How fast counters rose over a stretch of time.

    Args:
        unix_s: its end.
        rates: per second, by the counters' names.
    """

    unix_s: float
    rates: Mapping[str, float]


class Pace:
    """Keeps rates over the last seconds, and over the whole time in a bounded number of points.

    When the history is full, every second point goes and stretches become twice as long. A counter
    that falls (a process that began anew) starts a new stretch instead of a negative rate. So
    does a clock that was set back; the history then loses the times that are still to come.

    Example:
        >>> pace = Pace()
        >>> for second in range(4):
        ...     pace.add(Sample(second, {"events": 100 * second}))
        >>> pace.now("events"), [s.rates["events"] for s in pace.history]
        (100.0, [100.0, 100.0, 100.0])
    """

    def __init__(self) -> None:
        self._recent: deque[Sample] = deque()
        self._kept: list[Stretch] = []
        self._stride_s = STRIDE_S
        self._from: Sample | None = None

    def add(self, sample: Sample) -> None:
        """Takes in the newest counters; those that come a little late are ignored."""
        newest = self._recent[-1] if self._recent else None
        was_set_back = newest is not None and newest.unix_s - sample.unix_s > SET_BACK_S
        if newest is not None and not was_set_back and sample.unix_s <= newest.unix_s:
            return
        if was_set_back:
            self._kept = [stretch for stretch in self._kept if stretch.unix_s < sample.unix_s]
        if newest is not None and (was_set_back or _fell(newest, sample)):
            self._recent.clear()
            self._from = None
        self._recent.append(sample)
        while sample.unix_s - self._recent[0].unix_s > RECENT_S and len(self._recent) > 2:
            self._recent.popleft()
        if self._from is None:
            self._from = sample
        elif sample.unix_s - self._from.unix_s >= 0.9 * self._stride_s:
            self._kept.append(Stretch(sample.unix_s, _rates(self._from, sample)))
            self._from = sample
            if len(self._kept) == LENGTH:
                self._kept = self._kept[1::2]
                self._stride_s *= 2

    def now(self, name: str) -> float | None:
        """Returns how fast a counter rises now; None while that isn't known."""
        if len(self._recent) < 2:
            return None
        return _rates(self._recent[0], self._recent[-1])[name]

    @property
    def history(self) -> tuple[Stretch, ...]:
        """Rates over the whole time, oldest first."""
        return tuple(self._kept)


def _fell(before: Sample, after: Sample) -> bool:
    return any(after.counters[name] < value for name, value in before.counters.items())


def _rates(before: Sample, after: Sample) -> dict[str, float]:
    elapsed_s = after.unix_s - before.unix_s
    return {
        name: (after.counters[name] - value) / elapsed_s for name, value in before.counters.items()
    }
