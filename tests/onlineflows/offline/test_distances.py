"""Distances of two samples are those of scipy."""

import numpy as np
import pytest
from scipy import stats

from onlineflows.offline.distances import ks_distance, wasserstein_distance


def two_samples(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=300), rng.normal(0.3, 1.2, size=500)
    return (a.round(1), b.round(1)) if ties else (a, b)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_ks_distance_is_that_of_scipy(seed: int, ties: bool) -> None:
    a, b = two_samples(seed, ties)
    assert ks_distance(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_wasserstein_distance_is_that_of_scipy(seed: int, ties: bool) -> None:
    a, b = two_samples(seed, ties)
    assert wasserstein_distance(a, b) == pytest.approx(stats.wasserstein_distance(a, b))


def test_a_sample_is_at_no_distance_from_itself() -> None:
    a, _ = two_samples(1, ties=True)
    assert (ks_distance(a, a), wasserstein_distance(a, a)) == (0.0, 0.0)
