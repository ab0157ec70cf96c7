"""Mean rates as functions of time, each written as its integral: the events expected until then.

The integral rather than the rate, so that the mean of any stretch of time is exact, however long
the stretch and however sharp an edge in it. Times are those of the profile: `pacing.speed` seconds
of it pass in one second of the clock.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from replay.fill import Fill
from replay.settings import PacingConfig

Times = NDArray[np.float64]


class Profile(Protocol):
    """A mean rate that changes with time."""

    def expected(self, time_s: Times) -> Times:
        """Returns how many events are expected between the start and some times.

        Args:
            time_s: seconds of the profile, not negative, shape (n,).

        Returns:
            Never falling with time, 0 at the start, shape (n,).
        """
        ...


@dataclass(frozen=True, slots=True)
class Steady:
    """The same rate at all times.

    Example:
        >>> Steady(100.0).expected(np.array([0.0, 2.0])).tolist()
        [0.0, 200.0]
    """

    rate_hz: float

    def expected(self, time_s: Times) -> Times:
        """Returns how many events are expected until some times."""
        return self.rate_hz * time_s


@dataclass(frozen=True, slots=True)
class Ramp:
    """A rate that is constant for half of each period, rises linearly for a quarter of it and
    falls back for the last quarter.

    Args:
        rate_hz: rate in the first half.
        peak_hz: rate after three quarters.
        period_s: length of a period.

    Example:
        >>> Ramp(100.0, 900.0, 8.0).expected(np.array([4.0, 6.0, 8.0])).tolist()
        [400.0, 1400.0, 2400.0]
    """

    rate_hz: float
    peak_hz: float
    period_s: float

    def expected(self, time_s: Times) -> Times:
        """Returns how many events are expected until some times."""
        period, phase = np.divmod(time_s / self.period_s, 1.0)
        rise, fall = np.clip(phase - 0.5, 0.0, 0.25), np.maximum(phase - 0.75, 0.0)
        # A triangle of height 1 over half a period: 1/4 of a period's worth in each.
        triangle = 0.25 * period + 2.0 * rise**2 + fall - 2.0 * fall**2
        above = (self.peak_hz - self.rate_hz) * self.period_s
        expected: Times = self.rate_hz * time_s + above * triangle
        return expected


@dataclass(frozen=True, slots=True)
class Bursts:
    """Each period begins with a burst.

    Args:
        rate_hz: rate between bursts; may be 0.
        peak_hz: rate in a burst.
        period_s: from the begin of one burst to that of the next.
        burst_s: length of a burst.

    Example:
        >>> Bursts(0.0, 1000.0, 10.0, 2.0).expected(np.array([1.0, 2.0, 9.0, 11.0])).tolist()
        [1000.0, 2000.0, 2000.0, 3000.0]
    """

    rate_hz: float
    peak_hz: float
    period_s: float
    burst_s: float

    def expected(self, time_s: Times) -> Times:
        """Returns how many events are expected until some times."""
        period, within = np.divmod(time_s, self.period_s)
        in_bursts = self.burst_s * period + np.minimum(within, self.burst_s)
        expected: Times = self.peak_hz * in_bursts + self.rate_hz * (time_s - in_bursts)
        return expected


def profile_of(config: PacingConfig) -> Profile:
    """Returns the profile of Poisson arrivals that a configuration asks for."""
    match config.arrivals:
        case "ramp":
            return Ramp(config.rate_hz, config.peak_hz, config.period_s)
        case "bursts":
            return Bursts(config.rate_hz, config.peak_hz, config.period_s, config.burst_s)
        case "fill":
            return Fill(config.rate_hz, config.fill)
    return Steady(config.rate_hz)
