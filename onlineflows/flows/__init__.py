"""Normalising flows over one vector θ: the densities that the learner fits."""

import torch
from torch import Tensor

from onlineflows.flows.base import Flow, Gradient
from onlineflows.flows.spec import FlowSpec, build_spec
from onlineflows.flows.torch_flow import TorchFlow, initial_theta
from onlineflows.settings import FlowConfig, TrainerConfig

__all__ = [
    "Flow",
    "FlowConfig",
    "FlowSpec",
    "Gradient",
    "TorchFlow",
    "build_spec",
    "flow_over",
    "initial_theta",
    "make_flow",
]


def flow_over(spec: FlowSpec, theta: Tensor, *, trainer: TrainerConfig | None = None) -> Flow:
    """Returns the flow of a specification over an existing θ, by the fastest implementation.

    Args:
        spec: the architecture.
        theta: the live weights; kept, not copied.
        trainer: which implementation, threads and precision; None for the defaults.

    Raises:
        ConfigError: the compiled engine is asked for and isn't there.
    """
    # The engine's classes derive from this package's: importing it earlier would be a circle.
    from onlineflows.engine import EngineFlow, available

    trainer = trainer or TrainerConfig()
    wants_engine = trainer.engine != "torch" and theta.device.type == "cpu"
    if not wants_engine or (trainer.engine == "auto" and not available()):
        return TorchFlow(spec, theta)
    return EngineFlow(
        spec,
        theta,
        threads=trainer.threads,
        precision=trainer.precision if theta.dtype == torch.float32 else "float32",
        deterministic=trainer.deterministic,
    )


def make_flow(
    config: FlowConfig,
    n_features: int,
    n_context: int = 0,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    trainer: TrainerConfig | None = None,
) -> Flow:
    """Returns a new flow that is the identity.

    Args:
        config: family, transform and sizes.
        n_features: features d of an event.
        n_context: variables c that the density is conditional on.
        generator: source of the initial weights, on the CPU.
        dtype: precision of θ.
        trainer: see `flow_over`.

    Example:
        >>> flow = make_flow(FlowConfig(), 5, generator=torch.Generator().manual_seed(1))
        >>> tuple(flow.log_prob(torch.zeros(3, 5)).shape)
        (3,)
    """
    spec = build_spec(config, n_features, n_context)
    return flow_over(spec, initial_theta(spec, generator, dtype=dtype), trainer=trainer)
