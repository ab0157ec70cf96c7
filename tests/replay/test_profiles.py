"""The number of expected events is the integral of the rate that each profile promises."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad

from replay.fill import SLOTS, Fill, orbits_filled
from replay.profiles import Bursts, Profile, Ramp, Steady
from replay.settings import FillConfig

QUICK = settings(max_examples=60, deadline=None)
DECAYS = FillConfig(lifetime_s=40.0, stable_s=100.0, turnaround_s=20.0, lumisection_s=7.0)
PROFILES: list[Profile] = [
    Steady(30.0),
    Ramp(100.0, 900.0, 8.0),
    Ramp(900.0, 100.0, 8.0),
    Bursts(0.0, 50.0, 10.0, 2.0),
    Bursts(5.0, 50.0, 10.0, 10.0),
    Fill(100.0, DECAYS),
    Fill(100.0, replace(DECAYS, decay="burn_off", level_s=30.0)),
    Fill(100.0, replace(DECAYS, orbit_s=11.0)),
]
profiles = pytest.mark.parametrize("profile", PROFILES, ids=repr)


def expected(profile: Profile, *time_s: float) -> NDArray[np.float64]:
    return profile.expected(np.array(time_s))


def rate(profile: Profile, time_s: float) -> float:
    before, after = expected(profile, time_s - 1e-4, time_s + 1e-4)
    return float(after - before) / 2e-4


@profiles
@QUICK
@given(time_s=st.lists(st.floats(0, 1e6), min_size=2, max_size=20).map(sorted))
def test_the_number_expected_never_falls(profile: Profile, time_s: list[float]) -> None:
    found = expected(profile, *time_s)
    assert (np.diff(found) >= -1e-9 * found[-1]).all()
    assert found[0] >= 0.0


@profiles
def test_nothing_is_expected_at_the_start(profile: Profile) -> None:
    assert expected(profile, 0.0)[0] == 0.0


def test_a_ramp_rises_and_falls_in_a_quarter_of_the_period_each() -> None:
    ramp = Ramp(100.0, 900.0, 8.0)
    found = [rate(ramp, t) for t in (1.0, 3.9, 5.0, 6.0, 7.0, 8.0, 13.0)]
    assert found == pytest.approx([100, 100, 500, 900, 500, 100, 500], rel=1e-3)


def test_bursts_begin_each_period() -> None:
    bursts = Bursts(5.0, 50.0, 10.0, 2.0)
    found = [rate(bursts, t) for t in (0.1, 1.9, 2.1, 9.9, 10.1, 12.1)]
    assert found == pytest.approx([50, 50, 5, 5, 50, 5])


def law(fill: FillConfig, t: float) -> float:
    after = max(0.0, t - fill.level_s) / fill.lifetime_s
    return float(np.exp(-after) if fill.decay == "exponential" else (1 + after) ** -2)


@pytest.mark.parametrize("decay", ["exponential", "burn_off"])
@pytest.mark.parametrize("level_s", [0.0, 30.0])
@pytest.mark.parametrize("t", [7.0, 28.0, 98.0, 100.0])
def test_a_fill_delivers_the_integral_of_its_luminosity(
    decay: str, level_s: float, t: float
) -> None:
    fill = replace(DECAYS, decay=decay, level_s=level_s)
    whole, _ = quad(lambda s: law(fill, s), 0.0, t, points=[level_s] if level_s < t else None)
    assert expected(Fill(100.0, fill), t)[0] == pytest.approx(100.0 * whole)


def test_the_luminosity_is_constant_within_a_lumisection() -> None:
    fill = Fill(100.0, DECAYS)
    rates = np.array([rate(fill, t) for t in (0.1, 3.5, 6.9, 7.1, 13.9, 14.1)])
    assert rates[:3] == pytest.approx(rates[0])
    assert rates[3:5] == pytest.approx(rates[3])
    assert (np.diff(rates[[0, 3, 5]]) < 0).all()
    assert rates[0] == pytest.approx(100 * 40 / 7 * (1 - np.exp(-7 / 40)))


def test_no_event_is_expected_between_fills_and_the_next_one_is_like_the_first() -> None:
    fill = Fill(100.0, DECAYS)
    one = expected(fill, 100.0)[0]
    assert expected(fill, 110.0, 120.0) == pytest.approx([one, one])
    assert expected(fill, 150.0)[0] - one == pytest.approx(expected(fill, 30.0)[0])


def test_the_designs_burn_off_halves_the_luminosity_after_18_hours() -> None:
    """44.85 h (sqrt(2) - 1), LHC Design Report, chapter 2."""
    tau = 44.85 * 3600
    fill = FillConfig(decay="burn_off", lifetime_s=tau, stable_s=86_400.0)
    half = (np.sqrt(2) - 1) * tau
    assert rate(Fill(100.0, fill), half) == pytest.approx(50.0, rel=1e-3)


def slots() -> NDArray[np.float64]:
    """How much of the beam is in each slot, in units of its mean over the filled ones."""
    edges = np.arange(SLOTS + 1) / SLOTS
    return np.diff(orbits_filled(edges)) * 2808


def test_the_nominal_filling_has_2808_bunches_in_39_trains_of_72() -> None:
    filled = slots() > 0.5
    assert slots()[filled] == pytest.approx(1.0)
    starts = np.flatnonzero(np.diff(filled.astype(int), prepend=0) == 1)
    ends = np.flatnonzero(np.diff(filled.astype(int), append=0) == -1) + 1
    assert filled.sum() == 2808
    assert (ends - starts).tolist() == [72] * 39


def test_the_abort_gap_is_the_longest_one_and_lasts_for_3_microseconds() -> None:
    filled = np.flatnonzero(slots() > 0.5)
    gaps = np.diff(filled) - 1
    assert sorted(set(gaps.tolist())) == [0, 8, 38, 39]
    assert SLOTS - 1 - filled[-1] == 119
    assert pytest.approx(3e-6, rel=0.02) == 119 * 24.95e-9


def test_trains_change_the_place_of_events_and_not_their_number() -> None:
    plain, trains = Fill(100.0, DECAYS), Fill(100.0, replace(DECAYS, orbit_s=10.0))
    whole_orbits = (10.0, 50.0, 90.0, 240.0)
    assert expected(trains, *whole_orbits) == pytest.approx(expected(plain, *whole_orbits))
    gap = expected(trains, 10.0 * (1 - 118 / SLOTS), 10.0)
    assert gap[0] == pytest.approx(gap[1])
