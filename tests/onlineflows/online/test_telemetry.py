"""What a consumer says of itself: histograms that can be compared from document to document."""

import numpy as np
import pytest

from onlineflows.online.learner import Learner
from onlineflows.online.telemetry import LEAST_EVENTS, N_BINS, Marginals, ends_of, history_of
from onlineflows.settings import LearnerConfig
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, np.inf), Feature("t", "", 0.0, 1.0)))


def events(n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.exponential(2.0, n), rng.uniform(0, 1, n)], axis=1).astype(np.float32)


def test_a_histogram_counts_as_numpy_does() -> None:
    x = events(2000)
    for i, marginal in enumerate(Marginals(SCHEMA).of(x)):
        expected, _ = np.histogram(x[:, i], N_BINS, (marginal.low, marginal.high))
        assert marginal.counts == expected.tolist()
        assert marginal.n == 2000


def test_nothing_is_said_of_too_few_events() -> None:
    assert Marginals(SCHEMA).of(events(LEAST_EVENTS - 1)) == []


def test_ends_stay_what_they_are() -> None:
    marginals = Marginals(SCHEMA)
    first, second = marginals.of(events(1000)), marginals.of(10 * events(1000, seed=2))
    assert [(m.low, m.high) for m in first] == [(m.low, m.high) for m in second]


def test_ends_hold_nearly_all_events_and_stay_inside_the_support() -> None:
    x = events(20_000)
    for feature, marginal in zip(SCHEMA.features, Marginals(SCHEMA).of(x), strict=True):
        assert marginal.low >= feature.low
        assert marginal.high <= feature.high
        assert sum(marginal.counts) > 0.95 * marginal.n


@pytest.mark.parametrize("value", [0.0, 3.0, -1e9])
def test_equal_values_have_a_histogram_as_well(value: float) -> None:
    low, high = ends_of(np.full(300, value), -np.inf, np.inf)
    assert low < value < high


def test_events_outside_are_in_the_number_only() -> None:
    marginals = Marginals(SCHEMA)
    marginals.of(events(1000))
    beyond = marginals.of(events(1000) + np.float32([1e6, 0.0]))[0]
    assert (sum(beyond.counts), beyond.n) == (0, 1000)


def test_the_last_nll_of_a_history_is_a_mean_over_enough_events() -> None:
    learner = Learner(SCHEMA, LearnerConfig())
    for n_seen, nll, n in ((1000, 2.0, 1800), (2000, 1.0, 2000), (2100, 3.0, 500)):
        learner.history.add(n_seen, nll=nll, n=n)
    points = [(point.n_seen, point.nll) for point in history_of(learner)]
    assert points == [(1000, 2.0), (2000, 1.0), (2100, (2000 + 1500) / 2500)]
