"""One gradient step for several θ over the same mini-batch: a model and its replicas."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onlineflows.engine import EngineFlow
from onlineflows.errors import DivergedError
from onlineflows.flows import Flow, Gradient, flow_over, initial_theta
from onlineflows.flows.spec import FlowSpec
from onlineflows.online.bootstrap import replica_seed
from onlineflows.online.graphed import flow_on_device
from onlineflows.online.optimiser import Optimiser, is_finite, make_optimiser
from onlineflows.online.trainer import StepReport
from onlineflows.settings import LearnerConfig

logger = logging.getLogger(__name__)


class ReplicaTrainer:
    """Does what `Trainer` does, for all rows of a matrix of θ at once.

    The optimiser moves the matrix as one long vector: its rule is elementwise. A step that isn't
    finite for one θ is refused for all.

    Args:
        flows: one for each row, over views of the matrix, all of the same specification.
        optimiser: moves the flattened matrix.
        thetas: the matrix, shape (1 + R, n_parameters); the first row is the central θ.
    """

    def __init__(self, flows: Sequence[Flow], optimiser: Optimiser, thetas: Tensor) -> None:
        self._flows = tuple(flows)
        self._optimiser = optimiser
        self._thetas = thetas
        self.n_steps = 0

    def step(self, z: NDArray[np.float32], weight: NDArray[np.float32]) -> StepReport:
        """Takes one step on a mini-batch.

        Args:
            z: preprocessed events, shape (n, d).
            weight: of the events for each θ, shape (1 + R, n).

        Raises:
            DivergedError: a loss or gradient isn't finite; all θ are as they were.
        """
        gradient = self._gradient(torch.from_numpy(z), torch.from_numpy(weight))
        nll = float(gradient.nll[0].mean())
        if not is_finite(gradient.nll, gradient.theta):
            finite = torch.isfinite(gradient.theta).all(1) & torch.isfinite(gradient.nll).all(1)
            raise DivergedError(
                f"step {self.n_steps + 1}: expected finite losses and gradients; got mean NLL "
                f"{nll}, and {int((~finite).sum())} of {len(finite)} θ with others; all are as "
                "before the step: lower optimiser.learning_rate"
            )
        self._optimiser.step(gradient.theta.view(-1))
        self.n_steps += 1
        return StepReport(nll, len(z))

    def averaged(self) -> Tensor:
        """Returns the averaged θ, one after the other, as a new vector on the CPU."""
        return self._optimiser.averaged().cpu()

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Returns all θ, the optimiser's state and the step count as named arrays."""
        arrays: dict[str, NDArray[np.generic]] = {
            f"optimiser.{name}": tensor.cpu().numpy()
            for name, tensor in self._optimiser.state().items()
        }
        arrays["theta"] = self._thetas.cpu().numpy().copy()
        arrays["n_steps"] = np.array(self.n_steps, dtype=np.int64)
        return arrays

    def load(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Takes up what `state` returned."""
        self._thetas.copy_(torch.from_numpy(state["theta"]))
        self._optimiser.load(
            {
                name.removeprefix("optimiser."): torch.from_numpy(array)
                for name, array in state.items()
                if name.startswith("optimiser.")
            }
        )
        self.n_steps = int(state["n_steps"])

    def _gradient(self, z: Tensor, weight: Tensor) -> Gradient:
        first = self._flows[0]
        if isinstance(first, EngineFlow):
            return first.gradients(self._thetas, z, weight=weight)
        z, weight = z.to(self._thetas), weight.to(self._thetas)
        each = [flow.gradient(z, weight=w) for flow, w in zip(self._flows, weight, strict=True)]
        return Gradient(torch.stack([g.nll for g in each]), torch.stack([g.theta for g in each]))


def initial_thetas(spec: FlowSpec, seed: int, *, model: str, replicas: int) -> Tensor:
    """Returns the first θ of a model and of its replicas, shape (1 + R, n_parameters).

    Args:
        spec: the architecture.
        seed: the run's; the central θ depends on it alone.
        model: the model's name.
        replicas: number R of replicas.
    """
    seeds = [seed, *(replica_seed(seed, model, r) for r in range(1, replicas + 1))]
    return torch.stack(
        [initial_theta(spec, torch.Generator().manual_seed(number)) for number in seeds]
    )


def make_replica_trainer(config: LearnerConfig, spec: FlowSpec, thetas: Tensor) -> ReplicaTrainer:
    """Returns the trainer of several θ for the device that a configuration asks for.

    The compiled engine takes all θ in one call, without the events that weigh nothing; on a GPU
    they take their gradients one after the other, and each step waits for the device.

    Args:
        config: what is learned, and where.
        spec: the architecture.
        thetas: shape (1 + R, n_parameters), on the CPU.

    Raises:
        ConfigError: there is no such device.
    """
    if config.trainer.device == "cpu":
        flows = [flow_over(spec, theta, trainer=config.trainer) for theta in thetas[:1]]
        compiled = isinstance(flows[0], EngineFlow)
        if not compiled:
            flows += [flow_over(spec, theta, trainer=config.trainer) for theta in thetas[1:]]
    else:
        logger.warning("replicas on a GPU: θ after θ, without a graph; see docs/gpu.md")
        thetas, compiled = thetas.to(config.trainer.device), False
        flows = [flow_on_device(config, spec, theta) for theta in thetas]
    optimiser = make_optimiser(config.optimiser, thetas.view(-1), compiled=compiled)
    return ReplicaTrainer(flows, optimiser, thetas)
