"""The rate of a trigger over LHC fills: luminosity that decays, lumisections, bunch trains.

A fill lasts for `stable_s` and is followed by `turnaround_s` without collisions; then comes the
next. Within a fill the luminosity is levelled for `level_s` and then decays:

- "exponential": L(t) = L0 exp(-t / τ), with τ = 14.9 h for the design, where burn-off, intrabeam
  scattering and rest gas act together;
- "burn_off": L(t) = L0 / (1 + t / τ)², where nothing but the collisions consumes the protons;
  τ = 44.85 h for the design, and the luminosity is halved after 0.41 τ.

Reference:
    O. Brüning et al. (eds.), LHC Design Report, vol. 1, CERN-2004-003, chapter 2 (both laws,
    lifetimes, turnaround, the nominal filling of 3564 slots); M. Giovannozzi and
    F. F. Van der Veken, 1806.03058 (burn-off).
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from replay.settings import FillConfig

Times = NDArray[np.float64]

SLOTS = 3564
"""Places for a bunch in an orbit, 25 ns apart."""


@dataclass(frozen=True, slots=True)
class Fill:
    """A `replay.profiles.Profile`: fill after fill, the rate proportional to the luminosity.

    Args:
        rate_hz: rate at the begin of a fill; its mean over an orbit where trains are resolved.
        settings: lengths and lifetimes.

    Example:
        >>> half = Fill(100.0, FillConfig(decay="burn_off", lifetime_s=3600.0, stable_s=3600.0))
        >>> half.expected(np.array([0.0, 3600.0, 7200.0])).round(3).tolist()
        [0.0, 180000.0, 180000.0]
    """

    rate_hz: float
    settings: FillConfig

    def expected(self, time_s: Times) -> Times:
        """Returns how many events are expected until some times."""
        fill = self.settings
        if fill.orbit_s:
            time_s = fill.orbit_s * orbits_filled(time_s / fill.orbit_s)
        number, within = np.divmod(time_s, fill.stable_s + fill.turnaround_s)
        within = np.minimum(within, fill.stable_s)
        # The rate is constant within a lumisection: its integral rises linearly between them.
        first = np.floor(within / fill.lumisection_s) * fill.lumisection_s
        end = np.minimum(first + fill.lumisection_s, fill.stable_s)
        share = (within - first) / np.maximum(end - first, np.finfo(np.float64).tiny)
        before = self.delivered_s(first)
        now = before + share * (self.delivered_s(end) - before)
        whole = self.delivered_s(np.array([fill.stable_s]))
        expected: Times = self.rate_hz * (number * whole + now)
        return expected

    def delivered_s(self, time_s: Times) -> Times:
        """Returns the integral of L(t) / L0 over a fill until some times of it, in seconds."""
        fill = self.settings
        level = np.minimum(time_s, fill.level_s)
        after, tau = time_s - level, fill.lifetime_s
        if fill.decay == "exponential":
            decayed = -tau * np.expm1(-after / tau)
        else:
            decayed = after / (1.0 + after / tau)
        delivered: Times = level + decayed
        return delivered


def orbits_filled(orbits: Times) -> Times:
    """Returns how many orbits' worth of bunches have passed after so many orbits.

    Rises in filled slots only, and is a whole number after whole orbits.

    Args:
        orbits: time in orbits, shape (n,).

    Example:
        >>> orbits_filled(np.array([0.0, 36 / 3564, 1 - 119 / 3564, 2.0])).round(4).tolist()
        [0.0, 0.0128, 1.0, 2.0]
    """
    whole, phase = np.divmod(orbits, 1.0)
    edges, passed = _nominal_filling()
    filled: Times = whole + np.interp(phase, edges, passed)
    return filled


@functools.cache
def _nominal_filling() -> tuple[Times, Times]:
    """Edges of the slots in orbits, and the share of bunches before each, shape (SLOTS + 1,).

    The nominal 25 ns filling, b filled and e empty slots:
    3564 = {2 [3 (72b + 8e) + 30e] + [4 (72b + 8e) + 31e]} x 3 + {3 [3 (72b + 8e) + 30e] + 81e}.
    The last 119 slots are empty: the abort gap of 3 µs, in which the beam dump's magnets rise.
    """
    train = [1] * 72 + [0] * 8
    three, four = 3 * train + 30 * [0], 4 * train + 31 * [0]
    slots = 3 * (2 * three + four) + 3 * three + 81 * [0]
    passed = np.concatenate([[0], np.cumsum(slots)]) / sum(slots)
    return np.arange(SLOTS + 1) / SLOTS, passed
