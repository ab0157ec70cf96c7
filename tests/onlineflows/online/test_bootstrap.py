"""Bootstrap weights, against the Poisson distribution and against a reference implementation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, poisson

from onlineflows.online.bootstrap import Bootstrap, index_columns, indices_of, replica_seed

N = 200_000
WEIGHTS = Bootstrap(7, "joint", 4).weights(np.arange(N))


@pytest.mark.parametrize("replica", range(4))
def test_the_weights_follow_a_poisson_distribution(replica):
    observed = np.bincount(WEIGHTS[replica].astype(int), minlength=7)
    expected = N * np.append(poisson.pmf(np.arange(6), 1), poisson.sf(5, 1))
    assert chisquare(np.append(observed[:6], observed[6:].sum()), expected).pvalue > 1e-4


def test_replicas_are_independent_of_each_other():
    # Correlations of independent numbers scatter by 1 / sqrt(N) = 0.0022.
    correlations = np.corrcoef(WEIGHTS)[np.triu_indices(4, k=1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(N)


def test_neighbouring_events_are_independent_of_each_other():
    for row in WEIGHTS:
        assert abs(np.corrcoef(row[1:], row[:-1])[0, 1]) < 4.5 / np.sqrt(N)


@pytest.mark.parametrize("other", [Bootstrap(8, "joint", 1), Bootstrap(7, "window", 1)])
def test_other_seeds_and_models_have_weights_of_their_own(other):
    correlation = np.corrcoef(WEIGHTS[0], other.weights(np.arange(N))[0])[0, 1]
    assert abs(correlation) < 4.5 / np.sqrt(N)


def test_more_replicas_leave_the_first_ones_as_they_are():
    assert np.array_equal(Bootstrap(7, "joint", 2).weights(np.arange(99)), WEIGHTS[:2, :99])


def test_an_event_has_its_weights_wherever_it_is_asked_for():
    indices = np.array([5, 99_999, 5, 3])
    assert np.array_equal(Bootstrap(7, "joint", 4).weights(indices), WEIGHTS[:, indices])


def splitmix64(x: int) -> int:
    """Steele et al. 2014 in whole numbers."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & 2**64 - 1
    x = (x ^ x >> 27) * 0x94D049BB133111EB & 2**64 - 1
    return x ^ x >> 31


@given(st.integers(0, 2**48 - 1), st.integers(1, 3))
def test_a_weight_is_the_inverse_distribution_of_a_hash(index, replica):
    event = splitmix64(index * 0x9E3779B97F4A7C15 & 2**64 - 1)
    uniform = splitmix64(event ^ replica_seed(7, "joint", replica)) / 2**64
    found = Bootstrap(7, "joint", 3).weights(np.array([index]))[replica - 1, 0]
    assert found == poisson.ppf(uniform, 1) if uniform > 0 else found == 0


@given(st.lists(st.integers(0, 2**48 - 1), min_size=1))
def test_indices_survive_as_float32_columns(indices):
    assert indices_of(index_columns(np.array(indices))).tolist() == indices
