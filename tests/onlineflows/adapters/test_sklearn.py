"""The scikit-learn estimator: scikit-learn's own checks, closed forms, and pieces of any size."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, multivariate_normal, norm
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from onlineflows.adapters.sklearn import DensityEstimator
from onlineflows.errors import ConfigError
from onlineflows.online.snapshot import read_snapshot
from streams import SchemaError

SMALL = {"blocks": 1, "hidden": 8, "bins": 4, "uses": 4, "random_state": 1}
COVARIANCE = [[1.0, 0.8], [0.8, 1.0]]


def small(**changes: object) -> DensityEstimator:
    return DensityEstimator(**(SMALL | changes))


def gaussian(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal([1, 2], COVARIANCE, n)


X = gaussian(3000, seed=1)
NEW = gaussian(2000, seed=2)


@parametrize_with_checks([DensityEstimator(random_state=1), small()])
def test_scikit_learns_check_passes(estimator, check):
    check(estimator)


def test_log_densities_are_near_those_of_a_gaussian():
    estimator = small(uses=16, hidden=16).fit(X)
    truth = multivariate_normal([1, 2], COVARIANCE).logpdf(NEW).mean()
    assert estimator.score(NEW) == pytest.approx(truth, abs=0.05)


def test_the_density_integrates_to_one():
    estimator = small().fit(X)
    axis = np.linspace(-8, 12, 400)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    p = np.exp(estimator.score_samples(grid)).reshape(400, 400)
    assert np.trapezoid(np.trapezoid(p, axis), axis) == pytest.approx(1, abs=5e-3)


def test_the_score_is_the_mean_log_density():
    estimator = small().fit(X)
    assert estimator.score(NEW) == estimator.score_samples(NEW).mean()


def test_samples_follow_the_distribution():
    """A false alarm in a thousand, if the density were exact; it is allowed 0.01 of the CDF."""
    x = small(uses=16, hidden=16).fit(gaussian(20_000, seed=3)).sample(2000, random_state=1)
    for column, mean in zip(x.T, (1, 2), strict=True):
        assert kstest(column, norm(mean, 1).cdf).statistic < 1.95 / np.sqrt(2000) + 0.01


@pytest.mark.parametrize("n", [1, 7, 64, 1000, 3000])
def test_fitting_is_fitting_in_pieces(n):
    pieces, whole = small(), small().fit(X[:2000])
    for start in range(0, 2000, n):
        pieces.partial_fit(X[start : min(start + n, 2000)])
    np.testing.assert_array_equal(pieces.score_samples(NEW), whole.score_samples(NEW))


def test_asking_in_between_changes_nothing():
    asked, silent = small(fit_events=500), small(fit_events=500)
    for start in range(0, 3000, 300):
        asked.partial_fit(X[start : start + 300]).score(NEW)
        silent.partial_fit(X[start : start + 300])
    assert asked.score(NEW) == silent.score(NEW)


def test_learning_goes_on_after_a_fit():
    estimator = small().fit(X[:1500]).partial_fit(X[1500:])
    assert estimator.score(NEW) == small().fit(X).score(NEW)


def test_the_random_state_decides():
    assert small().fit(X).score(NEW) == small().fit(X).score(NEW)
    assert small(random_state=2).fit(X).score(NEW) != small().fit(X).score(NEW)
    state = np.random.RandomState(5)
    estimator = small(random_state=state).fit(X)
    assert not np.array_equal(estimator.sample(3), estimator.sample(3))
    assert np.array_equal(estimator.sample(3, 7), estimator.sample(3, 7))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_a_copy_goes_on_as_the_original_would(duplicate):
    original = small().partial_fit(X[:1000])
    twin = duplicate(original).partial_fit(X[1000:])
    assert twin.score(NEW) == original.partial_fit(X[1000:]).score(NEW)


def test_a_clone_is_not_fitted():
    with pytest.raises(NotFittedError):
        clone(small().fit(X)).score(X)


def test_nothing_is_known_before_a_fit():
    estimator = small()
    assert not hasattr(estimator, "density_")
    with pytest.raises(NotFittedError):
        estimator.sample()


def test_samples_out_of_bounds_are_counted_and_have_no_density():
    x = np.abs(X)
    estimator = small(bounds=[(0, np.inf), (0, 4)]).fit(x)
    assert estimator.skipped_["out_of_support"] == np.count_nonzero(x[:, 1] > 4) > 0
    assert estimator.score_samples([[-0.1, 1], [1, 4.1], [1, 4]])[:2].tolist() == [-np.inf] * 2
    assert (estimator.sample(500) >= 0).all()


def test_bounds_that_leave_nothing_are_refused():
    with pytest.raises(ConfigError, match="expected some samples within"):
        small(bounds=[(100, 101), (0, 1)]).fit(X)


@pytest.mark.parametrize("bounds", [[(0, 1)], [(0, 1)] * 3])
def test_bounds_must_be_one_pair_a_feature(bounds):
    with pytest.raises(ConfigError, match=f"expected 2 pairs, one a feature; got {len(bounds)}"):
        small(bounds=bounds).fit(X)


def test_bounds_must_rise():
    with pytest.raises(SchemaError, match="expected low < high"):
        small(bounds=[(0, 1), (2, 1)]).fit(X)


def test_names_of_columns_are_those_of_the_density():
    frame = pd.DataFrame(X, columns=["mjj", "tau21"])
    assert small().fit(frame).density_.schema.names == ("mjj", "tau21")


def test_it_ends_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), small()).fit(X)
    scaled = StandardScaler().fit(X).transform(NEW)
    alone = small().fit(StandardScaler().fit_transform(X))
    np.testing.assert_array_equal(pipeline.score_samples(NEW), alone.score_samples(scaled))


def test_a_grid_search_finds_what_is_better():
    grid = {"learning_rate": [1e-9, 3.5e-3]}
    search = GridSearchCV(small(uses=16), grid, cv=2, error_score="raise").fit(X)
    assert search.best_params_ == {"learning_rate": 3.5e-3}
    assert np.isfinite(cross_val_score(small(), X, cv=3)).all()


def test_a_setting_that_makes_no_sense_is_refused_by_fit():
    with pytest.raises(ConfigError, match="uses=0"):
        small(uses=0).fit(X)


def test_a_snapshot_is_a_fitted_estimator(snapshot_path):
    density = read_snapshot(snapshot_path).density("window", 1)
    estimator = DensityEstimator.from_snapshot(snapshot_path, model="window", replica=1)
    x = np.array([[2.5, 2.5], [3.5, 3.0], [5.0, 5.0]])
    np.testing.assert_array_equal(estimator.score_samples(x), density.log_prob(x))
    assert estimator.sample(10, 1).shape == (10, 2)
    copied = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(copied.score_samples(x), density.log_prob(x))
    with pytest.raises(ValueError, match="expecting 2 features"):
        estimator.score_samples(x[:, :1])


def test_a_snapshot_ends_a_pipeline_without_a_fit(snapshot_path):
    pipeline = make_pipeline(DensityEstimator.from_snapshot(snapshot_path))
    x = np.array([[2.5, 2.5]])
    expected = read_snapshot(snapshot_path).density().log_prob(x)
    np.testing.assert_array_equal(pipeline.score_samples(x), expected)


def test_a_snapshot_is_not_trained_on(snapshot_path):
    with pytest.raises(ConfigError, match="a density that is complete"):
        DensityEstimator.from_snapshot(snapshot_path).partial_fit(X)
