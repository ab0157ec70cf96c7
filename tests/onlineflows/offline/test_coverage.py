"""The replica band covers what it says where replicas scatter like streams."""

import numpy as np
import pytest

from onlineflows.errors import DataError
from onlineflows.offline.coverage import coverage, replica_band


def streams(n: int, replicas: int, *, bias: float = 0.0, inflation: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(1)
    central = bias + rng.normal(size=(n, 1))
    return np.hstack([central, central + inflation * rng.normal(size=(n, replicas))])


@pytest.mark.parametrize("replicas", [2, 4, 16])
@pytest.mark.parametrize("level", [0.68, 0.95])
def test_the_coverage_is_nominal_for_any_number_of_replicas(replicas: int, level: float) -> None:
    found = coverage(streams(4000, replicas), 0.0, level)

    assert found.covered == pytest.approx(level, abs=4 * found.error)


def test_a_bias_costs_coverage_of_the_truth_but_not_of_the_mean() -> None:
    found = coverage(streams(4000, 8, bias=2.0), 0.0, 0.68)

    assert found.covered < 0.3
    assert found.covered_mean == pytest.approx(0.68, abs=4 * found.error)
    assert found.bias == pytest.approx(2.0, abs=4 * found.bias_error)


def test_spread_and_band_are_told_apart() -> None:
    found = coverage(streams(4000, 8, inflation=0.5), 0.0, 0.95)

    assert found.spread == pytest.approx(1.0, rel=0.05)
    assert found.band == pytest.approx(0.5, rel=0.05)
    assert found.covered < 0.9


@pytest.mark.parametrize("shape", [(1, 9), (5, 2), (9,)])
def test_too_few_streams_or_replicas_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="at least 2"):
        coverage(np.zeros(shape), 0.0, 0.68)


def test_the_band_is_symmetric_about_the_central_value() -> None:
    low, high = replica_band(np.array([[5.0, 1.0, 2.0, 3.0]]), 0.68)

    assert (low + high) / 2 == pytest.approx(5.0)
