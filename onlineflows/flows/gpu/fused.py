"""The flow whose gradient is one kernel, and the choice of a flow on a GPU."""

import importlib.util
import logging
from typing import Literal

import torch
from torch import Tensor

from onlineflows.errors import ConfigError
from onlineflows.flows.base import Flow, Gradient
from onlineflows.flows.gpu.packing import block_tables, packed_index, packed_shape
from onlineflows.flows.spec import FlowSpec
from onlineflows.flows.torch_flow import TorchFlow

Precision = Literal["ieee", "tf32x3", "tf32"]
"""How matrices are multiplied: float32; as three products of the matrix units, about as exact;
as one, with 10 bits of mantissa. Sums are float32 in all of them."""

TOLERANCE = {"ieee": 1e-4, "tf32x3": 1e-4, "tf32": 1e-2}
"""Relative errors of a gradient, above which the kernel isn't used."""

LARGEST_EDGE = 64
PROGRAMS_PER_PROCESSOR = 2

logger = logging.getLogger(__name__)


class FusedFlow(TorchFlow):
    """A spline flow whose `gradient` keeps all intermediate arrays inside the multiprocessor.

    Everything else is the torch flow's. Needs Triton; on a CPU it only runs in Triton's
    interpreter.

    Args:
        spec: the architecture; see `unsupported`.
        theta: the live weights, float32; kept, not copied.
        precision: of matrix products.
        tile_events: events that one program takes at a time, a power of two of at least 16. A
            warp has 16 of them; with 64 it issues the fewest instructions for each.

    Raises:
        ConfigError: θ or the architecture isn't what the kernel takes.
    """

    def __init__(
        self,
        spec: FlowSpec,
        theta: Tensor,
        *,
        precision: Precision = "tf32x3",
        tile_events: int = 64,
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
        self._precision = precision
        self._tile_events = tile_events
        self._shape = packed_shape(spec)
        self._index = packed_index(spec).to(theta.device)
        self._tables = block_tables(spec).to(theta.device)
        self._packed = torch.zeros(self._shape.size, device=theta.device)
        self._n_processors = _n_processors(theta.device)

    @torch.no_grad()
    def gradient(
        self, x: Tensor, context: Tensor | None = None, *, weight: Tensor | None = None
    ) -> Gradient:
        """Returns the NLL of each event and the gradient of its (weighted) mean.

        Never waits for the device; can be captured in a graph after a first call.
        """
        variables = self._variables(x, context)
        shape, d, n = self._shape, self.spec.n_features, len(x)
        if (shape.blocks + 1) * shape.variables * n >= 2**31:
            raise ConfigError(f"expected fewer events at once; got {n}: call gradient on parts")
        tile = self._tile_events
        n_tiles = -(-n // tile)
        n_programs = max(1, min(n_tiles, PROGRAMS_PER_PROCESSOR * self._n_processors))
        self._packed.index_copy_(0, self._index, self.theta)
        state = variables.new_empty(shape.blocks + 1, shape.variables, n)
        state[0] = variables
        share = variables.new_full((n,), 1 / max(n, 1)) if weight is None else weight / n
        nll = variables.new_empty(n)
        partial = variables.new_zeros(n_programs, shape.size)
        self._kernel[(n_programs,)](
            self._packed,
            self._tables,
            state,
            variables.new_empty(3, d, n),
            share,
            nll,
            partial,
            n,
            self.spec.bins,
            self.spec.bound,
            V=shape.variables,
            D=d,
            T=shape.targets,
            BLOCKS=shape.blocks,
            H=shape.hidden,
            K=shape.bins,
            E=tile,
            PRECISION=self._precision,
            num_warps=tile // 16,
            num_stages=1,
        )
        return Gradient(nll=nll, theta=partial.sum(0).index_select(0, self._index))


def unsupported(spec: FlowSpec) -> str:
    """Returns why the kernel doesn't take a flow; empty if it does."""
    shape = packed_shape(spec)
    if spec.transform != "spline":
        return f"a transform that isn't a spline: {spec.transform}"
    if max(shape.hidden, shape.bins) > LARGEST_EDGE:
        return f"more than {LARGEST_EDGE} hidden units or bins"
    return ""


def device_flow(spec: FlowSpec, theta: Tensor, *, precision: Precision = "tf32x3") -> Flow:
    """Returns the fastest flow over a θ on a GPU that gives the right gradient there.

    The fused kernel is compared with the torch flow once, on the device itself; if it can't run
    or is wrong, the torch flow is used and a warning says so.

    Args:
        spec: the architecture.
        theta: the live weights on the device, float32; kept, not copied.
        precision: of the kernel's matrix products.
    """
    reason = unsupported(spec)
    if not reason and importlib.util.find_spec("triton") is None:
        reason = "Triton isn't installed"
    if reason:
        logger.info("gradients by torch, not by the fused kernel: %s", reason)
        return TorchFlow(spec, theta)
    from onlineflows.flows.gpu.kernels import TritonError

    flow = FusedFlow(spec, theta, precision=precision)
    try:
        error = gradient_error(flow, precision=precision)
    except (RuntimeError, TritonError) as failure:
        logger.warning("gradients by torch: the fused kernel doesn't run here: %r", failure)
        return TorchFlow(spec, theta)
    # Written so that NaN fails.
    if not error < TOLERANCE[precision]:
        logger.warning("gradients by torch: those of the fused kernel are off by %.1e", error)
        return TorchFlow(spec, theta)
    return flow


def gradient_error(
    flow: FusedFlow, *, n_events: int = 256, precision: Precision = "tf32x3"
) -> float:
    """Returns the relative error of the kernel's gradient against torch in float64.

    Args:
        flow: gives architecture and device; its θ stays as it is.
        n_events: events to compare on.
        precision: of the kernel's products.
    """
    spec, device = flow.spec, flow.theta.device
    generator = torch.Generator().manual_seed(1)
    # Away from the identity, where most of the gradient is zero.
    theta = 0.2 * torch.randn(spec.n_parameters, generator=generator)
    x = 1.5 * torch.randn(n_events, spec.n_features, generator=generator).to(device)
    context = torch.randn(n_events, spec.n_context, generator=generator).to(device)
    given = context if spec.n_context else None
    kernel = FusedFlow(spec, theta.to(device), precision=precision).gradient(x, given)
    exact = TorchFlow(spec, theta.to(device, torch.float64)).gradient(x, given)
    return float((kernel.theta - exact.theta).norm() / exact.theta.norm())


def _n_processors(device: torch.device) -> int:
    """Returns the multiprocessors of a GPU; 1 elsewhere."""
    if device.type != "cuda":
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)
