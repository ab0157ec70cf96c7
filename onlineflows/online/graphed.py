"""A trainer whose steps run on a GPU as one captured graph, without waiting for them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onlineflows.engine import EngineFlow
from onlineflows.errors import ConfigError, DivergedError
from onlineflows.flows.base import Flow
from onlineflows.flows.gpu.fused import device_flow
from onlineflows.flows.spec import FlowSpec
from onlineflows.flows.torch_flow import TorchFlow
from onlineflows.online.device_optimiser import DeviceScheduleFreeAdamW
from onlineflows.online.device_steps import Record, device_steps
from onlineflows.online.optimiser import make_optimiser
from onlineflows.online.staging import Staging
from onlineflows.online.trainer import Trainer
from onlineflows.settings import LearnerConfig

STEPS_AHEAD = 256
"""Steps between two looks at the device: a refused step is reported at most so many later."""


class Stretch:
    """Steps that were started together: their losses are read from the device together."""

    losses: list[float] | None = None


@dataclass(frozen=True, slots=True)
class DeferredReport:
    """What one step saw, as soon as somebody asks.

    Args:
        n: events in the mini-batch.
    """

    n: int
    _stretch: Stretch
    _place: int
    _settle: Callable[[], None]

    @property
    def nll(self) -> float:
        """Mean NLL of the mini-batch before the step, nats; waits for the device.

        Raises:
            DivergedError: this step or one before it was refused.
        """
        if self._stretch.losses is None:
            self._settle()
        if self._stretch.losses is None:
            raise RuntimeError("expected the losses to be known once the device was read")
        return self._stretch.losses[self._place]


class GraphedTrainer:
    """Does what `Trainer` does, on the device of θ and without waiting for it.

    Gradient, optimiser and the check for finite numbers are one graph of device operations for
    mini-batches of `batch_size` events; others, such as the last of a stream, run through the same
    operations one by one. On a device without graphs all of them do.

    A step whose loss or gradient isn't finite changes nothing, and neither does any step after
    it: the device refuses them by itself. The host looks every `STEPS_AHEAD` steps, and in
    `averaged`, `state` and `settle`, and then raises: what is published or written to a
    checkpoint is always from before the refused step.

    Args:
        flow: the flow; its θ is the point at which gradients are taken.
        optimiser: moves that θ.
        batch_size: events of the captured graph.
    """

    def __init__(self, flow: Flow, optimiser: DeviceScheduleFreeAdamW, *, batch_size: int) -> None:
        device = flow.theta.device
        self._flow = flow
        self._optimiser = optimiser
        self._batch_size = batch_size
        self._events = torch.zeros(batch_size, flow.spec.n_features, device=device)
        self._staging = Staging(self._events)
        self._record = Record.empty(STEPS_AHEAD, device)
        self._steps = device_steps(flow, optimiser, self._record)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._n_settled = 0
        self._n_started = 0
        self._stretch = Stretch()
        self._begin()

    @property
    def n_steps(self) -> int:
        """Steps taken or under way; exact after `settle`."""
        return self._n_settled + self._n_started

    @property
    def device(self) -> torch.device:
        """Where θ is."""
        return self._events.device

    def step(self, z: NDArray[np.float32] | Tensor) -> DeferredReport:
        """Starts one step on a mini-batch.

        Args:
            z: preprocessed events, shape (n, d); copied before the call returns, or on the device.

        Raises:
            DivergedError: a step before it was refused; see the class.
        """
        if self._n_started == STEPS_AHEAD:
            self.settle()
        if len(z) != self._batch_size:
            events = z if isinstance(z, Tensor) else torch.from_numpy(z).to(self.device)
            self._steps.run(events)
        else:
            if isinstance(z, Tensor):
                self._events.copy_(z)
            else:
                self._staging.send(z)
            self.replay()
        report = DeferredReport(len(z), self._stretch, self._n_started, self.settle)
        self._n_started += 1
        return report

    def settle(self) -> None:
        """Waits for all steps.

        Raises:
            DivergedError: the loss or the gradient of a step wasn't finite; θ is as before it.
        """
        n_taken, refused = int(self._record.taken), bool(self._record.refused)
        losses = self._record.losses.tolist()
        self._stretch.losses = losses
        self._optimiser.advance(n_taken)
        self._n_settled += n_taken
        self._n_started = 0
        self._begin()
        if refused:
            raise DivergedError(
                f"step {self._n_settled + 1}: expected a finite loss and gradient; got mean NLL "
                f"{losses[n_taken]}; θ is as before the step: lower optimiser.learning_rate"
            )

    def averaged(self) -> Tensor:
        """Returns the averaged θ as a new vector on the CPU: what is published."""
        self.settle()
        return self._optimiser.averaged().cpu()

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Returns what `Trainer.state` returns: either can load the other's."""
        self.settle()
        arrays: dict[str, NDArray[np.generic]] = {
            f"optimiser.{name}": tensor.cpu().numpy()
            for name, tensor in self._optimiser.state().items()
        }
        # A copy: on the CPU θ itself would be handed out.
        arrays["theta"] = self._flow.theta.detach().cpu().numpy().copy()
        arrays["n_steps"] = np.array(self._n_settled, dtype=np.int64)
        return arrays

    def load(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Takes up what `state` returned; steps under way are dropped."""
        self._flow.theta.copy_(torch.from_numpy(state["theta"]))
        self._optimiser.load(
            {
                name.removeprefix("optimiser."): torch.from_numpy(array)
                for name, array in state.items()
                if name.startswith("optimiser.")
            }
        )
        self._n_settled, self._n_started = int(state["n_steps"]), 0
        self._begin()

    def replay(self) -> None:
        """Starts a step on the events that are on the device already."""
        if self._events.device.type != "cuda":
            self._steps.run(self._events)
            return
        if self._graph is None:
            self._graph = self._capture()
        self._graph.replay()

    def _begin(self) -> None:
        """Begins a stretch of steps: the device gets their coefficients."""
        self._stretch = Stretch()
        self._record.begin(self._optimiser.plan(STEPS_AHEAD))
        self._steps.begin()

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Captures one step. Kernels are built on a first run, which must leave no trace."""
        record = self._record
        changed = (*self._optimiser.vectors(), record.losses, record.taken, record.refused)
        kept = [tensor.clone() for tensor in changed]
        self._steps.run(self._events)
        for tensor, value in zip(changed, kept, strict=True):
            tensor.copy_(value)
        self._steps.begin()
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._steps.run(self._events)
        return graph


def make_trainer(config: LearnerConfig, flow: Flow) -> Trainer | GraphedTrainer:
    """Returns the trainer for the device that a configuration asks for.

    Args:
        config: what is learned, and where.
        flow: a new flow on the CPU; its θ is copied to the device.

    Raises:
        ConfigError: there is no such device, or the optimiser doesn't run on it.
    """
    if config.trainer.device == "cpu":
        compiled = isinstance(flow, EngineFlow)
        return Trainer(flow, make_optimiser(config.optimiser, flow.theta, compiled=compiled))
    if config.optimiser.kind != "schedule_free":
        raise ConfigError(
            f'optimiser.kind: expected "schedule_free" on a GPU; got {config.optimiser.kind!r}'
        )
    on_device = flow_on_device(config, flow.spec, flow.theta)
    # The buffer makes mini-batches of whole numbers of events for each use.
    batch_size = config.trainer.batch_size - config.trainer.batch_size % config.buffer.uses
    optimiser = DeviceScheduleFreeAdamW(config.optimiser, on_device.theta)
    return GraphedTrainer(on_device, optimiser, batch_size=batch_size)


def flow_on_device(config: LearnerConfig, spec: FlowSpec, theta: Tensor) -> Flow:
    """Returns a flow on the GPU that a configuration asks for.

    Args:
        config: what is learned, and where.
        spec: the architecture.
        theta: copied, unless it is there already.

    Raises:
        ConfigError: there is no such device.
    """
    if not torch.cuda.is_available():
        raise ConfigError(
            f"trainer.device: expected a GPU for {config.trainer.device!r}; torch "
            f'{torch.__version__} finds none: install a CUDA build of torch or say "cpu"'
        )
    theta = theta.to(config.trainer.device)
    if config.trainer.engine == "torch":
        return TorchFlow(spec, theta)
    return device_flow(
        spec,
        theta,
        precision="tf32x3" if config.trainer.precision == "float32" else "tf32",
        n_events=config.trainer.batch_size,
    )
