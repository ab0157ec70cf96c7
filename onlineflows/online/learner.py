"""What happens to one batch of events: checked, mapped, buffered, trained on, and forgotten."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.density import Density
from onlineflows.errors import CheckpointError
from onlineflows.flows import Flow, flow_over, make_flow
from onlineflows.online.buffer import make_buffer
from onlineflows.online.checkpoint import Checkpoint
from onlineflows.online.drift import Alarm, DriftMonitor, scatter_of_means
from onlineflows.online.graphed import make_trainer
from onlineflows.online.history import NllHistory
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import LearnerConfig
from streams import EventSchema

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the events of one batch.

    Args:
        n_accepted: events that are trained on, now or as soon as the marginal map is fitted.
        skipped: events that are not, by reason; reasons without events are left out.
        alarm: the drift alarm that the batch raised, if any.
    """

    n_accepted: int
    skipped: Mapping[str, int]
    alarm: Alarm | None = None


class Learner:
    """Learns the density of a stream of events, each of which it sees once.

    The first events are held until there are enough to fit the marginal map; then they are trained
    on like all others. θ is a pure function of the events in their order and of the configuration:
    neither the sizes of the batches nor a restart from `state` changes it.

    Args:
        schema: what the events are.
        config: what to learn, and how.
        clock: seconds that only ever rise; times the learning.
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
        generator = torch.Generator().manual_seed(config.trainer.seed)
        flow = make_flow(
            config.flow, schema.n_features, generator=generator, trainer=config.trainer
        )
        self._spec = flow.spec
        self._trainer = make_trainer(config, flow)
        self._buffer = make_buffer(
            config.buffer,
            schema.n_features,
            batch_size=config.trainer.batch_size,
            seed=config.trainer.seed,
        )
        self._held = np.zeros((config.preprocess.fit_events, schema.n_features), dtype=np.float32)
        self._n_held = 0
        self._preprocessing: Preprocessing | None = None
        self._frozen: Density | None = None
        self._next_freeze = 2 * config.preprocess.fit_events
        self.history = NllHistory()
        self.drift = DriftMonitor(
            config.drift,
            scatter_nats=scatter_of_means(schema.n_features, config.drift.sample_events),
        )
        self.n_seen = 0
        self.n_accepted = 0
        self.train_seconds = 0.0
        self.tainted: tuple[str, ...] = ()
        """Reasons why the model is not what the configuration asked for."""

    @property
    def n_trained(self) -> int:
        """Events trained on at least once."""
        return self._buffer.n_first_used

    @property
    def n_uses(self) -> int:
        """Events in all mini-batches so far, repeats included."""
        return self._buffer.n_uses

    @property
    def n_steps(self) -> int:
        """Gradient steps taken."""
        return self._trainer.n_steps

    @property
    def buffer_nbytes(self) -> int:
        """Bytes of events held at most: the buffer and what is held for the marginal map."""
        return self._buffer.nbytes + self._held.nbytes

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The frozen preprocessing; None until the marginal map is fitted."""
        return self._preprocessing

    def learn(self, x: NDArray[np.float32], *, lumisection: int) -> Outcome:
        """Takes in the next events of the stream and trains on what is due.

        Args:
            x: events, shape (n, d), in the schema's units; copied where they are kept.
            lumisection: the events' lumisection.

        Raises:
            DivergedError: the loss or its gradient isn't finite.
        """
        started = self._clock()
        self.n_seen += len(x)
        finite = np.isfinite(x).all(axis=1)
        inside = self.schema.in_support(x)
        accepted = x[inside]
        skipped = {
            "non_finite": int((~finite).sum()),
            "out_of_support": int((finite & ~inside).sum()),
        }
        alarm = self._watch(accepted, lumisection)
        self._take(accepted)
        self.train_seconds += self._clock() - started
        return Outcome(len(accepted), {k: n for k, n in skipped.items() if n}, alarm)

    def finish(self) -> None:
        """Trains on everything that is still owed; the stream has ended.

        A stream that ends before the marginal map is fitted fits it on what there is and is marked
        tainted; so is one without a single event to learn from, which leaves no density.
        """
        started = self._clock()
        if not self.n_accepted:
            self.tainted += (f"nothing was learned: none of {self.n_seen} events could be used",)
        elif self._preprocessing is None:
            expected, found = len(self._held), self._n_held
            self.tainted += (f"the marginal map was fitted on {found} of {expected} events",)
            self._fit()
        for mini_batch in self._buffer.drain():
            self._trainer.step(mini_batch)
        self.train_seconds += self._clock() - started

    def theta(self) -> NDArray[np.float32]:
        """Returns the averaged parameters: what is published. Shape (n_parameters,)."""
        averaged: NDArray[np.float32] = self._trainer.averaged().numpy()
        return averaged

    def density(self) -> Density | None:
        """Returns the density learned so far; None until the marginal map is fitted."""
        if self._preprocessing is None:
            return None
        return Density(self.schema, self._preprocessing, self._flow_at(self._trainer.averaged()))

    def _flow_at(self, theta: torch.Tensor) -> Flow:
        return flow_over(self._spec, theta, trainer=self.config.trainer)

    def _take(self, accepted: NDArray[np.float32]) -> None:
        self.n_accepted += len(accepted)
        if self._preprocessing is None:
            n = min(len(accepted), len(self._held) - self._n_held)
            self._held[self._n_held : self._n_held + n] = accepted[:n]
            self._n_held += n
            accepted = accepted[n:]
            if self._n_held < len(self._held):
                return
            self._fit()
        if len(accepted):
            self._train(accepted)

    def _fit(self) -> None:
        """Fits the marginal map on the events held, then trains on them."""
        held = self._held[: self._n_held]
        self._preprocessing = Preprocessing.fit(
            self.schema, held, knots=self.config.preprocess.knots
        )
        self._train(held)
        self._held = self._held[:0].copy()

    def _train(self, accepted: NDArray[np.float32]) -> None:
        if self._preprocessing is None:
            raise RuntimeError("expected a fitted marginal map before training")
        z = self._preprocessing.forward(accepted)[0].astype(np.float32)
        for mini_batch in self._buffer.feed(z):
            self._trainer.step(mini_batch)

    def _watch(self, accepted: NDArray[np.float32], lumisection: int) -> Alarm | None:
        """Evaluates some new events under the frozen previous model, before training on them."""
        if self._preprocessing is not None and self.n_accepted >= self._next_freeze:
            self._frozen = self.density()
            # Doubling at first, while the model learns fast; then in steady strides.
            stride = max(self.config.drift.warmup_events, 1)
            self._next_freeze = min(2 * self._next_freeze, self._next_freeze + stride)
        new = accepted[: self.config.drift.sample_events]
        if self._frozen is None or not len(new):
            return None
        nll = -float(self._frozen.log_prob(new).mean())
        self.history.add(self.n_seen, nll=nll, n=len(new))
        return self.drift.update(nll, n_seen=self.n_seen, lumisection=lumisection)

    def state(self) -> Checkpoint:
        """Returns everything a restart needs."""
        arrays: Arrays = {f"trainer.{k}": a for k, a in self._trainer.state().items()}
        arrays |= {f"buffer.{k}": a for k, a in self._buffer.state().items()}
        arrays["held"] = self._held[: self._n_held].copy()
        if self._preprocessing is not None:
            arrays |= {f"map.{k}": a for k, a in self._preprocessing.to_arrays().items()}
        if self._frozen is not None:
            arrays["frozen.theta"] = self._frozen.flow.theta.numpy().copy()
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
            self._trainer.load(_below("trainer.", arrays))
            self._buffer.load(_below("buffer.", arrays))
            self._load_map(arrays)
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

    def _load_map(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        held = arrays["held"]
        self._held[: len(held)] = held
        self._n_held = len(held)
        preprocessing: dict[str, Any] = _below("map.", arrays)
        if preprocessing:
            self._preprocessing = Preprocessing.from_arrays(self.schema, preprocessing)
            self._held = self._held[:0].copy()
            self._n_held = 0
        if "frozen.theta" in arrays and self._preprocessing is not None:
            theta = torch.from_numpy(arrays["frozen.theta"].copy())
            self._frozen = Density(self.schema, self._preprocessing, self._flow_at(theta))


def _below(prefix: str, arrays: Mapping[str, NDArray[np.generic]]) -> Arrays:
    """The arrays whose names start with a prefix, without it."""
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
