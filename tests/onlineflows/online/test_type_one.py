"""The threshold of the bootstrap likelihood ratio against its definition and a closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from onlineflows.online.type_one import log_threshold, passing

LOGS = st.lists(st.floats(-20, 20), min_size=1, max_size=60)


@given(LOGS, st.floats(0.01, 0.99))
def test_the_rejected_share_of_background_is_at_most_alpha(logs: list[float], alpha: float) -> None:
    values = np.array(logs)

    log_epsilon = log_threshold(values, alpha)

    rejected = values <= log_epsilon
    assert np.exp(values[rejected]).sum() / len(values) <= alpha
    assert not rejected.all()


@given(LOGS, st.floats(0.01, 0.99))
def test_one_more_event_would_be_too_many(logs: list[float], alpha: float) -> None:
    values = np.array(logs)
    passes = passing(values, alpha)
    if np.exp(values).mean() > alpha:
        next_one = values[passes].min()

        # Values closer than the bisection's precision count as one.
        assert np.exp(values[values <= next_one + 1e-9]).sum() / len(values) > alpha


def test_of_two_normals_the_type_one_error_is_the_tail() -> None:
    # λ = N(0, 1) / N(1, 1) on data of N(1, 1): log λ = 1/2 - x, rejected where x > 1/2 - log ε,
    # which has the probability α under N(0, 1).
    x = 1 + np.random.default_rng(1).standard_normal(1_000_000)

    log_epsilon = log_threshold(0.5 - x, 0.1)

    assert 0.5 - log_epsilon == pytest.approx(norm.isf(0.1), abs=0.01)


def test_equal_events_all_pass() -> None:
    assert passing(np.zeros(8), 0.1).all()


def test_a_background_that_has_lost_the_data_gets_all_of_them() -> None:
    assert passing(np.array([-9.0, -8.0, -7.0]), 0.1).all()
