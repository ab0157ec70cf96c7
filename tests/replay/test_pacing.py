"""Arrivals are functions of time alone; live and dead time always add up."""

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from replay.pacing import NO_LIMIT, TICK_S, Constant, LiveTime, Pacer, Poisson, Recorded, make_pacer
from replay.profiles import Steady, profile_of
from replay.settings import FillConfig, PacingConfig
from streams import InputError

QUICK = settings(max_examples=40, deadline=None)
times = st.lists(st.floats(0, 100), min_size=1, max_size=20).map(sorted)

BURSTS = PacingConfig("bursts", rate_hz=0.0, peak_hz=4000.0, period_s=7.0, burst_s=0.5)
RAMP = PacingConfig("ramp", rate_hz=500.0, peak_hz=4500.0, period_s=20.0)
FILL = PacingConfig(
    "fill",
    rate_hz=3000.0,
    fill=FillConfig(lifetime_s=20.0, stable_s=30.0, turnaround_s=5.0, lumisection_s=2.0),
)
TRAINS = replace(FILL, fill=replace(FILL.fill, orbit_s=3.0, decay="burn_off", level_s=4.0))
RANDOM = [PacingConfig("poisson", rate_hz=2000.0), RAMP, BURSTS, FILL, TRAINS]
random = pytest.mark.parametrize("config", RANDOM, ids=lambda c: c.arrivals)


class Nothing:
    """A recording that nobody asks."""

    next_time_s = None

    def end_at(self, time_s: float) -> int:
        raise AssertionError


def pacer_of(config: PacingConfig, first_event: int = 0) -> Pacer:
    return make_pacer(config, Nothing(), first_event=first_event)


def steady(rate_hz: float, *, seed: int, speed: float = 1.0, first_event: int = 0) -> Poisson:
    return Poisson(Steady(rate_hz), speed=speed, seed=seed, first_event=first_event)


def test_asap_means_that_everything_is_due() -> None:
    assert pacer_of(PacingConfig("asap")).due(0.0) == NO_LIMIT


@QUICK
@given(st.floats(1, 1e6), st.floats(0, 1e4))
def test_constant_arrivals_follow_the_rate(rate_hz: float, elapsed_s: float) -> None:
    assert Constant(rate_hz).due(elapsed_s) == pytest.approx(rate_hz * elapsed_s, abs=1)


def test_the_speed_multiplies_the_rate() -> None:
    pacer = pacer_of(PacingConfig("constant", rate_hz=1000.0, speed=2.5))
    assert pacer.due(4.0) == 10_000


@random
@QUICK
@given(a=times, b=times)
def test_arrivals_do_not_depend_on_when_one_asks(
    config: PacingConfig, a: list[float], b: list[float]
) -> None:
    one, other = pacer_of(config), pacer_of(config)
    for t in a:
        one.due(t)
    for t in b:
        other.due(t)
    end = max(a[-1], b[-1]) + 1.0
    assert one.due(end) == other.due(end)


@random
@QUICK
@given(asked=times)
def test_arrivals_never_decrease(config: PacingConfig, asked: list[float]) -> None:
    pacer = pacer_of(config)
    found = [pacer.due(t) for t in asked]
    assert found == sorted(found)
    assert pacer.due(0.0) == found[-1]  # nor where a clock goes back


@functools.cache
def curve(config: PacingConfig) -> np.ndarray:
    """Arrivals before each of the first 10,000 ticks: 50 seconds, across two blocks of ticks."""
    pacer = pacer_of(config)
    return np.array([pacer.due((tick + 0.5) * TICK_S) for tick in range(10_000)])


@random
@QUICK
@given(share=st.floats(0, 1), later=st.integers(0, 9_999))
def test_a_stream_that_is_taken_up_has_the_same_arrivals(
    config: PacingConfig, share: float, later: int
) -> None:
    whole = curve(config)
    event = int(share * whole[-1])
    here = int(whole.searchsorted(event))  # the tick behind which those before it have arrived
    later = min(later, len(whole) - 1 - here)
    taken_up = pacer_of(config, event)
    assert taken_up.due((later + 0.5) * TICK_S) == whole[here + later] - event


@random
def test_a_fresh_stream_begins_with_nothing(config: PacingConfig) -> None:
    assert pacer_of(config).due(0.0) == 0


EDGES = np.array([0.0, 5.0, 20.48 - 7.0, 20.48 + 7.0, 45.0])
"""Windows across blocks of ticks."""


@functools.cache
def counts(config: PacingConfig, n_seeds: int = 100) -> np.ndarray:
    """Arrivals in each window for some seeds, shape (n_seeds, 4)."""
    found = []
    for seed in range(n_seeds):
        pacer = pacer_of(replace(config, seed=seed))
        found.append(np.diff([pacer.due(t + 1e-6) for t in EDGES]))
    return np.array(found)


@random
@pytest.mark.parametrize("speed", [0.5, 1.0, 30.0])
def test_the_mean_number_of_arrivals_is_that_of_the_profile(
    config: PacingConfig, speed: float
) -> None:
    """100 seeds: the mean within 5 of its standard errors, false alarms 1 in 10^6 each."""
    found = counts(replace(config, speed=speed)).mean(axis=0)
    expected = np.diff(profile_of(config).expected(speed * EDGES))
    assert (abs(found - expected) <= 5 * np.sqrt(expected / 100)).all()


@random
def test_counts_scatter_as_poisson_numbers_do(config: PacingConfig) -> None:
    """Fano factor of 100 seeds in four windows: chi-squared, false alarms 1 in 10^6."""
    mean = np.diff(profile_of(config).expected(EDGES))
    chi2 = ((counts(config) - mean) ** 2 / mean).sum()
    assert 5e-7 < stats.chi2(400).cdf(chi2) < 1 - 5e-7


@random
def test_the_speed_compresses_the_profile(config: PacingConfig) -> None:
    """The same number of events, sooner: 5 sigma."""
    slow, fast = pacer_of(config).due(100.0), pacer_of(replace(config, speed=10.0)).due(10.0)
    assert abs(slow - fast) < 5 * np.sqrt(slow + fast)


def test_seeds_differ() -> None:
    assert steady(1e4, seed=1).due(10.0) != steady(1e4, seed=2).due(10.0)


@pytest.mark.parametrize("rate_hz", [100.0, 5_000.0, 1e6])
def test_poisson_arrivals_are_poisson(rate_hz: float) -> None:
    """Index of dispersion of 20,000 ticks against chi-squared: false alarms 1 in 10^6."""
    pacer = steady(rate_hz, seed=9)
    n = 20_000
    due = np.array([pacer.due((k + 0.5) * TICK_S) for k in range(n + 1)])
    counts = np.diff(due)
    mean = rate_hz * TICK_S
    assert abs(due[-1] - n * mean) < 5 * np.sqrt(n * mean)
    dispersion = ((counts - mean) ** 2).sum() / mean
    assert 5e-7 < stats.chi2(n).cdf(dispersion) < 1 - 5e-7 or mean < 1


def test_quiet_times_between_bursts_bring_nothing() -> None:
    pacer = pacer_of(BURSTS)
    assert 1500 < pacer.due(0.51) == pacer.due(6.99) < pacer.due(7.5)


def test_a_burst_that_is_taken_up_waits_for_the_next_one() -> None:
    pacer = pacer_of(BURSTS, pacer_of(BURSTS).due(3.0))
    assert pacer.due(6.49) == 0
    assert pacer.due(7.0) > 1500


def test_a_stream_that_no_profile_can_have_brought_so_far_begins_it_anew() -> None:
    assert steady(1e-3, seed=1, first_event=10**9).due(1e5) == steady(1e-3, seed=1).due(1e5)


class Times:
    """A recording of which so many events were read."""

    def __init__(self, times: list[float], n_read: int) -> None:
        self.times, self.n_read, self.first = np.array(times), n_read, 0

    @property
    def next_time_s(self) -> float | None:
        return float(self.times[self.first]) if self.n_read > self.first else None

    def end_at(self, time_s: float) -> int:
        n = int((self.times[: self.n_read] <= time_s).sum())
        return n + (n == self.n_read)


def test_recorded_events_are_due_when_they_were_recorded() -> None:
    pacer = Recorded(Times([5.0, 5.0, 6.0, 9.0], 4), speed=1.0, first_event=0)
    assert [pacer.due(t) for t in (0.0, 0.99, 1.0, 3.99)] == [2, 2, 3, 3]


def test_the_speed_divides_recorded_times() -> None:
    pacer = Recorded(Times([0.0, 10.0, 20.0], 3), speed=10.0, first_event=0)
    assert [pacer.due(t) for t in (0.0, 1.0, 1.99)] == [1, 2, 2]


def test_one_more_event_is_due_where_all_that_was_read_are() -> None:
    recording = Times([0.0, 10.0, 20.0], 0)
    pacer = Recorded(recording, speed=1.0, first_event=0)
    assert pacer.due(0.0) == 1
    recording.n_read = 1
    assert pacer.due(0.0) == 2
    recording.n_read = 2
    assert pacer.due(0.0) == 1


def test_a_recording_that_is_taken_up_goes_on_at_once() -> None:
    recording = Times([0.0, 10.0, 20.0, 21.0], 4)
    recording.first = 2
    pacer = Recorded(recording, speed=1.0, first_event=2)
    assert [pacer.due(t) for t in (0.0, 0.9)] == [1, 1]


@pytest.mark.parametrize(
    ("rate_hz", "speed"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (float("inf"), 1.0)]
)
def test_an_impossible_rate_is_refused(rate_hz: float, speed: float) -> None:
    with pytest.raises(InputError, match="expected a positive, finite number"):
        PacingConfig("poisson", rate_hz=rate_hz, speed=speed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate_hz": -1.0}, r"pacing.rate_hz: expected 0 or a positive"),
        ({"burst_s": 8.0}, r"pacing.burst_s: expected at most pacing.period_s = 7.0; got 8.0"),
        ({"burst_s": 0.0}, "pacing.burst_s: expected a positive"),
        ({"peak_hz": 1e11, "speed": 100.0}, r"pacing.peak_hz: expected at most 1e\+12"),
    ],
)
def test_an_impossible_burst_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(BURSTS, **changes)


@pytest.mark.parametrize(
    "changes",
    [{"lifetime_s": 0.0}, {"stable_s": -1.0}, {"turnaround_s": -1.0}, {"orbit_s": float("nan")}],
)
def test_an_impossible_fill_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"pacing.fill.\w+_s: expected"):
        FillConfig(**changes)


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
