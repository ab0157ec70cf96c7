"""Shares of a stream: disjoint, equal, independent of everything else that is hashed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from onlineflows.online.bootstrap import Bootstrap
from onlineflows.online.hashed import INDEX_BITS, Share

N = 200_000
INDICES = np.arange(N)


@pytest.mark.parametrize("n_parts", [1, 2, 3, 7])
def test_every_event_belongs_to_one_part(n_parts):
    parts = [Share(7, part, n_parts).contains(INDICES) for part in range(n_parts)]
    assert np.array_equal(np.sum(parts, axis=0), np.ones(N))


@pytest.mark.parametrize("n_parts", [2, 3, 7])
def test_parts_are_of_one_size(n_parts):
    counts = [Share(7, part, n_parts).contains(INDICES).sum() for part in range(n_parts)]
    assert chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("period", [1, 2, 8, 1024])
def test_what_comes_periodically_is_dealt_at_random(period):
    # Correlations of independent numbers scatter by 1 / sqrt(N).
    half = Share(7, 0, 2).contains(INDICES).astype(float)
    assert abs(np.corrcoef(half[period:], half[:-period])[0, 1]) < 4.5 / np.sqrt(N)


def test_another_seed_deals_otherwise():
    mine, other = (Share(seed, 0, 2).contains(INDICES) for seed in (7, 8))
    assert abs(np.corrcoef(mine, other)[0, 1]) < 4.5 / np.sqrt(N)


def test_shares_are_independent_of_bootstrap_weights():
    half = Share(7, 0, 2).contains(INDICES)
    for weights in Bootstrap(7, "joint", 2).weights(INDICES):
        assert abs(np.corrcoef(half, weights)[0, 1]) < 4.5 / np.sqrt(N)


@given(st.lists(st.integers(0, 2**62), min_size=1), st.integers(1, 9))
def test_an_event_has_its_part_wherever_it_is_asked_for(indices, n_parts):
    asked = np.array(indices, dtype=np.int64)
    together = Share(7, 0, n_parts).contains(asked)
    alone = [Share(7, 0, n_parts).contains(asked[i : i + 1])[0] for i in range(len(asked))]
    assert together.tolist() == alone
    assert np.array_equal(together, Share(7, 0, n_parts).contains(asked % 2**INDEX_BITS))
