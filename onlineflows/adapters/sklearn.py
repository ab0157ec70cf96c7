"""A scikit-learn density estimator, learned in one pass and in bounded memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from onlineflows.adapters.online_density import OnlineDensity, learner_config, to_float32
from onlineflows.density import AnyDensity
from onlineflows.errors import ConfigError
from onlineflows.online.snapshot import read_snapshot
from streams import EventSchema, Feature

Array = NDArray[np.float64]


class DensityEstimator(DensityMixin, BaseEstimator):  # type: ignore[misc]
    """Estimates p(x) with a normalising flow; interchangeable with scikit-learn's KernelDensity.

    Samples are taken in their order, each `uses` times, from a buffer of bounded size, so that
    `fit(X)` is `partial_fit` of X in pieces of any size. They are learned in single precision and
    evaluated in double.

    Args:
        bounds: where each feature can be, pairs of low and high; either may be infinite. None for
            unbounded features. Samples outside are counted in `skipped_` and have no density.
        fit_events: samples that the marginal map is fitted on; on all if there are fewer.
        uses: how often each sample is trained on; at most `batch_size`.
        batch_size: samples of a gradient step.
        learning_rate: the optimiser's, after 50 steps of warm-up.
        blocks: blocks of the flow.
        hidden: units in each of the two hidden layers of a block.
        bins: bins of its splines.
        random_state: of the first weights and of the order of repeats; of `sample`, too.

    Attributes:
        density_: what was learned so far, an `onlineflows.density.AnyDensity`.
        skipped_: samples that weren't learned from, by reason.
        n_features_in_: number of features.
        feature_names_in_: their names, if X had some.

    Example:
        >>> import numpy as np
        >>> from onlineflows.adapters.sklearn import DensityEstimator
        >>> rng = np.random.default_rng(1)
        >>> X = rng.normal([1, 2], [0.5, 2], (3000, 2))
        >>> estimator = DensityEstimator(uses=4, hidden=16, random_state=1).fit(X)
        >>> truth = -np.log(2 * np.pi * 0.5 * 2) - 1  # minus the entropy of these two Gaussians
        >>> bool(abs(estimator.score(X) - truth) < 0.1)
        True
        >>> estimator.sample(5, random_state=1).shape
        (5, 2)
    """

    _density: AnyDensity | None
    """None while what is owed to the newest samples is yet to be trained on."""

    def __init__(
        self,
        *,
        bounds: Sequence[tuple[float, float]] | None = None,
        fit_events: int = 10_000,
        uses: int = 16,
        batch_size: int = 256,
        learning_rate: float = 3.5e-3,
        blocks: int = 3,
        hidden: int = 64,
        bins: int = 8,
        random_state: int | RandomState | None = None,
    ) -> None:
        self.bounds = bounds
        self.fit_events = fit_events
        self.uses = uses
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.blocks = blocks
        self.hidden = hidden
        self.bins = bins
        self.random_state = random_state

    @classmethod
    def from_density(cls, density: AnyDensity) -> Self:
        """Returns a fitted estimator of a density that is complete; `fit` would learn another."""
        estimator = cls()
        estimator.n_features_in_ = density.schema.n_features
        estimator.skipped_ = {}
        estimator._density = density
        return estimator

    @classmethod
    def from_snapshot(cls, path: str | Path, *, model: str | None = None, replica: int = 0) -> Self:
        """Returns a fitted estimator of what a snapshot has learned.

        X then has the columns of the snapshot's schema, in its order and units.

        Args:
            path: a snapshot, a folder of snapshots, or the folder of a run: the latest is taken.
            model: its name; None for the first.
            replica: 0 for the central θ.

        Raises:
            SnapshotError: it is missing or damaged, or its model has no density.
            ConfigError: there's no such model or replica.
        """
        return cls.from_density(read_snapshot(Path(path)).density(model, replica))

    def fit(self, X: ArrayLike, y: None = None) -> Self:  # noqa: ARG002 - as pipelines call it
        """Learns the density of samples, shape (n, d), and forgets what came before.

        Raises:
            ConfigError: a setting makes no sense, or no sample is within the bounds.
            DivergedError: the loss or its gradient isn't finite.
        """
        self._learn(X, reset=True)
        self._density = self._finished()  # now, as long as one waits for a fit anyway
        return self

    def partial_fit(self, X: ArrayLike, y: None = None) -> Self:  # noqa: ARG002
        """Learns the density of further samples, shape (n, d), in the order given.

        What these and earlier ones are still due is trained on when the density is asked for, on
        a copy: the next call goes on as if nobody had asked.

        Raises:
            ConfigError: a setting makes no sense.
            DivergedError: the loss or its gradient isn't finite.
        """
        self._learn(X, reset=not hasattr(self, "n_features_in_"))
        return self

    def score_samples(self, X: ArrayLike) -> Array:
        """Returns log p(x) of samples, shape (n,), in nats; -inf out of bounds."""
        density = self._ready()
        return density.log_prob(validate_data(self, X, reset=False, dtype=np.float64))

    def score(self, X: ArrayLike, y: None = None) -> float:  # noqa: ARG002
        """Returns the mean log p(x) of samples, in nats."""
        return float(self.score_samples(X).mean())

    def sample(
        self, n_samples: int = 1, random_state: int | RandomState | None = None
    ) -> NDArray[np.float32]:
        """Returns samples of the density, shape (n_samples, d).

        Args:
            n_samples: how many.
            random_state: None for that of the estimator.
        """
        state = self.random_state if random_state is None else random_state
        return self._ready().sample(n_samples, _seed(state))

    @property
    def density_(self) -> AnyDensity:
        """What was learned so far."""
        if not hasattr(self, "_density"):
            raise NotFittedError("expected a fitted estimator; call fit or partial_fit first")
        if self._density is None:
            self._density = self._finished()
        return self._density

    def _ready(self) -> AnyDensity:
        check_is_fitted(self)
        return self.density_

    def _learn(self, X: ArrayLike, *, reset: bool) -> None:
        rows = validate_data(self, X, reset=reset, dtype=np.float64)
        if reset:
            config = learner_config(self, _seed(self.random_state))
            self._online = OnlineDensity(self._schema(), config)
        elif not hasattr(self, "_online"):
            raise ConfigError(
                "expected an estimator that learned its density itself, to go on learning; got one "
                "of a density that is complete: call fit, which begins anew"
            )
        self._density = None
        self._online.learn(to_float32(rows))
        self.skipped_ = dict(self._online.skipped)

    def _finished(self) -> AnyDensity:
        density = self._online.finished()
        if density is None:
            raise ConfigError(
                f"bounds: expected some samples within {self.bounds}; got none of "
                f"{self._online.n_seen}"
            )
        return density

    def _schema(self) -> EventSchema:
        d = self.n_features_in_
        bounds = [(-np.inf, np.inf)] * d if self.bounds is None else list(self.bounds)
        if len(bounds) != d:
            raise ConfigError(f"bounds: expected {d} pairs, one a feature; got {len(bounds)}")
        names = getattr(self, "feature_names_in_", [f"x{k}" for k in range(d)])
        return EventSchema(
            tuple(Feature(name, "", *pair) for name, pair in zip(names, bounds, strict=True))
        )


def _seed(random_state: int | RandomState | None) -> int:
    return int(check_random_state(random_state).randint(2**31 - 1))
