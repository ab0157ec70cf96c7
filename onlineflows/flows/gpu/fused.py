"""The flow whose gradient is one kernel, and the choice of a flow on a GPU."""

import functools
import importlib.util
import logging
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from onlineflows.errors import ConfigError
from onlineflows.flows.base import Flow, Gradient
from onlineflows.flows.gpu.packing import (
    COLUMNS_AT_ONCE,
    SMALLEST_EDGE,
    PackedShape,
    block_tables,
    packed_index,
    packed_shape,
    power_of_two,
)
from onlineflows.flows.spec import FlowSpec
from onlineflows.flows.torch_flow import TorchFlow

Precision = Literal["ieee", "tf32x3", "tf32"]
"""How matrices are multiplied: float32; as three products of the matrix units, about as exact;
as one, with 10 bits of mantissa. Sums are float32 in all of them."""

TOLERANCE = {"ieee": 1e-4, "tf32x3": 1e-4, "tf32": 5e-2}
"""Relative errors of a gradient, above which the kernel isn't used: a few times what was measured
(docs/gpu.md), and far below what the choice of a mini-batch does to it."""

LARGEST_EDGE = 64
PROGRAMS_PER_PROCESSOR = 2
"""As many as its registers hold."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a mini-batch is cut.

    Args:
        events: that a program takes at a time, a power of two of at least 16.
        warps: of a program.
        most_programs: each has gradients of its own, which must be summed; None for as many as
            run at once.
    """

    events: int = 64
    warps: int = 4
    most_programs: int | None = None


def tiling_for(n_events: int, device: torch.device) -> Tiling:
    """Returns the tiling that is fastest for a mini-batch.

    Small tiles need more instructions for each event, but a tile's chain of them is shorter: they
    pay as long as all tiles run at once, those of 16 even with a multiprocessor each.
    """
    n_processors = _n_processors(device)
    at_once = PROGRAMS_PER_PROCESSOR * n_processors
    size = 16 if n_events <= 16 * n_processors else 32 if n_events <= 32 * at_once else 64
    return Tiling(events=size, most_programs=min(at_once, -(-n_events // size)))


@dataclass(frozen=True, slots=True, eq=False)
class Workspace:
    """Memory on the device that launches share; made once, because a graph keeps its addresses.

    Args:
        packed: θ in the kernel's order.
        partial: gradients of each program.
        loss: sum of the NLL of each program's events.
        work: each program's own, in any state.
    """

    packed: Tensor
    partial: Tensor
    loss: Tensor
    work: Tensor


class FusedFlow(TorchFlow):
    """A spline flow whose `gradient` is one kernel.

    Everything else is the torch flow's. Needs Triton; on a CPU it only runs in Triton's
    interpreter.

    Args:
        spec: the architecture; see `unsupported`.
        theta: the live weights, float32; kept, not copied.
        precision: of matrix products.
        tiling: how a mini-batch is cut; None for large ones.

    Raises:
        ConfigError: θ or the architecture isn't what the kernel takes.
    """

    def __init__(
        self,
        spec: FlowSpec,
        theta: Tensor,
        *,
        precision: Precision = "tf32x3",
        tiling: Tiling | None = None,
    ) -> None:
        super().__init__(spec, theta)
        reason = unsupported(spec)
        if reason or theta.dtype != torch.float32:
            raise ConfigError(
                f"expected a flow and float32 that the fused kernel takes; got "
                f"{reason or theta.dtype}: use TorchFlow"
            )
        # Loaded here, because Triton comes with torch's CUDA builds only.
        from onlineflows.flows.gpu.kernels import gradient_kernel

        self._kernel = gradient_kernel
        self.precision = precision
        self.tiling = tiling or Tiling()
        self.shape = packed_shape(spec)
        self.index = packed_index(spec).to(theta.device)
        self._tables = block_tables(spec).to(theta.device)
        at_once = PROGRAMS_PER_PROCESSOR * _n_processors(theta.device)
        self._most_programs = self.tiling.most_programs or at_once

    @functools.cached_property
    def workspace(self) -> Workspace:
        """Memory for launches."""
        n, shape = self._most_programs, self.shape
        size = work_size(shape, self.spec.n_features, self.tiling.events)
        return Workspace(
            packed=self.theta.new_zeros(shape.size),
            partial=self.theta.new_zeros(n, shape.size),
            loss=self.theta.new_zeros(n),
            work=self.theta.new_zeros(n, size),
        )

    @torch.no_grad()
    def gradient(
        self, x: Tensor, context: Tensor | None = None, *, weight: Tensor | None = None
    ) -> Gradient:
        """Returns the NLL of each event and the gradient of its (weighted) mean.

        Never waits for the device; can be captured in a graph after a first call.
        """
        if not len(x):
            return super().gradient(x, context, weight=weight)
        nll = self.theta.new_empty(len(x))
        self.pack()
        n_programs = self.launch(self._joined(x, context).contiguous(), nll, weight=weight)
        partial = self.workspace.partial[:n_programs]
        return Gradient(nll=nll, theta=partial.sum(0).index_select(0, self.index))

    def pack(self) -> None:
        """Brings θ into the kernel's order; due whenever it was changed."""
        self.workspace.packed.index_copy_(0, self.index, self.theta)

    def launch(self, events: Tensor, nll: Tensor, *, weight: Tensor | None = None) -> int:
        """Starts the kernel; returns how many programs it has.

        Each writes its gradients to a row of the workspace's `partial`; the caller sums them.

        Args:
            events: features and context, float32, contiguous, shape (n, d + c).
            nll: written, shape (n,).
            weight: of each event in the mean, shape (n,); 1 if None.
        """
        tiling, space = self.tiling, self.workspace
        n = len(events)
        n_programs = max(1, min(-(-n // tiling.events), self._most_programs))
        self._kernel[(n_programs,)](
            events,
            space.packed,
            self._tables,
            nll if weight is None else weight.to(self.theta),
            nll,
            space.loss,
            space.partial,
            space.work,
            n,
            self.spec.bound,
            **kernel_sizes(self.spec, tiling, self.precision),
            WEIGHTED=weight is not None,
            num_warps=tiling.warps,
            num_stages=1,
        )
        return n_programs


def kernel_sizes(spec: FlowSpec, tiling: Tiling, precision: Precision) -> dict[str, int | str]:
    """Returns the kernel's compile-time arguments."""
    shape = packed_shape(spec)
    return {
        "V": shape.variables,
        # One more for the biases.
        "VP": power_of_two(shape.variables + 1, least=SMALLEST_EDGE),
        "D": spec.n_features,
        "T": shape.targets,
        "TP": power_of_two(shape.targets),
        "BLOCKS": shape.blocks,
        "H": shape.hidden,
        "K": spec.bins,
        "Q": shape.columns,
        "C": COLUMNS_AT_ONCE,
        "E": tiling.events,
        "PRECISION": precision,
        # The first layer sees the events themselves, and costs little.
        "FIRST": "ieee" if precision == "ieee" else "tf32x3",
    }


def work_size(shape: PackedShape, n_features: int, tile: int) -> int:
    """Returns how many numbers a program keeps besides its gradients.

    The values of the variables after each block, three gradients on the features, the gradients on
    a block's rows, and rows and hidden layers of all blocks.
    """
    values = (shape.blocks + 1) * shape.variables + 3 * n_features
    return tile * (values + shape.columns + shape.blocks * (shape.columns + 2 * shape.hidden))


def unsupported(spec: FlowSpec) -> str:
    """Returns why the kernel doesn't take a flow; empty if it does."""
    if spec.transform != "spline":
        return f"a transform that isn't a spline: {spec.transform}"
    if max(packed_shape(spec).hidden, spec.bins) > LARGEST_EDGE:
        return f"more than {LARGEST_EDGE} hidden units or bins"
    return ""


def device_flow(
    spec: FlowSpec, theta: Tensor, *, precision: Precision = "tf32x3", n_events: int = 512
) -> Flow:
    """Returns the fastest flow over a θ on a GPU that gives the right gradient there.

    The fused kernel is compared with the torch flow once, on the device itself; if it can't run
    or is wrong, the torch flow is used and a warning says so.

    Args:
        spec: the architecture.
        theta: the live weights on the device, float32; kept, not copied.
        precision: of the kernel's matrix products.
        n_events: of a mini-batch.
    """
    reason = unsupported(spec)
    if not reason and importlib.util.find_spec("triton") is None:
        reason = "Triton isn't installed"
    if reason:
        logger.info("gradients by torch, not by the fused kernel: %s", reason)
        return TorchFlow(spec, theta)
    from onlineflows.flows.gpu.kernels import TritonError

    flow = FusedFlow(spec, theta, precision=precision, tiling=tiling_for(n_events, theta.device))
    try:
        error = gradient_error(flow)
    except (RuntimeError, TritonError) as failure:
        logger.warning("gradients by torch: the fused kernel doesn't run here: %r", failure)
        return TorchFlow(spec, theta)
    # Written so that NaN fails.
    if not error < TOLERANCE[precision]:
        logger.warning("gradients by torch: those of the fused kernel are off by %.1e", error)
        return TorchFlow(spec, theta)
    return flow


def gradient_error(flow: FusedFlow, *, n_events: int = 1000) -> float:
    """Returns the relative error of a flow's gradient against torch in float64.

    Args:
        flow: gives architecture, tiling, precision and device; its θ stays as it is.
        n_events: events to compare on.
    """
    spec, device = flow.spec, flow.theta.device
    generator = torch.Generator().manual_seed(1)
    # Away from the identity, where most of the gradient is zero.
    theta = 0.2 * torch.randn(spec.n_parameters, generator=generator)
    x = 1.5 * torch.randn(n_events, spec.n_features, generator=generator).to(device)
    context = torch.randn(n_events, spec.n_context, generator=generator).to(device)
    given = context if spec.n_context else None
    same = FusedFlow(spec, theta.to(device), precision=flow.precision, tiling=flow.tiling)
    exact = TorchFlow(spec, theta.to(device, torch.float64)).gradient(x, given)
    return float((same.gradient(x, given).theta - exact.theta).norm() / exact.theta.norm())


def _n_processors(device: torch.device) -> int:
    """Returns the multiprocessors of a GPU; 1 elsewhere."""
    if device.type != "cuda":
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)
