"""When events are due, and how much of the time the producer was live.

Pure: time is an argument, in seconds since the start of the stream. A trigger's clock never waits,
so deadlines are absolute: whoever comes late finds more events due, never a shifted clock.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from replay.settings import PacingConfig

TICK_S = 0.005
"""Poisson arrivals are drawn per tick; also how often a paced producer looks at the clock."""

NO_LIMIT = 1 << 62
"""More events than any stream has."""

_TICKS_AT_ONCE = 4096


class Pacer(Protocol):
    """How many events have arrived since the start."""

    def due(self, elapsed_s: float) -> int:
        """Returns how many events are due this long after the start; never decreases."""
        ...


class Asap:
    """Everything is due at once: only credit holds the stream back."""

    def due(self, elapsed_s: float) -> int:  # noqa: ARG002 - the time does not matter here
        """Returns more events than any stream has."""
        return NO_LIMIT


class Constant:
    """Equal gaps.

    Example:
        >>> Constant(rate_hz=1000.0).due(0.0105)
        10
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz

    def due(self, elapsed_s: float) -> int:
        """Returns the number of whole gaps in the elapsed time."""
        return int(elapsed_s * self._rate_hz)


class Poisson:
    """Random arrivals at a constant mean rate: a Poisson count for each tick of 5 ms.

    The count of tick k is the k-th number of the generator, so that the arrivals are a function
    of the seed and of time alone, however often and at what times one asks.

    Args:
        rate_hz: mean rate.
        seed: seed of the counts.
    """

    def __init__(self, rate_hz: float, *, seed: int) -> None:
        self._rate_hz = rate_hz
        self._rng = np.random.default_rng(seed)
        self._n_ticks = 0
        self._n_events = 0

    def due(self, elapsed_s: float) -> int:
        """Returns the arrivals in the ticks that are complete."""
        target = int(elapsed_s / TICK_S)
        while self._n_ticks < target:
            n = min(target - self._n_ticks, _TICKS_AT_ONCE)
            middle_s = TICK_S * (np.arange(n, dtype=np.float64) + self._n_ticks + 0.5)
            self._n_events += int(self._rng.poisson(TICK_S * self.rate_hz(middle_s)).sum())
            self._n_ticks += n
        return self._n_events

    def rate_hz(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the mean rate at some times, shape (n,)."""
        return np.full(len(time_s), self._rate_hz)


class Ramp(Poisson):
    """Poisson arrivals whose mean rate is constant for half of each period, then rises linearly for
    a quarter of it and falls back for the last quarter.

    Args:
        rate_hz: mean rate in the first half.
        peak_hz: mean rate after three quarters.
        period_s: length of a period.
        seed: seed of the counts.

    Example:
        >>> Ramp(100.0, peak_hz=900.0, period_s=8.0, seed=1).rate_hz(np.array([0, 4, 5, 6, 7, 8]))
        array([100., 100., 500., 900., 500., 100.])
    """

    def __init__(self, rate_hz: float, *, peak_hz: float, period_s: float, seed: int) -> None:
        super().__init__(rate_hz, seed=seed)
        self._peak_hz = peak_hz
        self._period_s = period_s

    def rate_hz(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the mean rate at some times, shape (n,)."""
        phase = time_s / self._period_s % 1.0
        share: NDArray[np.float64] = np.clip(1 - np.abs(4 * phase - 3), 0, 1)
        return self._rate_hz + share * (self._peak_hz - self._rate_hz)


def make_pacer(config: PacingConfig) -> Pacer:
    """Returns the pacer that a configuration asks for."""
    if config.arrivals == "asap":
        return Asap()
    rate_hz = config.rate_hz * config.speed
    if config.arrivals == "constant":
        return Constant(rate_hz)
    if config.arrivals == "ramp":
        peak_hz = config.peak_hz * config.speed
        return Ramp(rate_hz, peak_hz=peak_hz, period_s=config.period_s, seed=config.seed)
    return Poisson(rate_hz, seed=config.seed)


class LiveTime:
    """Divides the elapsed time into live, dead and paused: none negative, their sum always exact.

    Each stretch of time is given to one of them when it is over: dead where the events that
    arrived in it were dropped for want of credit, paused where an operator held the stream, live
    otherwise.

    Args:
        now_s: when the clock starts.
    """

    def __init__(self, now_s: float) -> None:
        self._last_ns = round(1e9 * now_s)
        self._live_ns = 0
        self._dead_ns = 0
        self._paused_ns = 0
        self._taken = (0, 0)

    def advance(self, now_s: float, *, dead: bool) -> None:
        """Gives the time since the last call to dead or to live time."""
        now_ns = max(self._last_ns, round(1e9 * now_s))
        if dead:
            self._dead_ns += now_ns - self._last_ns
        else:
            self._live_ns += now_ns - self._last_ns
        self._last_ns = now_ns

    def pause(self, now_s: float) -> float:
        """Gives the time since the last call to the pause; returns it in seconds."""
        now_ns = max(self._last_ns, round(1e9 * now_s))
        passed_ns, self._last_ns = now_ns - self._last_ns, now_ns
        self._paused_ns += passed_ns
        return passed_ns / 1e9

    @property
    def paused_ns(self) -> int:
        """Nanoseconds that were neither live nor dead, since the start."""
        return self._paused_ns

    @property
    def totals_ns(self) -> tuple[int, int]:
        """Live and dead nanoseconds since the start."""
        return self._live_ns, self._dead_ns

    def take_ns(self) -> tuple[int, int]:
        """Returns live and dead nanoseconds since the last take: a lumisection's share."""
        live, dead = self._live_ns - self._taken[0], self._dead_ns - self._taken[1]
        self._taken = self.totals_ns
        return live, dead
