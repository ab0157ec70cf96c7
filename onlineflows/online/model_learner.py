"""What one model does with its events, of a region and a share: map, buffer, θ and replicas."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.density import Density
from onlineflows.flows import build_spec, flow_over
from onlineflows.model_settings import ModelConfig
from onlineflows.online.bootstrap import N_COLUMNS, Bootstrap, index_columns, indices_of
from onlineflows.online.buffer import make_buffer
from onlineflows.online.device_intake import DeviceWindow, device_map
from onlineflows.online.graphed import GraphedTrainer, make_trainer
from onlineflows.online.hashed import Share
from onlineflows.online.replicas import ReplicaTrainer, initial_thetas, make_replica_trainer
from onlineflows.online.trainer import Trainer
from onlineflows.preprocess import Preprocessing
from onlineflows.region import Region
from onlineflows.settings import LearnerConfig
from streams import EventSchema

Arrays = dict[str, NDArray[np.generic]]
Events = NDArray[np.float32]


class ModelLearner:
    """Learns the density of the events of one region and share, with replicas if asked for.

    The first events are held until there are enough to fit the marginal map; then they are trained
    on like all others. Every θ is a pure function of the model's events in their order and of its
    configuration; what else a run trains doesn't change it.

    Args:
        schema: what the events of the run are.
        config: the run's settings; the model's overrides are carried out here.
        model: which of its models.

    Raises:
        ConfigError: no event of the schema is in the model's region.
    """

    def __init__(self, schema: EventSchema, config: LearnerConfig, model: ModelConfig) -> None:
        self.model = model
        self.config = config.of(model)
        self.region = Region(model.inside, model.outside)
        self.schema = self.region.schema_of(schema, model=model.name)
        self.spec = build_spec(self.config.flow, schema.n_features)
        seed, batch_size = self.config.trainer.seed, self.config.trainer.batch_size
        self._share = None if model.share is None else Share(seed, *model.share)
        self._trainer = self._new_trainer()
        with_weights = model.bootstrap and model.replicas > 0
        self._bootstrap = Bootstrap(seed, model.name, model.replicas) if with_weights else None
        # With weights each event's index goes with it: repeats must have the same weights.
        n_columns = schema.n_features + (N_COLUMNS if with_weights else 0)
        self._buffer = make_buffer(self.config.buffer, n_columns, batch_size=batch_size, seed=seed)
        self._device: torch.device | None = None
        if isinstance(self._trainer, GraphedTrainer) and self.config.buffer.kind == "window":
            self._device = self._trainer.device
            self._buffer = DeviceWindow(
                n_columns,
                self.config.buffer,
                batch_size=batch_size,
                seed=seed,
                device=self._device,
            )
        self._to_device: Callable[[Events], torch.Tensor] | None = None
        self._held = np.zeros((self.config.preprocess.fit_events, n_columns), dtype=np.float32)
        self._n_held = 0
        self.n_taken = 0
        """Events of the region and the share so far."""
        self.preprocessing: Preprocessing | None = None
        """The frozen preprocessing; None until the marginal map is fitted."""

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
        """Bytes of events held at most."""
        return self._buffer.nbytes + self._held.nbytes

    @property
    def buffer_fill(self) -> float:
        """Share of the buffer that holds events, from 0 to 1."""
        return self._buffer.fill

    def wants(self, x: Events, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which events the model learns: those of its region and share, shape (n,).

        Args:
            x: events, shape (n, d).
            indices: of the events in their run, shape (n,).
        """
        wanted = self.region.contains(x[:, 0])
        return wanted if self._share is None else wanted & self._share.contains(indices)

    def take(self, x: Events, indices: NDArray[np.int64]) -> None:
        """Takes in events that it `wants` and trains on what is due.

        Args:
            x: events, shape (n, d); copied where they are kept.
            indices: of the events in their run, shape (n,).

        Raises:
            DivergedError: the loss or its gradient isn't finite.
        """
        self.n_taken += len(x)
        if self.preprocessing is None:
            n = min(len(x), len(self._held) - self._n_held)
            self._held[self._n_held : self._n_held + n] = self._rows(x[:n], indices[:n])
            self._n_held += n
            x, indices = x[n:], indices[n:]
            if self._n_held < len(self._held):
                return
            self._fit()
        if len(x):
            self._train(self._rows(x, indices))

    def finish(self) -> str | None:
        """Trains on everything that is still owed; the stream has ended.

        Returns:
            Why the model isn't what the configuration asked for; None if it is.
        """
        problem = None
        if self.preprocessing is None and self._n_held:
            found, expected = self._n_held, len(self._held)
            problem = f"the marginal map was fitted on {found} of {expected} events"
            self._fit()
        for rows in self._buffer.drain():
            self._step(rows)
        return problem

    def thetas(self) -> NDArray[np.float32]:
        """Returns the averaged parameters, what is published. Shape (1 + R, n_parameters)."""
        averaged: NDArray[np.float32] = self._trainer.averaged().numpy()
        return averaged.reshape(1 + self.model.replicas, -1)

    def density(self, replica: int = 0) -> Density | None:
        """Returns the density learned so far; None until the marginal map is fitted."""
        if self.preprocessing is None:
            return None
        return self.density_at(self.thetas()[replica])

    def density_at(self, theta: NDArray[np.float32]) -> Density:
        """Returns the density of some other θ of this model."""
        if self.preprocessing is None:
            raise RuntimeError("expected a fitted marginal map before there is a density")
        flow = flow_over(self.spec, torch.from_numpy(theta.copy()), trainer=self.config.trainer)
        return Density(self.schema, self.preprocessing, flow)

    def map_arrays(self) -> dict[str, NDArray[np.float64]]:
        """Returns the marginal map's arrays; zeros of the same shapes until it is fitted."""
        if self.preprocessing is not None:
            return self.preprocessing.to_arrays()
        shape = self.schema.n_features, self.config.preprocess.knots
        return {name: np.zeros(shape) for name in ("v", "z", "slope")}

    def state(self) -> Arrays:
        """Returns everything a restart needs."""
        arrays: Arrays = {f"trainer.{k}": a for k, a in self._trainer.state().items()}
        arrays |= {f"buffer.{k}": a for k, a in self._buffer.state().items()}
        arrays["held"] = self._held[: self._n_held].copy()
        arrays["n_taken"] = np.array(self.n_taken, dtype=np.int64)
        if self.preprocessing is not None:
            arrays |= {f"map.{k}": a for k, a in self.preprocessing.to_arrays().items()}
        return arrays

    def load(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Takes up what `state` of a learner of the same configuration returned.

        Raises:
            KeyError, ValueError, RuntimeError, CheckpointError: it is of another configuration.
        """
        self._trainer.load(below("trainer.", arrays))
        self._buffer.load(below("buffer.", arrays))
        held = arrays["held"]
        self._held[: len(held)] = held
        self._n_held = len(held)
        self.n_taken = int(arrays["n_taken"])
        preprocessing: dict[str, Any] = below("map.", arrays)
        if preprocessing:
            self._take_up(Preprocessing.from_arrays(self.schema, preprocessing))
            self._forget_held()

    def _new_trainer(self) -> Trainer | GraphedTrainer | ReplicaTrainer:
        name, replicas = self.model.name, self.model.replicas
        thetas = initial_thetas(self.spec, self.config.trainer.seed, model=name, replicas=replicas)
        if replicas:
            return make_replica_trainer(self.config, self.spec, thetas)
        flow = flow_over(self.spec, thetas[0], trainer=self.config.trainer)
        return make_trainer(self.config, flow)

    def _rows(self, x: Events, indices: NDArray[np.int64]) -> Events:
        """The events as they are held and buffered: their features, and their index if needed."""
        if self._bootstrap is None:
            return x
        return np.concatenate([x, index_columns(indices)], axis=1)

    def _fit(self) -> None:
        """Fits the marginal map on the events held, then trains on them."""
        held = self._held[: self._n_held]
        x = held[:, : self.schema.n_features]
        self._take_up(Preprocessing.fit(self.schema, x, knots=self.config.preprocess.knots))
        self._train(held)
        self._forget_held()

    def _take_up(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        if self._device is not None:
            self._to_device = device_map(preprocessing, self._device)

    def _forget_held(self) -> None:
        self._held = self._held[:0].copy()
        self._n_held = 0

    def _train(self, rows: Events) -> None:
        if self.preprocessing is None:
            raise RuntimeError("expected a fitted marginal map before training")
        if self._to_device is not None and isinstance(self._buffer, DeviceWindow):
            for on_device in self._buffer.feed(self._to_device(rows)):
                self._step(on_device)
            return
        d = self.schema.n_features
        z = self.preprocessing.forward(rows[:, :d])[0].astype(np.float32)
        if self._bootstrap is not None:
            z = np.concatenate([z, rows[:, d:]], axis=1)
        for mini_batch in self._buffer.feed(z):
            self._step(mini_batch)

    def _step(self, rows: Events) -> None:
        if not isinstance(self._trainer, ReplicaTrainer):
            self._trainer.step(rows)
            return
        weight = np.ones((1 + self.model.replicas, len(rows)), dtype=np.float32)
        if self._bootstrap is not None:
            d = self.schema.n_features
            weight[1:] = self._bootstrap.weights(indices_of(rows[:, d:]))
            rows = np.ascontiguousarray(rows[:, :d])
        self._trainer.step(rows, weight)


def below(prefix: str, arrays: Mapping[str, NDArray[np.generic]]) -> Arrays:
    """Returns the arrays whose names start with a prefix, without it."""
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
