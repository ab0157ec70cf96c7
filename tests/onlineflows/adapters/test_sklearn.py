"""The scikit-learn estimator: scikit-learn's own checks, closed forms, and pieces of any size."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from onlineflows.adapters.sklearn import DensityEstimator

SMALL = {"blocks": 1, "hidden": 8, "bins": 4, "uses": 4, "random_state": 1}


@parametrize_with_checks([DensityEstimator(**SMALL)])
def test_scikit_learns_check_passes(estimator, check):
    check(estimator)
