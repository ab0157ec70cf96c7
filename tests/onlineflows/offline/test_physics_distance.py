"""FPD and KPD against closed forms and against their definitions written down naively."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from onlineflows.errors import DataError
from onlineflows.offline.physics_distance import fpd, frechet_distance, kpd, polynomial_mmd


def covariance(seed: int, d: int = 4) -> np.ndarray:
    factor = np.random.default_rng(seed).normal(size=(d, d))
    return factor @ factor.T


def test_the_frechet_distance_is_its_definition() -> None:
    a, b = covariance(1), covariance(2)
    shift = np.arange(4.0)

    expected = shift @ shift + np.trace(a + b - 2 * sqrtm(a @ b).real)

    assert frechet_distance(shift, a, np.zeros(4), b) == pytest.approx(expected)


def test_the_frechet_distance_of_gaussians_on_one_line_is_the_closed_form() -> None:
    one = np.eye(1)

    assert frechet_distance(one[0], 9 * one, 0 * one[0], 4 * one) == pytest.approx(1 + (3 - 2) ** 2)


def test_the_fpd_of_two_gaussians_is_their_frechet_distance() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(40_000, 2)), rng.normal(0.5, 1.3, size=(40_000, 2))
    scale = np.abs(a).max(axis=0)
    mean, root = 0.5 / scale, 0.3 / scale

    found = fpd(a, b, rng=rng, min_samples=2000, max_samples=10_000, n_batches=10)

    assert found.value == pytest.approx(float(mean @ mean + root @ root), rel=0.03)


def test_the_fpd_of_equal_densities_is_zero_within_its_error() -> None:
    rng = np.random.default_rng(4)

    found = fpd(
        rng.normal(size=(40_000, 2)),
        rng.normal(size=(40_000, 2)),
        rng=rng,
        min_samples=1000,
        max_samples=4000,
    )

    # Scaled features have widths near 1/4: a shift of 0.03 of a width would give 1e-4.
    assert 0 <= found.value < 1e-4


def test_the_mmd_is_its_definition() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(30, 3)), rng.normal(0.2, 1, size=(40, 3))

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float(x @ y / 3 + 1) ** 4

    expected = (
        np.mean([kernel(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
        + np.mean([kernel(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
        - 2 * np.mean([kernel(x, y) for x in a for y in b])
    )

    assert polynomial_mmd(a, b) == pytest.approx(expected)


def test_the_mmd_is_zero_on_average_for_equal_densities() -> None:
    rng = np.random.default_rng(6)
    values = [
        polynomial_mmd(rng.normal(size=(60, 2)), rng.normal(size=(60, 2))) for _ in range(400)
    ]

    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))


def test_the_kpd_rises_with_the_shift() -> None:
    rng = np.random.default_rng(7)
    a = rng.normal(size=(5000, 2))
    near, far = (
        kpd(a, rng.normal(shift, 1, (5000, 2)), rng=rng, batch_size=1000) for shift in (0.0, 0.5)
    )

    assert abs(near.value) < 4 * near.error
    assert far.value > 10 * near.error


def test_events_of_different_features_are_refused() -> None:
    with pytest.raises(DataError, match="same features"):
        kpd(np.zeros((3, 2)), np.zeros((3, 1)), rng=np.random.default_rng(1))
