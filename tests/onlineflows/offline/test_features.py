"""What the classifier sees."""

import numpy as np

from onlineflows.offline.features import seen_features

RNG = np.random.default_rng(1)
X = np.column_stack([RNG.uniform(3, 4, 500), RNG.normal(size=(500, 2))])


def test_the_resonant_feature_is_left_out() -> None:
    np.testing.assert_array_equal(seen_features(X, "left_out")(X), X[:, 1:])


def test_the_resonant_feature_can_be_an_input() -> None:
    np.testing.assert_array_equal(seen_features(X, "input")(X), X)


def test_a_removed_trend_leaves_no_correlation() -> None:
    tilted = X + (X[:, :1] - 3.0) * np.array([0.0, 2.0, -1.0])

    seen = seen_features(tilted, "removed")(tilted)

    correlation = np.corrcoef(np.column_stack([X[:, 0], seen]).T)[0, 1:]
    np.testing.assert_allclose(correlation, 0, atol=1e-12)


def test_a_removed_trend_is_that_of_the_background() -> None:
    exact = np.column_stack([X[:, 0], 0.1 * X[:, 0] + 3.0, -X[:, 0]])

    seen = seen_features(exact, "removed")(exact)

    np.testing.assert_allclose(seen - seen[0], 0, atol=1e-12)
