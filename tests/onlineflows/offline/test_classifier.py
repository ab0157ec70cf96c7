"""The ensemble of boosted trees."""

import numpy as np
import pytest

from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.classifier import TreesConfig, train_ensemble
from onlineflows.offline.metrics import auc

FAST = TreesConfig(folds=3, max_iter=20)


def two_gaussians(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, n)
    return rng.normal(target[:, None] * 1.0, 1.0, (n, 2)), target


def train(x: np.ndarray, target: np.ndarray, *, seed: int = 1, config: TreesConfig = FAST):
    rng = np.random.default_rng(seed)
    return train_ensemble(x, target, np.ones(len(x)), config=config, rng=rng)


def test_the_score_comes_close_to_the_likelihood_ratio() -> None:
    x, target = two_gaussians(6000, seed=1)
    test_x, test_target = two_gaussians(6000, seed=2)

    found = auc(train(x, target).score(test_x), test_target)
    optimum = auc(test_x.sum(axis=1), test_target)

    assert optimum.value - 0.015 < found.value < optimum.value + 0.005


def test_there_is_one_model_for_each_fold_and_one_step_of_progress() -> None:
    x, target = two_gaussians(300, seed=3)
    steps: list[int] = []

    ensemble = train_ensemble(
        x,
        target,
        np.ones(300),
        config=FAST,
        rng=np.random.default_rng(1),
        progress=lambda: steps.append(1),
    )

    assert len(ensemble.models) == len(steps) == 3


def test_the_same_seed_gives_the_same_scores() -> None:
    x, target = two_gaussians(200, seed=4)

    np.testing.assert_array_equal(train(x, target).score(x), train(x, target).score(x))


def test_another_seed_gives_other_scores() -> None:
    x, target = two_gaussians(200, seed=4)

    assert not np.array_equal(train(x, target).score(x), train(x, target, seed=2).score(x))


def test_weights_count_like_repeated_events() -> None:
    # One binary feature: P(target = 1 | x) follows from the weights alone.
    x = np.repeat([0.0, 1.0, 0.0, 1.0], 500)[:, None]
    target = np.repeat([0, 0, 1, 1], 500)
    weight = np.repeat([1.0, 1.0, 3.0, 1.0], 500)
    config = TreesConfig(folds=2, max_iter=200, learning_rate=0.2)

    ensemble = train_ensemble(x, target, weight, config=config, rng=np.random.default_rng(1))

    np.testing.assert_allclose(ensemble.score(np.array([[0.0], [1.0]])), [0.75, 0.5], atol=0.01)


def test_training_stops_early_where_there_is_nothing_to_learn() -> None:
    rng = np.random.default_rng(5)
    x, target = rng.normal(size=(2000, 2)), rng.integers(0, 2, 2000)

    ensemble = train(x, target, config=TreesConfig(folds=2, max_iter=200))

    assert max(model.n_iter_ for model in ensemble.models) < 60


def test_fewer_events_than_folds_are_refused() -> None:
    with pytest.raises(DataError, match="expected at least 3 events of class 1"):
        train(np.zeros((10, 1)), np.repeat([0, 1], [8, 2]))


def test_a_single_fold_is_refused() -> None:
    with pytest.raises(ConfigError, match="folds: expected at least 2; got 1"):
        TreesConfig(folds=1)
