"""The closure table on an exact toy, and that a model mustn't select and predict at once."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from onlineflows.offline.closure import ESTIMATES, ClosureConfig, Judge, Known, closures, within
from streams.schema import EventSchema, Feature

CONFIG = ClosureConfig(n_samples=100_000, efficiencies=(0.1, 0.02), far_range=(2.9, 5.0))
SCHEMA = EventSchema((Feature("mjj", "TeV", 2.9, 13.0), Feature("x", "", -50.0, 50.0)))


class Toy:
    """x is standard normal at every m."""

    schema = SCHEMA

    def log_prob_resonant(self, m: np.ndarray) -> np.ndarray:
        return np.asarray(-(m - 2.9) / 0.7 - np.log(0.7))

    def log_prob_conditional(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(norm.logpdf(x[:, 1]))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.log_prob_resonant(x[:, 0]) + self.log_prob_conditional(x))

    def sample(self, n: int, seed: int) -> np.ndarray:
        m = 2.9 + np.random.default_rng(seed).exponential(0.7, n)
        return self.sample_given(m, seed + 1)

    def sample_given(self, m: np.ndarray, seed: int) -> np.ndarray:
        x = np.random.default_rng(seed).normal(size=len(m))
        return np.column_stack([m, x]).astype(np.float32)


def column(x: np.ndarray) -> np.ndarray:
    return np.asarray(x[:, 1], dtype=np.float64)


@pytest.fixture(scope="module")
def known() -> Known:
    x, other = Toy().sample(200_000, 1), Toy().sample(400_000, 3)
    reference = other[within(other, CONFIG.signal_region)]
    return Known(x, np.ones(len(x), dtype=bool), reference)


def test_every_estimate_closes_on_an_exact_model(known: Known) -> None:
    judge = Judge(column, Toy(), lambda x: np.zeros(len(x)))
    lines = closures(known, [judge], CONFIG, np.random.default_rng(1))

    assert {line.method for line in lines} == set(ESTIMATES)
    assert len(lines) == 10
    for line in lines:
        # The data's own fluctuation is in neither error: sqrt(n) of what passes, too.
        error = np.hypot(line.ratio.error, line.true.value**-0.5)
        assert abs(line.ratio.value - 1) < 4 * error
        assert line.true.value == pytest.approx(line.efficiency * 53_000, rel=0.5)


def test_without_a_model_of_the_data_there_is_no_sum_of_reciprocals(known: Known) -> None:
    lines = closures(known, [Judge(column, Toy())], CONFIG, np.random.default_rng(1))

    assert "reciprocal" not in {line.method for line in lines}


def ratio(x: np.ndarray) -> np.ndarray:
    return np.zeros(len(x))


def test_two_judges_of_the_same_opinion_are_one(known: Known) -> None:
    judge = (np.arange(len(known.x)) % 2).astype(np.intp)
    judges = [Judge(column, Toy(), ratio)] * 2
    one = closures(known, judges[:1], CONFIG, np.random.default_rng(1))
    two = closures(replace(known, judge=judge), judges, CONFIG, np.random.default_rng(1))

    for a, b in zip(one, two, strict=True):
        assert (a.method, a.efficiency) == (b.method, b.efficiency)
        # Samples and decorrelated thresholds are drawn anew; all else is the same events.
        drawn = a.method in ("direct", "abcd")
        assert b.predicted.value == pytest.approx(a.predicted.value, rel=0.05 if drawn else 1e-9)


def test_each_judge_has_thresholds_of_its_own(known: Known) -> None:
    judge = (np.arange(len(known.x)) % 2).astype(np.intp)
    judges = [Judge(column, Toy(), ratio), Judge(lambda x: 1000 + 3 * column(x), Toy(), ratio)]
    lines = closures(replace(known, judge=judge), judges, CONFIG, np.random.default_rng(1))

    for line in lines:
        error = np.hypot(line.ratio.error, line.true.value**-0.5)
        assert abs(line.ratio.value - 1) < 4 * error


def test_a_judge_sees_only_the_events_that_it_judges(known: Known) -> None:
    judge = (np.arange(len(known.x)) % 2).astype(np.intp)
    seen: list[np.ndarray] = []

    def score(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return column(x)

    given = replace(known, judge=judge, reference=known.reference[:5000])
    closures(given, [Judge(score, Toy()), Judge(column, Toy())], CONFIG, np.random.default_rng(1))

    near = within(known.x, CONFIG.fit_range)
    assert np.array_equal(seen[0], known.x[near & (judge == 0)])


@pytest.mark.parametrize(("interval", "n"), [((1.0, 2.0), 1), ((1.0, 2.1), 2), ((3.0, 4.0), 0)])
def test_an_interval_is_half_open(interval: tuple[float, float], n: int) -> None:
    assert within(np.array([[1.0], [2.0]]), interval).sum() == n
