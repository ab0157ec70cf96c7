"""The distance to the truth against closed forms."""

import numpy as np
import pytest
from scipy.stats import norm

from onlineflows.errors import DataError
from onlineflows.offline.distance import nats_to_truth


def test_the_distance_between_two_gaussians_is_the_known_one() -> None:
    x = np.random.default_rng(1).normal(0, 1, 50_000)

    found = nats_to_truth(norm.logpdf(x), norm.logpdf(x, 0.3, 1.2))

    # KL(N(0,1) || N(mu,s)) = log s + (1 + mu^2) / (2 s^2) - 1/2.
    expected = np.log(1.2) + (1 + 0.09) / (2 * 1.44) - 0.5
    # Four standard errors: false-alarm rate 6e-5.
    assert abs(found.nats - expected) < 4 * found.error
    assert found.n_events == 50_000


def test_the_error_is_the_standard_error_of_the_mean() -> None:
    difference = np.array([0.0, 1.0, 2.0, 3.0])

    assert nats_to_truth(difference, np.zeros(4)).error == pytest.approx(np.sqrt(5 / 3) / 2)


def test_the_same_density_is_at_distance_zero() -> None:
    log_p = np.random.default_rng(2).normal(size=100)

    found = nats_to_truth(log_p, log_p)

    assert (found.nats, found.error) == (0.0, 0.0)


def test_events_without_density_under_the_model_are_left_out_and_counted() -> None:
    log_q = np.array([-1.0, -np.inf, -1.0])

    found = nats_to_truth(np.zeros(3), log_q)

    assert (found.nats, found.n_events, found.n_outside) == (1.0, 2, 1)


def test_single_precision_densities_are_averaged_in_double() -> None:
    log_p = np.full(1_000_000, 0.1, dtype=np.float32)

    found = nats_to_truth(log_p, np.zeros(1_000_000, dtype=np.float32))

    assert found.nats == pytest.approx(float(np.float32(0.1)), rel=1e-12)


@pytest.mark.parametrize(
    ("log_p", "log_q"),
    [
        ([0.0, 0.0], [0.0]),
        ([0.0, np.nan], [0.0, 0.0]),
        ([0.0, -np.inf], [0.0, 0.0]),
        ([0.0, 0.0], [0.0, np.nan]),
        ([0.0, 0.0], [0.0, np.inf]),
        ([0.0, 0.0], [0.0, -np.inf]),
    ],
)
def test_densities_that_make_no_sense_are_refused(log_p: list[float], log_q: list[float]) -> None:
    with pytest.raises(DataError, match="expected"):
        nats_to_truth(np.array(log_p), np.array(log_q))
