"""A river anomaly detector: the rarer an event, the higher its score."""

import numbers
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from river import base
from river.utils import dataframe
from scipy import special

from onlineflows.adapters.online_density import OnlineDensity, learner_config, to_float32
from onlineflows.density import AnyDensity
from onlineflows.errors import DataError
from onlineflows.online.snapshot import read_snapshot
from streams import EventSchema, Feature

Event = Mapping[Any, Any]
Array = NDArray[np.float64]

REFERENCE_EVENTS = 1024
"""Events that the mean score is taken over."""


class DensityDetector(base.AnomalyDetector):
    """Learns the density of a stream of events and scores each by how rare it is.

    The score is q / (q + p(x)) with log q the mean of log p over the newest events: between 0 and
    1, whatever the units, and 1/2 for an event as rare as an average one. Its logit is -log p(x)
    less the mean, in nats. Until there is a density, every score is 0.

    **Features.** Without a schema they are the numeric values of the first event, sorted by name,
    on unbounded supports; whatever else appears later is ignored. A schema says which they are and
    where they can be: half-open supports of masses, say, or exact zeros on an edge.
    An event that lacks one (no such key, None or NaN) isn't learned from, since it has no density:
    put an imputer of river's in front where such events should count. To be scored, what it lacks
    is replaced by the median of the newest events. An event outside the support, or infinite, has
    the score 1 and isn't learned from. `skipped` counts both.

    **Time.** `learn_one` only notes the event; every batch_size // uses events there is a gradient
    step, on them and on some that came before, and a new density to score with. So `learn_many`
    learns exactly what `learn_one` does, event by event. Memory doesn't grow with the stream.

    Args:
        schema: names, units and supports of the features; None for those of the first event.
        fit_events: events that the marginal map is fitted on; there is no density before them.
        uses: how often each event is trained on.
        batch_size: events of a gradient step.
        learning_rate: the optimiser's, after 50 steps of warm-up.
        blocks: blocks of the flow.
        hidden: units in each of the two hidden layers of a block.
        bins: bins of its splines.
        density: scores are those of this density, and nothing is learned; see `from_density`.
        seed: of the first weights and of the order of repeats; None for a random one.

    Raises:
        ConfigError: a setting makes no sense.

    Example:
        Events far from the others get high scores:

        >>> import random
        >>> from onlineflows.adapters.river import DensityDetector
        >>> rng = random.Random(1)
        >>> detector = DensityDetector(fit_events=500, hidden=16, seed=1)
        >>> for _ in range(2000):
        ...     m = rng.gauss(100, 10)
        ...     detector.learn_one({"m": m, "pt": 0.5 * m + rng.gauss(0, 1)})
        >>> usual, rare = {"m": 100.0, "pt": 50.0}, {"m": 100.0, "pt": 70.0}
        >>> detector.score_one(usual) < 0.5 < 0.9 < detector.score_one(rare)
        True
    """

    def __init__(
        self,
        schema: EventSchema | None = None,
        fit_events: int = 1000,
        uses: int = 4,
        batch_size: int = 512,
        learning_rate: float = 3.5e-3,
        blocks: int = 3,
        hidden: int = 64,
        bins: int = 8,
        density: AnyDensity | None = None,
        seed: int | None = None,
    ) -> None:
        self.schema = schema
        self.fit_events = fit_events
        self.uses = uses
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.blocks = blocks
        self.hidden = hidden
        self.bins = bins
        self.density = density
        self.seed = seed
        learner_config(self, seed=0)  # refuses what makes no sense here, not at the first event
        self._names: tuple[Hashable, ...] = () if density is None else density.schema.names
        self._online: OnlineDensity | None = None
        self._waiting = np.empty((batch_size // uses, 0))
        """Events that the next step waits for, and those of the last step behind them."""
        self._newest = np.empty((0, 0), dtype=np.float32)
        """The newest events that were learned from; scores are measured from their mean."""
        self._n = 0
        self._scale: _Scale | None = None

    @classmethod
    def from_density(cls, density: AnyDensity, *, seed: int = 1) -> Self:
        """Returns a detector that scores by a density which is complete, and learns nothing.

        The mean of log p is that of events drawn from the density itself.

        Args:
            density: of a snapshot, say, or a mixture.
            seed: of those draws.
        """
        return cls(density=density, seed=seed)

    @classmethod
    def from_snapshot(cls, path: str | Path, *, model: str | None = None, replica: int = 0) -> Self:
        """Returns a detector that scores by what a snapshot has learned.

        A snapshot holds neither events nor an optimiser: it is not trained on.

        Args:
            path: a snapshot, a folder of snapshots, or the folder of a run: the latest is taken.
            model: its name; None for the first.
            replica: 0 for the central θ.

        Raises:
            SnapshotError: it is missing or damaged, or its model has no density.
            ConfigError: there's no such model or replica.
        """
        return cls.from_density(read_snapshot(Path(path)).density(model, replica))

    @property
    def features(self) -> tuple[Hashable, ...]:
        """Keys of the features, in the order of the density; empty before the first event."""
        return self._names

    @property
    def n_seen(self) -> int:
        """Events given to `learn_one` and `learn_many`."""
        return self._n

    @property
    def skipped(self) -> dict[str, int]:
        """Events that were not learned from, by reason; of those that a step has looked at."""
        return dict(self._online.skipped) if self._online is not None else {}

    @property
    def is_fitted(self) -> bool:
        """Whether there is a density to score with."""
        return self._current() is not None

    def learn_one(self, x: Event) -> None:
        """Notes an event, and trains once enough of them have come.

        Raises:
            DataError: a feature isn't a number.
            DivergedError: the loss or its gradient isn't finite.
        """
        if self.density is not None:
            self._n += 1
            return
        if self._online is None and not self._begin(x):
            return
        self._waiting[self._n % len(self._waiting)] = self._values(x)
        self._noted(1)

    def learn_many(self, X: Any) -> None:
        """Does what `learn_one` does for each row of a dataframe, faster.

        Args:
            X: a dataframe that narwhals knows: of pandas, polars, pyarrow and others.

        Raises:
            DataError: a feature isn't a number.
            DivergedError: the loss or its gradient isn't finite.
        """
        frame = dataframe.into_frame(X)
        if self.density is not None:
            self._n += len(frame)
            return
        n_before = 0
        if self._online is None:  # some rows may come before the first event with a number
            events = frame.iter_rows(named=True)
            n_before = next((n for n, x in enumerate(events) if self._begin(x)), len(frame))
        rows = self._rows(frame)[n_before:]
        while len(rows):
            at = self._n % len(self._waiting)
            part = rows[: len(self._waiting) - at]
            self._waiting[at : at + len(part)] = part
            self._noted(len(part))
            rows = rows[len(part) :]

    def score_one(self, x: Event) -> float:
        """Returns how rare an event is, between 0 and 1; 0 while nothing is known.

        Raises:
            DataError: a feature isn't a number.
        """
        scale = self._current()
        if scale is None:
            return 0.0
        return float(scale.scores(self._values(x)[None])[0])

    def score_many(self, X: Any) -> Array:
        """Returns what `score_one` does for each row of a dataframe, shape (n,), much faster.

        Raises:
            DataError: a feature isn't a number.
        """
        frame = dataframe.into_frame(X)
        scale = self._current()
        return np.zeros(len(frame)) if scale is None else scale.scores(self._rows(frame))

    def _begin(self, x: Event) -> bool:
        """Takes the features from the schema or from the first event; False if it has none."""
        if self.schema is None:
            numeric = (k for k, v in x.items() if isinstance(v, numbers.Real | np.bool_))
            self._names = tuple(sorted(numeric, key=str))
            if not self._names:
                return False
            features = (Feature(str(name), "", -np.inf, np.inf) for name in self._names)
            schema = EventSchema(tuple(features))
        else:
            schema = self.schema
            self._names = schema.names
        seed = int(np.random.default_rng().integers(2**31)) if self.seed is None else self.seed
        self._online = OnlineDensity(schema, learner_config(self, seed))
        self._waiting = np.empty((len(self._waiting), len(self._names)))
        self._newest = np.empty((0, len(self._names)), dtype=np.float32)
        return True

    def _values(self, x: Event) -> Array:
        """The features' values in order, shape (d,); NaN for what is missing."""
        values = [x.get(name) for name in self._names]
        if any(isinstance(value, str) for value in values):
            raise self._no_numbers(x)  # numpy would read "2.5" as 2.5
        try:
            return np.array(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise self._no_numbers(x) from error

    def _no_numbers(self, x: Event) -> DataError:
        return DataError(f"expected numbers as {list(self._names)}; got {dict(x)}")

    def _rows(self, frame: Any) -> Array:
        """The features' columns of a dataframe, shape (n, d); NaN for what is missing."""
        rows = np.full((len(frame), len(self._names)), np.nan)
        columns = {name: number for number, name in enumerate(frame.columns)}
        for place, name in enumerate(self._names):
            if name in columns:
                try:
                    rows[:, place] = dataframe.to_numpy(frame[:, [columns[name]]])[:, 0]
                except (TypeError, ValueError) as error:
                    raise DataError(f"column {name!r}: expected numbers; got {error}") from error
        return rows

    def _noted(self, n: int) -> None:
        """Goes on after events were noted; trains on them once they are enough for a step."""
        self._n += n
        if self._online is not None and self._n % len(self._waiting) == 0:
            learned = self._online.learn(to_float32(self._waiting))
            self._newest = np.concatenate([self._newest, learned])[-REFERENCE_EVENTS:]
            self._scale = None

    def _current(self) -> "_Scale | None":
        """Returns what to score with; made anew after each step, when it is asked for."""
        if self._scale is None:
            if self.density is not None:
                drawn = self.density.sample(REFERENCE_EVENTS, self.seed or 0)
                self._scale = _Scale(self.density, drawn)
            elif self._online is not None and (density := self._online.density()) is not None:
                self._scale = _Scale(density, self._newest)
        return self._scale

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scale": None}


class _Scale:
    """A density, and what its scores are measured from.

    Args:
        density: what to score with.
        reference: events that are usual, inside the support, shape (n, d).
    """

    def __init__(self, density: AnyDensity, reference: NDArray[np.float32]) -> None:
        self._density = density
        self._mean = float(density.log_prob(reference).mean())
        self._typical = np.median(reference, axis=0)

    def scores(self, rows: Array) -> Array:
        """Returns the scores of events, shape (n, d), NaN where something is missing."""
        rows = np.where(np.isnan(rows), self._typical, rows)
        return special.expit(self._mean - self._density.log_prob(rows))
