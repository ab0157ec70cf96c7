"""The classifier of every weakly supervised method: an ensemble of boosted trees."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from onlineflows.errors import ConfigError, TooFewEventsError


@dataclass(frozen=True, slots=True)
class TreesConfig:
    """Settings of the boosted trees.

    Args:
        folds: models of one ensemble; each leaves one fold out of its training and stops once
            the loss on that fold no longer falls.
        repeats: ensembles with folds and seeds of their own, whose models are averaged.
        max_iter: trees per model at most.
        learning_rate: shrinkage of each tree.
        patience: trees without improvement on the left-out fold before a model stops.
        max_leaf_nodes: leaves per tree at most.
        min_samples_leaf: events per leaf at least.
        threads: OpenMP threads; more than there are free cores makes training many times slower,
            since they wait for each other actively. 0 lets the library choose.
    """

    folds: int = 5
    repeats: int = 1
    max_iter: int = 100
    learning_rate: float = 0.05
    patience: int = 10
    max_leaf_nodes: int = 31
    min_samples_leaf: int = 20
    threads: int = 1

    def __post_init__(self) -> None:
        for name, least in (("folds", 2), ("repeats", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}: expected at least {least}; got {getattr(self, name)}")

    @property
    def n_models(self) -> int:
        """Classifiers that one training fits."""
        return self.folds * self.repeats


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """Trained models whose scores are averaged.

    Args:
        models: one fitted classifier for each fold of each repeat.
        threads: OpenMP threads for scoring.
    """

    models: tuple[HistGradientBoostingClassifier, ...]
    threads: int = 1

    def score(self, x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Returns the mean probability of class 1, shape (n,), for features of shape (n, k)."""
        total = np.zeros(len(x))
        with _openmp(self.threads):
            for model in self.models:
                total += model.predict_proba(x)[:, 1]
        return total / len(self.models)


def train_ensemble(
    x: NDArray[np.floating[Any]],
    target: NDArray[np.integer[Any]],
    weight: NDArray[np.float64],
    *,
    config: TreesConfig,
    rng: np.random.Generator,
    progress: Callable[[], None] = lambda: None,
) -> Ensemble:
    """Returns one model per fold and repeat, each trained on the other folds.

    Folds are drawn at random within each class. The trees bin the features by quantiles, so that
    no scaling is needed.

    Args:
        x: the classifier's features, shape (n, k).
        target: class 0 or 1, shape (n,).
        weight: training weights, shape (n,).
        config: settings of the trees.
        rng: draws the folds and the models' seeds.
        progress: called after each model.

    Raises:
        TooFewEventsError: a class has fewer events than there are folds.

    Reference:
        Boosted trees for weak supervision: Finke et al. 2023 (2309.13111); k-fold training for
        CWoLa hunting: Collins, Howe, Nachman 2018 (1805.02664).
    """
    models = []
    with _openmp(config.threads):
        for _ in range(config.repeats):
            fold = assign_folds(target, config.folds, rng)
            for left_out in range(config.folds):
                held = fold == left_out
                model = _new_model(config, seed=int(rng.integers(2**31)))
                model.fit(
                    x[~held],
                    target[~held],
                    sample_weight=weight[~held],
                    X_val=x[held],
                    y_val=target[held],
                    sample_weight_val=weight[held],
                )
                models.append(model)
                progress()
    return Ensemble(tuple(models), config.threads)


def _new_model(config: TreesConfig, *, seed: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=config.max_iter,
        learning_rate=config.learning_rate,
        max_leaf_nodes=config.max_leaf_nodes,
        min_samples_leaf=config.min_samples_leaf,
        early_stopping=True,
        n_iter_no_change=config.patience,
        random_state=seed,
    )


def _openmp(threads: int) -> threadpool_limits:
    return threadpool_limits(limits=threads or None, user_api="openmp")


def assign_folds(
    target: NDArray[np.integer[Any]], folds: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Returns a fold for each event, shape (n,), drawn at random within each class.

    Raises:
        TooFewEventsError: a class has fewer events than there are folds.
    """
    fold = np.empty(len(target), dtype=np.intp)
    for kind in (0, 1):
        members = np.flatnonzero(target == kind)
        if len(members) < folds:
            raise TooFewEventsError(
                f"expected at least {folds} events of class {kind}, one per fold; "
                f"got {len(members)}; use more events or fewer folds"
            )
        fold[rng.permutation(members)] = np.arange(len(members)) % folds
    return fold
