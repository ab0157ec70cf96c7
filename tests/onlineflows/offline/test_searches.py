"""Searches on stored events and on samples, where search and events are Gaussian."""

from collections.abc import Callable

import numpy as np

from onlineflows.errors import TooFewEventsError
from onlineflows.offline.metrics import roc, sic
from onlineflows.offline.scores import Evaluation
from onlineflows.offline.searches import (
    Search,
    Yields,
    snapshot_searches,
    stored_searches,
    working_point,
)

RNG = np.random.default_rng(1)
EVALUATION = Evaluation(
    np.concatenate([RNG.normal(0, 1, (20_000, 2)), RNG.normal(2, 1, (4000, 2))]),
    np.repeat([0, 1], [20_000, 4000]),
)


def noisy(x: np.ndarray, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """A score that gets better with the number of events, and needs 10 of them."""
    if len(x) < 10:
        raise TooFewEventsError("too few")
    angle = rng.normal(0, 20 / np.sqrt(len(x)))
    direction = np.array([np.cos(np.pi / 4 + angle), np.sin(np.pi / 4 + angle)])
    return lambda events: events @ direction


SEARCH = Search(noisy, EVALUATION)


def test_the_working_point_is_the_maximum_of_the_sic_and_its_threshold_reaches_it() -> None:
    score = EVALUATION.x.sum(axis=1)

    point = working_point(score, EVALUATION.label, min_background=100)

    assert point.sic == sic(roc(score, EVALUATION.label), min_background=100).best().value
    passed = score >= point.threshold
    assert passed[EVALUATION.label == 1].mean() == point.tpr
    assert passed[EVALUATION.label == 0].mean() == point.fpr


def test_too_few_events_search_without_a_cut() -> None:
    curve = stored_searches(
        lambda n, rng: rng.normal(size=(n, 2)), SEARCH, sizes=[5], n_draws=2, seed=1
    )

    assert curve.sic[0].tolist() == [1.0, 1.0]


def test_draws_do_not_depend_on_what_else_is_measured() -> None:
    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.normal(size=(n, 2))

    alone = stored_searches(draw, SEARCH, sizes=[300], n_draws=2, seed=1)
    among = stored_searches(draw, SEARCH, sizes=[1000, 300, 100], n_draws=3, seed=1)

    assert among.n_events.tolist() == [100, 300, 1000]
    assert among.sic[1][:2].tolist() == alone.sic[0].tolist()


def test_a_perfect_snapshot_holds_all_of_the_signal() -> None:
    def stream(n: int, rng: np.random.Generator) -> np.ndarray:
        is_signal = rng.random(n) < 0.1
        return rng.normal(0, 1, (n, 2)) + 2.0 * is_signal[:, None]

    found = snapshot_searches(
        stream,
        SEARCH,
        yields=Yields(0.1, 0.9),
        in_region=lambda x: np.ones(len(x), dtype=bool),
        n_seen=10_000,
        n_samples=40_000,
        n_trainings=4,
        seed=1,
    )

    np.testing.assert_allclose(found.signal_kept, 1, atol=0.1)
    expected = found.sic * np.sqrt(10_000) * 0.1 / np.sqrt(0.9)
    np.testing.assert_allclose(found.significance, expected, rtol=0.1)


def test_an_excess_that_the_stream_never_had_is_not_counted() -> None:
    def more_signal(n: int, rng: np.random.Generator) -> np.ndarray:
        is_signal = rng.random(n) < 0.3
        return rng.normal(0, 1, (n, 2)) + 2.0 * is_signal[:, None]

    found = snapshot_searches(
        more_signal,
        SEARCH,
        yields=Yields(0.1, 0.9),
        in_region=lambda x: np.ones(len(x), dtype=bool),
        n_seen=10_000,
        n_samples=20_000,
        n_trainings=2,
        seed=1,
    )

    assert (found.signal_kept > 2).all()
    np.testing.assert_allclose(found.significance, found.sic * 100 * 0.1 / np.sqrt(0.9))


def test_yields_are_the_acceptances_times_the_shares() -> None:
    label = np.array([1, 1, 0, 0, 0, 0])
    inside = np.array([True, False, True, False, False, False])
    evaluation = Evaluation(np.zeros((6, 2)), label)

    assert Yields.from_labels(evaluation, inside, 0.02) == Yields(0.01, 0.98 * 0.25)
