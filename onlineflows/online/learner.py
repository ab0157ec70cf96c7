"""What happens to one batch of events: checked, handed to each model, and forgotten."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onlineflows.density import Density
from onlineflows.errors import CheckpointError
from onlineflows.online.checkpoint import Checkpoint
from onlineflows.online.drift import Alarm, DriftMonitor, scatter_of_means
from onlineflows.online.gate import Gate, Verdict
from onlineflows.online.history import NllHistory
from onlineflows.online.model_learner import Arrays, ModelLearner, below
from onlineflows.settings import LearnerConfig
from streams import EventSchema


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the events of one batch.

    Args:
        n_accepted: events that at least one model trains on, now or as soon as its marginal map is
            fitted.
        skipped: events that none does, by reason; reasons without events are left out.
        alarm: the drift alarm that the batch raised, if any.
    """

    n_accepted: int
    skipped: Mapping[str, int]
    alarm: Alarm | None = None


class Learner:
    """Learns the density of a stream of events, each of which it sees once, in one or more models.

    Each model takes the events of its region and share; see `ModelLearner`. Every θ is a pure
    function of the events in their order and of the configuration: neither the sizes of the batches
    nor a restart from `state` changes it. The history of the NLL, the drift alarm and the gate are
    those of the first model.

    Args:
        schema: what the events are.
        config: what to learn, and how.
        clock: seconds that only ever rise; times the learning.

    Raises:
        ConfigError: a model's region has no event of the schema.
    """

    def __init__(
        self,
        schema: EventSchema,
        config: LearnerConfig,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.schema = schema
        self.config = config
        self._clock = clock
        self.models = {model.name: ModelLearner(schema, config, model) for model in config.models}
        """What each model has learned, by name, in the order of the configuration."""
        self._first = self.models[config.models[0].name]
        self._frozen: Density | None = None
        self._next_freeze = 2 * self._first.config.preprocess.fit_events
        self.history = NllHistory()
        self.drift = DriftMonitor(
            config.drift,
            scatter_nats=scatter_of_means(schema.n_features, config.drift.sample_events),
        )
        self.gate = Gate(config.gate, schema.n_features)
        """Judges the first model by its newest events."""
        self.n_seen = 0
        self.n_accepted = 0
        self.train_seconds = 0.0
        self.tainted: tuple[str, ...] = ()
        """Reasons why the models are not what the configuration asked for."""

    @property
    def n_trained(self) -> int:
        """Events accepted, less the most that any one model has yet to train on.

        At the end of a stream no model has any left.
        """
        waiting = max(model.n_taken - model.n_trained for model in self.models.values())
        return self.n_accepted - waiting

    @property
    def n_uses(self) -> int:
        """Events in all mini-batches of all models so far, repeats included."""
        return sum(model.n_uses for model in self.models.values())

    @property
    def n_steps(self) -> int:
        """Gradient steps taken by all models."""
        return sum(model.n_steps for model in self.models.values())

    @property
    def buffer_nbytes(self) -> int:
        """Bytes of events held at most: buffers, what is held for the marginal maps, the gate's."""
        return sum(model.buffer_nbytes for model in self.models.values()) + self.gate.nbytes

    @property
    def buffer_fill(self) -> float:
        """Share of the buffers that holds events, from 0 to 1."""
        return sum(model.buffer_fill for model in self.models.values()) / len(self.models)

    @property
    def is_fitted(self) -> bool:
        """Whether any model has a density yet."""
        return any(model.preprocessing is not None for model in self.models.values())

    def learn(
        self,
        x: NDArray[np.float32],
        *,
        lumisection: int,
        indices: NDArray[np.int64] | None = None,
    ) -> Outcome:
        """Takes in the next events of the stream and trains on what is due.

        Args:
            x: events, shape (n, d), in the schema's units; copied where they are kept.
            lumisection: the events' lumisection.
            indices: of the events in their run, shape (n,): bootstrap weights and shares depend on
                them. None where every event of the run has been given, so that their number says
                it.

        Raises:
            DivergedError: the loss or its gradient isn't finite.
        """
        started = self._clock()
        if indices is None:
            indices = np.arange(self.n_seen, self.n_seen + len(x))
        self.n_seen += len(x)
        finite = np.isfinite(x).all(axis=1)
        inside = self.schema.in_support(x)
        x, indices = x[inside], indices[inside]
        wanted = {name: model.wants(x, indices) for name, model in self.models.items()}
        n_accepted = int(np.logical_or.reduce(list(wanted.values())).sum())
        new = x[wanted[self._first.model.name]]
        alarm = self._watch(new, lumisection)
        self.gate.remember(new)
        for name, model in self.models.items():
            model.take(x[wanted[name]], indices[wanted[name]])
        self.n_accepted += n_accepted
        skipped = {
            "non_finite": int((~finite).sum()),
            "out_of_support": int((finite & ~inside).sum()),
            "no_model": len(x) - n_accepted,
        }
        self.train_seconds += self._clock() - started
        return Outcome(n_accepted, {k: n for k, n in skipped.items() if n}, alarm)

    def finish(self) -> None:
        """Trains on everything that is still owed; the stream has ended.

        A model whose stream ends before its marginal map is fitted fits it on what there is, and
        the run is marked tainted; so is one without a single event to learn from, which leaves no
        density.
        """
        started = self._clock()
        if not self.n_accepted:
            self.tainted += (f"nothing was learned: none of {self.n_seen} events could be used",)
        for name, model in self.models.items():
            problem = model.finish()
            if problem is None and self.n_accepted and not model.n_taken:
                problem = f"nothing was learned: none of {self.n_seen} events is in its region"
            if problem is not None:
                named = f"model {name!r}: " if len(self.models) > 1 else ""
                self.tainted += (named + problem,)
        self.train_seconds += self._clock() - started

    def theta(self, model: str | None = None) -> NDArray[np.float32]:
        """Returns the averaged central parameters of a model, by default the first.

        Shape (n_parameters,).
        """
        theta: NDArray[np.float32] = self._model(model).thetas()[0]
        return theta

    def density(self, model: str | None = None, replica: int = 0) -> Density | None:
        """Returns the density that a model, by default the first, has learned so far.

        None until its marginal map is fitted.
        """
        return self._model(model).density(replica)

    def judged(self) -> Verdict | None:
        """Returns what the gate says of the first model's density; None while it can't say."""
        density = self._first.density()
        return None if density is None else self.gate.judge(density)

    def _model(self, name: str | None) -> ModelLearner:
        return self._first if name is None else self.models[name]

    def _watch(self, new: NDArray[np.float32], lumisection: int) -> Alarm | None:
        """Evaluates some new events under the first model's frozen previous θ, before training."""
        if self._first.preprocessing is not None and self._first.n_taken >= self._next_freeze:
            self._frozen = self._first.density()
            # Doubling at first, while the model learns fast; then in steady strides.
            stride = max(self.config.drift.warmup_events, 1)
            self._next_freeze = min(2 * self._next_freeze, self._next_freeze + stride)
        new = new[: self.config.drift.sample_events]
        if self._frozen is None or not len(new):
            return None
        nll = -float(self._frozen.log_prob(new).mean())
        self.history.add(self.n_seen, nll=nll, n=len(new))
        return self.drift.update(nll, n_seen=self.n_seen, lumisection=lumisection)

    def state(self) -> Checkpoint:
        """Returns everything a restart needs."""
        arrays: Arrays = {}
        for name, model in self.models.items():
            arrays |= {f"{name}.{key}": array for key, array in model.state().items()}
        arrays |= {f"gate_{key}": array for key, array in self.gate.state().items()}
        if self._frozen is not None:
            arrays["frozen_theta"] = self._frozen.flow.theta.numpy().copy()
        document = {
            "n_seen": self.n_seen,
            "n_accepted": self.n_accepted,
            "next_freeze": self._next_freeze,
            "train_seconds": self.train_seconds,
            "history": self.history.to_dict(),
            "drift": self.drift.to_dict(),
        }
        return Checkpoint(document, arrays)

    def load(self, checkpoint: Checkpoint) -> None:
        """Takes up what `state` of a learner of the same configuration returned.

        Raises:
            CheckpointError: it is of another configuration, or incomplete.
        """
        document, arrays = checkpoint.document, checkpoint.arrays
        try:
            for name, model in self.models.items():
                model.load(below(f"{name}.", arrays))
            self.gate.load(below("gate_", arrays))
            if "frozen_theta" in arrays:
                self._frozen = self._first.density_at(arrays["frozen_theta"].astype(np.float32))
            self.n_seen = int(document["n_seen"])
            self.n_accepted = int(document["n_accepted"])
            self._next_freeze = int(document["next_freeze"])
            self.train_seconds = float(document["train_seconds"])
            self.history = NllHistory.from_dict(document["history"])
            self.drift.load(document["drift"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise CheckpointError(
                f"expected the state of a learner of this configuration; got {error!r}"
            ) from error
