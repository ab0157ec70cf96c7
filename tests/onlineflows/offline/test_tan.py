"""Tan's ratio of densities of the features beside m."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from onlineflows.errors import DataError
from onlineflows.offline.inputs import MethodConfig, MethodInputs, Training
from onlineflows.offline.tan import summarise_ratio, tan
from streams import EventSchema, Feature

TRAINING = Training(MethodConfig(), np.random.default_rng(1))


@dataclass(frozen=True)
class Normal:
    """A normal density of some features."""

    mean: float
    n_features: int

    @property
    def schema(self) -> EventSchema:
        return EventSchema(
            tuple(Feature(f"x{i}", "", -np.inf, np.inf) for i in range(self.n_features))
        )

    def log_prob(self, x: Any) -> Any:
        return norm.logpdf(x, self.mean).sum(axis=1)


def inputs(n_features: int) -> MethodInputs:
    densities: Any = {"data": Normal(1.0, n_features), "background": Normal(0.0, n_features)}
    return MethodInputs(densities=densities)


def test_densities_without_m_are_taken_as_they_are() -> None:
    x = np.random.default_rng(1).normal(size=(20, 3))

    score = tan(inputs(2), TRAINING).score(x)

    # log N(x; 1) - log N(x; 0) = x - 1/2 for each feature.
    np.testing.assert_allclose(score, (x[:, 1:] - 0.5).sum(axis=1))


def test_densities_of_other_features_are_refused() -> None:
    with pytest.raises(DataError, match="all but the resonant one"):
        tan(inputs(1), TRAINING).score(np.zeros((4, 3)))


def test_m_of_the_event_does_not_matter(known: Callable[[float], Any]) -> None:
    densities = {"data": known(0.05), "background": known(0.0)}
    score = tan(MethodInputs(densities=densities), TRAINING).score
    x = known(0.05).sample(50, seed=1)
    moved = x.copy()
    moved[:, 0] = x[::-1, 0]

    np.testing.assert_allclose(score(x), score(moved))


def test_the_summary_is_that_of_the_definition() -> None:
    log_lambda = np.log([0.2, 0.4, 1.0, 1.2, 0.3])
    label = np.array([1, 1, 0, 0, 0])

    found = summarise_ratio(log_lambda, label)

    assert found.signal == pytest.approx(0.3)
    assert found.background == pytest.approx(2.5 / 3)
    assert found.difference == pytest.approx(2.5 / 3 - 0.3)
    assert found.auc == pytest.approx(5 / 6)
    assert found.capped == 0


def test_one_event_in_the_tails_does_not_decide_a_mean() -> None:
    found = summarise_ratio(np.array([0.0, 50.0, 0.0, 0.0]), np.array([1, 0, 0, 0]))

    assert found.background == pytest.approx(4)
    assert found.capped == 0.25
