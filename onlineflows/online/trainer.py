"""One gradient step at a time: the only owner of θ while it is learned."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onlineflows.errors import DivergedError
from onlineflows.flows.base import Flow
from onlineflows.online.optimiser import Optimiser, is_finite


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step saw.

    Args:
        nll: mean NLL of the mini-batch before the step, in the flow's coordinates, nats.
        n: events in the mini-batch.
    """

    nll: float
    n: int


class Trainer:
    """Moves θ along the gradient of the mean NLL of mini-batches.

    Args:
        flow: the flow; its θ is the point at which gradients are taken.
        optimiser: moves that θ and knows its average.
    """

    def __init__(self, flow: Flow, optimiser: Optimiser) -> None:
        self._flow = flow
        self._optimiser = optimiser
        self.n_steps = 0

    def step(self, z: NDArray[np.float32]) -> StepReport:
        """Takes one step on a mini-batch.

        Args:
            z: preprocessed events, shape (n, d).

        Raises:
            DivergedError: the loss or its gradient isn't finite; θ is as it was.
        """
        gradient = self._flow.gradient(torch.from_numpy(z))
        nll = float(gradient.nll.mean())
        if not is_finite(gradient.nll, gradient.theta):
            n_bad = int((~torch.isfinite(gradient.nll)).sum())
            raise DivergedError(
                f"step {self.n_steps + 1}: expected a finite loss and gradient; got mean NLL {nll} "
                f"({n_bad} of {len(z)} events not finite); θ is as before the step: lower "
                "optimiser.learning_rate"
            )
        self._optimiser.step(gradient.theta)
        self.n_steps += 1
        return StepReport(nll, len(z))

    def averaged(self) -> Tensor:
        """Returns the averaged θ as a new vector: what is published."""
        return self._optimiser.averaged()

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Returns θ, the optimiser's state and the step count as named arrays."""
        arrays: dict[str, NDArray[np.generic]] = {
            f"optimiser.{name}": tensor.numpy() for name, tensor in self._optimiser.state().items()
        }
        arrays["theta"] = self._flow.theta.numpy().copy()
        arrays["n_steps"] = np.array(self.n_steps, dtype=np.int64)
        return arrays

    def load(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Takes up what `state` returned."""
        self._flow.theta.copy_(torch.from_numpy(state["theta"]))
        self._optimiser.load(
            {
                name.removeprefix("optimiser."): torch.from_numpy(array)
                for name, array in state.items()
                if name.startswith("optimiser.")
            }
        )
        self.n_steps = int(state["n_steps"])
