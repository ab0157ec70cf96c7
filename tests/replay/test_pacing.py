"""Arrivals are functions of time alone; live and dead time always add up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from replay.pacing import NO_LIMIT, TICK_S, Constant, LiveTime, Poisson, make_pacer
from replay.settings import PacingConfig
from streams import InputError

QUICK = settings(max_examples=40, deadline=None)
times = st.lists(st.floats(0, 100), min_size=1, max_size=20).map(sorted)


def test_asap_means_that_everything_is_due() -> None:
    assert make_pacer(PacingConfig("asap")).due(0.0) == NO_LIMIT


@QUICK
@given(st.floats(1, 1e6), st.floats(0, 1e4))
def test_constant_arrivals_follow_the_rate(rate_hz: float, elapsed_s: float) -> None:
    assert Constant(rate_hz).due(elapsed_s) == pytest.approx(rate_hz * elapsed_s, abs=1)


def test_the_speed_multiplies_the_rate() -> None:
    pacer = make_pacer(PacingConfig("constant", rate_hz=1000.0, speed=2.5))
    assert pacer.due(4.0) == 10_000


@QUICK
@given(times, times)
def test_poisson_arrivals_do_not_depend_on_when_one_asks(a: list[float], b: list[float]) -> None:
    one, other = Poisson(3000.0, seed=5), Poisson(3000.0, seed=5)
    for t in a:
        one.due(t)
    for t in b:
        other.due(t)
    end = max(a[-1], b[-1]) + 1.0
    assert one.due(end) == other.due(end)


@QUICK
@given(times)
def test_arrivals_never_decrease(asked: list[float]) -> None:
    pacer = Poisson(500.0, seed=1)
    found = [pacer.due(t) for t in asked]
    assert found == sorted(found)


def test_seeds_differ() -> None:
    assert Poisson(1e4, seed=1).due(10.0) != Poisson(1e4, seed=2).due(10.0)


@pytest.mark.parametrize("rate_hz", [100.0, 5_000.0, 1e6])
def test_poisson_arrivals_are_poisson(rate_hz: float) -> None:
    """Index of dispersion of 20,000 ticks against chi-squared: false alarms 1 in 10^6."""
    pacer = Poisson(rate_hz, seed=9)
    n = 20_000
    due = np.array([pacer.due((k + 0.5) * TICK_S) for k in range(n + 1)])
    counts = np.diff(due)
    mean = rate_hz * TICK_S
    assert abs(due[-1] - n * mean) < 5 * np.sqrt(n * mean)
    dispersion = ((counts - mean) ** 2).sum() / mean
    assert 5e-7 < stats.chi2(n).cdf(dispersion) < 1 - 5e-7 or mean < 1


def test_a_ramp_has_the_arrivals_of_its_profile() -> None:
    """Half a period at 1 kHz, then a triangle up to 9 kHz: 5 sigma around each quarter's mean."""
    config = PacingConfig("ramp", rate_hz=500.0, peak_hz=4500.0, period_s=20.0, speed=2.0)
    pacer = make_pacer(config)
    due = np.array([pacer.due(5.0 * quarter + 1e-6) for quarter in range(9)])
    expected = np.tile([5_000, 5_000, 25_000, 25_000], 2)
    assert (abs(np.diff(due) - expected) < 5 * np.sqrt(expected)).all()


@pytest.mark.parametrize(
    ("rate_hz", "speed"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (float("inf"), 1.0)]
)
def test_an_impossible_rate_is_refused(rate_hz: float, speed: float) -> None:
    with pytest.raises(InputError, match="expected a positive, finite number"):
        PacingConfig("poisson", rate_hz=rate_hz, speed=speed)


@QUICK
@given(
    st.lists(st.tuples(st.floats(0, 10), st.sampled_from(["live", "dead", "paused"])), max_size=30)
)
def test_live_dead_and_paused_time_add_up_to_the_elapsed_time(
    steps: list[tuple[float, str]],
) -> None:
    now = 5.0
    live = LiveTime(now)
    for dt, kind in steps:
        now += dt
        if kind == "paused":
            live.pause(now)
        else:
            live.advance(now, dead=kind == "dead")
    parts_ns = (*live.totals_ns, live.paused_ns)
    assert min(parts_ns) >= 0
    assert sum(parts_ns) == round(1e9 * now) - round(5e9)


def test_a_lumisection_takes_its_own_share_of_time() -> None:
    live = LiveTime(0.0)
    live.advance(1.0, dead=False)
    assert live.take_ns() == (1_000_000_000, 0)
    live.advance(3.0, dead=True)
    assert live.take_ns() == (0, 2_000_000_000)
    assert live.totals_ns == (1_000_000_000, 2_000_000_000)


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    live = LiveTime(2.0)
    live.advance(1.0, dead=True)
    assert live.totals_ns == (0, 0)


def test_a_pause_says_how_long_it_was() -> None:
    live = LiveTime(1.0)
    assert live.pause(3.5) == 2.5
    assert live.take_ns() == (0, 0)
