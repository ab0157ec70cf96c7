"""Integrals over m against normal distributions, and ratios where a density vanishes."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from onlineflows.errors import DataError
from onlineflows.offline.quadrature import CHUNK_EVENTS, log_ratio, log_sum, marginalised
from streams import EventSchema, Feature

RHO = 0.6


class Correlated:
    """m and one feature, normal with correlation 0.6: given the feature, m is normal."""

    schema = EventSchema((Feature("m", "", -10.0, 2.0), Feature("a", "", -10.0, 10.0)))
    _joint = multivariate_normal([0.0, 0.0], [[1.0, RHO], [RHO, 1.0]])

    def log_prob(self, x: np.ndarray) -> Any:
        return self._joint.logpdf(x)

    def log_prob_resonant(self, m: np.ndarray) -> Any:
        return norm.logpdf(m)

    def log_prob_conditional(self, x: np.ndarray) -> Any:
        return norm.logpdf(x[:, 1], RHO * x[:, 0], np.sqrt(1 - RHO**2))

    def sample(self, n: int, seed: int) -> np.ndarray:
        raise NotImplementedError

    def sample_given(self, m: np.ndarray, seed: int) -> np.ndarray:
        raise NotImplementedError


@pytest.mark.parametrize("n", [1, CHUNK_EVENTS // 8 + 3])
def test_m_is_integrated_out(n: int) -> None:
    low, high = 0.2, 1.1
    x = np.random.default_rng(1).normal(size=(n, 2))

    found = marginalised(Correlated(), x, (low, high), nodes=8)

    width = np.sqrt(1 - RHO**2)
    given = [norm.cdf((edge - RHO * x[:, 1]) / width) for edge in (low, high)]
    mass = norm.cdf(high) - norm.cdf(low)
    expected = norm.logpdf(x[:, 1]) + np.log((given[1] - given[0]) / mass)
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("interval", [(1.0, 2.5), (-11.0, 0.0)])
def test_an_interval_outside_the_model_is_refused(interval: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="take a model of a wider one"):
        marginalised(Correlated(), np.zeros((1, 2)), interval, nodes=4)


def test_densities_add() -> None:
    parts = [np.log([0.25, 0.5]), np.log([0.5, 0.25])]
    np.testing.assert_allclose(log_sum(parts), np.log([0.75, 0.75]))


def test_a_ratio_is_a_difference_of_logarithms() -> None:
    np.testing.assert_array_equal(log_ratio(np.array([3.0, 1.0]), np.array([1.0, 1.0])), [2.0, 0.0])


def test_a_hole_in_a_model_does_not_win() -> None:
    inf = np.inf
    above = np.array([3.0, 1.0, -inf, 2.0, -inf])
    below = np.array([1.0, 2.0, 1.0, -inf, -inf])

    np.testing.assert_array_equal(log_ratio(above, below), [2.0, -1.0, -1.0, 2.0, -1.0])
