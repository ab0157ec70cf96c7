"""Tan's bootstrap likelihood ratio, online: two θ of one stream, one of which drops the anomalies.

Both learn from the same mini-batches in one pass. The first learns all of their events; the second,
the background, those alone that the two believe to be background at a type-I error α. The memory is
one buffer, two θ and their optimisers, however long the stream.
"""

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.density import Density
from onlineflows.errors import ConfigError
from onlineflows.flows import Flow, build_spec, flow_over, initial_theta
from onlineflows.flows.cauchy import CauchyFlow
from onlineflows.online.buffer import make_buffer
from onlineflows.online.optimiser import make_optimiser
from onlineflows.online.trainer import Trainer
from onlineflows.online.type_one import passing
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import LearnerConfig
from streams import EventSchema

Events = NDArray[np.float32]

ROLES = ("data", "background")
"""What the two θ stand for; the names of `MethodInputs.densities`."""


class RatioLearner:
    """Learns p_data and p_background of a stream by the bootstrap likelihood ratio of Tan 2020.

    A mini-batch moves p_data with all its events, and p_background with those of
    λ = p_background / p_data > ε, where ε is found by bisection on the mini-batch (`type_one`). The
    two begin with different weights: with the same, λ would be 1 for ever.

    What is rejected once has a smaller λ the next time, and α of what is left goes with it: left
    alone, the rule eats the background. The paper stops early; here the background moves at a
    smaller rate, and λ is that of the averaged θ, so that the noise of a step rejects nothing.

    Args:
        schema: of the events; Tan leaves the resonant feature out.
        config: flow, buffer, optimiser, batch size, marginal map. Its models aren't used.
        alpha: the type-I error.
        background_rate: learning rate of the background in units of the data's.
        heavy_tails: whether the base is Student's t with one degree of freedom, as in the paper.

    Raises:
        ConfigError: the type-I error isn't between 0 and 1.
    """

    def __init__(
        self,
        schema: EventSchema,
        config: LearnerConfig,
        *,
        alpha: float = 0.1,
        background_rate: float = 0.1,
        heavy_tails: bool = True,
    ) -> None:
        if not 0 < alpha < 1:
            raise ConfigError(f"alpha: expected a type-I error between 0 and 1; got {alpha}")
        self.schema = schema
        self.config = config
        self._alpha = alpha
        self._heavy_tails = heavy_tails
        self.spec = build_spec(config.flow, schema.n_features)
        seed, batch_size = config.trainer.seed, config.trainer.batch_size
        self._flows = tuple(self._new_flow(seed, place) for place in range(len(ROLES)))
        slow = dataclasses.replace(
            config.optimiser, learning_rate=config.optimiser.learning_rate * background_rate
        )
        self._trainers = tuple(
            Trainer(flow, make_optimiser(optimiser, flow.theta))
            for flow, optimiser in zip(self._flows, (config.optimiser, slow), strict=True)
        )
        self._averaged = tuple(self._flow(flow.theta.clone()) for flow in self._flows)
        self._buffer = make_buffer(
            config.buffer, schema.n_features, batch_size=batch_size, seed=seed
        )
        self._held = np.zeros((config.preprocess.fit_events, schema.n_features), dtype=np.float32)
        self._n_held = 0
        self.preprocessing: Preprocessing | None = None
        """Frozen once it is fitted to the first events."""
        self.n_passed = 0
        """Events, repeats included, that moved the background."""

    @property
    def n_uses(self) -> int:
        """Events in all mini-batches, repeats included."""
        return self._buffer.n_uses

    @property
    def n_steps(self) -> int:
        """Mini-batches so far."""
        return self._trainers[0].n_steps

    def take(self, x: Events) -> None:
        """Takes in events, shape (n, d), and trains on what is due.

        Raises:
            DivergedError: a loss or its gradient isn't finite.
        """
        if self.preprocessing is None:
            n = min(len(x), len(self._held) - self._n_held)
            self._held[self._n_held : self._n_held + n] = x[:n]
            self._n_held += n
            if self._n_held < len(self._held):
                return
            self._fit()
            x = x[n:]
        self._train(x)

    def finish(self) -> None:
        """Trains on everything that is still owed; the stream has ended."""
        if self.preprocessing is None and self._n_held:
            self._fit()
        for z in self._buffer.drain():
            self._step(z)

    def densities(self) -> dict[str, Density]:
        """Returns what was learned, by role; nothing until the marginal map is fitted."""
        if self.preprocessing is None:
            return {}
        averaged = (trainer.averaged() for trainer in self._trainers)
        return {
            role: Density(self.schema, self.preprocessing, self._flow(theta))
            for role, theta in zip(ROLES, averaged, strict=True)
        }

    def _new_flow(self, seed: int, place: int) -> Flow:
        generator = torch.Generator().manual_seed(len(ROLES) * seed + place)
        return self._flow(initial_theta(self.spec, generator))

    def _flow(self, theta: torch.Tensor) -> Flow:
        if self._heavy_tails:
            return CauchyFlow(self.spec, theta)
        return flow_over(self.spec, theta, trainer=self.config.trainer)

    def _fit(self) -> None:
        """Fits the marginal map on the events held, then trains on them."""
        held = self._held[: self._n_held]
        self.preprocessing = Preprocessing.fit(
            self.schema, held, knots=self.config.preprocess.knots
        )
        self._train(held)
        self._held = self._held[:0].copy()
        self._n_held = 0

    def _train(self, x: Events) -> None:
        if self.preprocessing is None:
            raise RuntimeError("expected a fitted marginal map before training")
        z = self.preprocessing.forward(x)[0].astype(np.float32)
        for mini_batch in self._buffer.feed(z):
            self._step(mini_batch)

    def _step(self, z: Events) -> None:
        kept = z[passing(self._log_ratio(z), self._alpha)]
        self._trainers[0].step(z)
        self._trainers[1].step(np.ascontiguousarray(kept))
        self.n_passed += len(kept)

    @torch.no_grad()
    def _log_ratio(self, z: Events) -> NDArray[np.float32]:
        """Returns log λ of the averaged θ; the map is the same for both, its Jacobian cancels."""
        for flow, trainer in zip(self._averaged, self._trainers, strict=True):
            flow.theta.copy_(trainer.averaged())
        data, background = (flow.log_prob(torch.from_numpy(z)) for flow in self._averaged)
        log_ratio: NDArray[np.float32] = (background - data).numpy()
        return log_ratio
