"""Two-sample tests: their nulls are what they say, and they see what differs."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, norm, wasserstein_distance

from onlineflows.errors import DataError
from onlineflows.offline.classifier import TreesConfig
from onlineflows.offline.two_sample import (
    auc_null_width,
    classifier_test,
    correlation_differences,
    feature_differences,
    sliced_wasserstein_test,
)

FEW_TREES = TreesConfig(folds=2, max_iter=10)


def normals(n: int, seed: int, d: int = 3, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (n, d))


def test_the_null_width_of_an_auc_is_the_spread_of_random_scores() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random((4000, 130))
    ranks = scores.argsort(axis=1).argsort(axis=1)[:, :50]
    areas = (ranks.sum(axis=1) - 50 * 49 / 2) / (50 * 80)

    # The spread of 4000 repetitions is known to 1.1 %.
    assert auc_null_width(50, 80) == pytest.approx(areas.std(), rel=0.05)


def test_a_classifier_cannot_tell_events_of_one_density_apart() -> None:
    found = classifier_test(
        normals(4000, 1), normals(4000, 2), trees=FEW_TREES, rng=np.random.default_rng(3)
    )

    assert abs(found.pull) < 4


def test_a_classifier_sees_a_shift_as_well_as_the_optimum_allows() -> None:
    a, b = normals(8000, 1, d=1), normals(8000, 2, d=1, shift=0.5)

    found = classifier_test(a, b, trees=FEW_TREES, rng=np.random.default_rng(3))

    assert found.statistic == pytest.approx(norm.cdf(0.5 / np.sqrt(2)), abs=0.02)
    assert found.p_value < 1e-6


def test_the_permutation_null_is_centred_on_one_half() -> None:
    found = classifier_test(
        normals(300, 1),
        normals(300, 2),
        trees=FEW_TREES,
        rng=np.random.default_rng(3),
        n_permutations=6,
    )

    assert found.n_null == 6
    assert abs(found.null_mean - 0.5) < 4 * found.null_width / np.sqrt(6)


def test_the_sliced_distance_in_one_dimension_is_the_wasserstein_distance() -> None:
    a, b = normals(300, 1, d=1), normals(200, 2, d=1, shift=0.3)
    sigma = np.concatenate([a, b]).std()

    found = sliced_wasserstein_test(a, b, rng=np.random.default_rng(3), n_directions=3, n_null=2)

    assert found.statistic == pytest.approx(wasserstein_distance(a[:, 0], b[:, 0]) / sigma)


def test_the_p_values_of_the_sliced_distance_are_uniform_without_a_difference() -> None:
    p = [
        sliced_wasserstein_test(
            normals(100, 2 * i), normals(100, 2 * i + 1), rng=np.random.default_rng(i),
            n_directions=8, n_null=49,
        ).p_value
        for i in range(100)
    ]  # fmt: skip

    # 100 p-values: their mean has an error of 0.029.
    assert abs(np.mean(p) - 0.5) < 0.12


def test_the_sliced_distance_sees_a_correlation_that_no_marginal_shows() -> None:
    a = normals(1500, 1, d=2)
    b = normals(1500, 2, d=2) @ np.linalg.cholesky([[1, 0.4], [0.4, 1]]).T

    found = sliced_wasserstein_test(a, b, rng=np.random.default_rng(3), n_null=99)

    assert found.p_value == 0.01


def test_feature_differences_have_the_errors_of_their_scatter() -> None:
    pulls = []
    for i in range(200):
        a, b = normals(400, 2 * i, d=1), normals(300, 2 * i + 1, d=1)
        found = feature_differences(a, b, ("x",))[0]
        pulls.append((found.mean / found.mean_error, found.width / found.width_error))

    # Widths of 200 pulls are known to 5 %.
    np.testing.assert_allclose(np.std(pulls, axis=0), 1, atol=0.2)


def test_the_ks_distance_is_that_of_scipy() -> None:
    a, b = normals(400, 1, d=1), normals(300, 2, d=1, shift=0.2)
    reference = ks_2samp(a[:, 0], b[:, 0], method="asymp")

    found = feature_differences(a, b, ("x",))[0]

    assert found.ks == pytest.approx(reference.statistic)
    assert found.ks_p == pytest.approx(reference.pvalue, rel=0.2)  # scipy's has a finite size


def test_correlation_differences_have_the_errors_of_their_scatter() -> None:
    mix = np.linalg.cholesky([[1, 0.6], [0.6, 1]]).T
    pulls = []
    for i in range(200):
        difference, error = correlation_differences(
            normals(300, 2 * i, d=2) @ mix, normals(300, 2 * i + 1, d=2) @ mix
        )
        pulls.append(difference[0, 1] / error[0, 1])

    assert np.std(pulls) == pytest.approx(1, abs=0.2)


def test_sets_of_different_features_are_refused() -> None:
    with pytest.raises(DataError, match="same features"):
        sliced_wasserstein_test(normals(9, 1), normals(9, 2, d=2), rng=np.random.default_rng(1))
