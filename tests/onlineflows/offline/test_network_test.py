"""The network's two-sample test on densities in closed form."""

import numpy as np
import pytest
from scipy.stats import norm

from onlineflows.errors import DataError
from onlineflows.offline.network_test import NetworkConfig, network_test

CONFIG = NetworkConfig(epochs=6)


def normal(n: int, mean: float, seed: int) -> np.ndarray:
    return mean + np.random.default_rng(seed).standard_normal((n, 2))


def test_a_shift_is_found_as_well_as_can_be() -> None:
    a, b = normal(2000, 0.0, 1), normal(2000, 0.5, 2)

    found = network_test(a, b, config=CONFIG, rng=np.random.default_rng(3))

    # Two normals at a distance of sqrt(2) / 2 have the AUC Φ(1/2).
    assert found.statistic == pytest.approx(norm.cdf(0.5), abs=0.03)
    assert found.p_value < 1e-10


def test_one_density_is_not_told_from_itself() -> None:
    found = network_test(
        normal(1000, 0.0, 1), normal(2000, 0.0, 2), config=CONFIG, rng=np.random.default_rng(3)
    )

    assert abs(found.pull) < 4


def test_the_generator_decides_the_result() -> None:
    a, b = normal(300, 0.0, 1), normal(300, 0.3, 2)

    first, second = (
        network_test(a, b, config=CONFIG, rng=np.random.default_rng(3)) for _ in range(2)
    )

    assert first == second


@pytest.mark.parametrize("b", [np.zeros((10, 3)), np.zeros((1, 2))])
def test_events_that_cannot_be_compared_are_refused(b: np.ndarray) -> None:
    with pytest.raises(DataError):
        network_test(np.zeros((10, 2)), b, config=CONFIG, rng=np.random.default_rng(3))
