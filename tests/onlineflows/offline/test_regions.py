"""Signal region, sidebands and their weights."""

import numpy as np
import pytest

from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.regions import Regions, select
from onlineflows.settings import ValidateConfig

REGIONS = Regions((3.3, 3.7), ((3.1, 3.3), (3.7, 3.9)))


def falling(n: int) -> np.ndarray:
    return 2.5 + np.random.default_rng(1).exponential(0.7, n)


def test_adjacent_intervals_share_no_event_and_leave_none_out() -> None:
    m = np.array([3.0999, 3.1, 3.3, 3.5, 3.7, 3.8999, 3.9])

    inside = REGIONS.in_signal_region(m)
    strip = REGIONS.strip(m)

    np.testing.assert_array_equal(inside, [False, False, True, True, False, False, False])
    np.testing.assert_array_equal(strip, [-1, 0, -1, -1, 1, 1, -1])


def test_only_events_of_the_regions_are_selected() -> None:
    m = falling(5000)

    chosen = select(m, REGIONS)

    np.testing.assert_array_equal(chosen.index, np.flatnonzero((m >= 3.1) & (m < 3.9)))
    np.testing.assert_array_equal(chosen.target, ((m >= 3.3) & (m < 3.7))[chosen.index].astype(int))


def test_strips_weigh_the_same_and_together_as_much_as_the_signal_region() -> None:
    m = falling(5000)

    chosen = select(m, REGIONS)

    lower = chosen.weight[m[chosen.index] < 3.3].sum()
    upper = chosen.weight[m[chosen.index] >= 3.7].sum()
    inside = chosen.weight[chosen.target == 1].sum()
    assert lower == pytest.approx(upper)
    assert lower + upper == pytest.approx(inside)
    assert inside == pytest.approx(chosen.n_signal_region)


def test_a_linear_drift_in_m_cancels_between_the_weighted_strips() -> None:
    # Uniform m in symmetric regions: the mean of m is the same on both sides of the cut.
    m = np.linspace(3.1, 3.9, 80_001)[:-1]
    m = m[(m < 3.3) | (np.arange(len(m)) % 3 > 0)]

    chosen = select(m, REGIONS)

    means = [
        np.average(m[chosen.index][kind], weights=chosen.weight[kind])
        for kind in (chosen.target == 0, chosen.target == 1)
    ]
    assert means[0] == pytest.approx(means[1], abs=1e-3)


@pytest.mark.parametrize(
    "m", [np.array([2.0, 3.2, 3.8]), np.array([3.5, 3.8]), np.array([3.2, 3.5]), np.empty(0)]
)
def test_an_empty_region_is_refused_with_its_counts(m: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected events in the signal region"):
        select(m, REGIONS)


@pytest.mark.parametrize(
    ("signal_region", "sidebands", "message"),
    [
        ((3.7, 3.3), ((3.1, 3.2),), "signal_region: expected finite low < high"),
        ((3.3, float("inf")), ((3.1, 3.2),), "signal_region: expected finite"),
        ((3.3, 3.7), ((3.1, 3.1),), r"sidebands\[0\]: expected finite low < high"),
        ((3.3, 3.7), ((3.1, 3.4),), "don't overlap"),
        ((3.3, 3.7), ((3.7, 3.9), (3.8, 4.0)), "don't overlap"),
        ((3.3, 3.7), (), "at least one interval"),
    ],
)
def test_intervals_that_make_no_sense_are_refused(
    signal_region: tuple[float, float],
    sidebands: tuple[tuple[float, float], ...],
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        Regions(signal_region, sidebands)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws": 1}, r"validate\.draws: expected at least 2; got 1"),
        ({"folds": 0}, r"validate\.folds: expected at least 2; got 0"),
        ({"signal_region": (3.7, 3.3)}, r"validate\.signal_region: expected finite low < high"),
        ({"sidebands": ()}, r"validate\.sidebands: expected at least one"),
        ({"sidebands": ((3.0, 3.5),)}, r"validate\.signal_region: expected intervals that don't"),
    ],
)
def test_settings_of_validation_that_make_no_sense_are_refused_by_name(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ValidateConfig(**changes)
