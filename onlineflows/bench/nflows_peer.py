"""nflows' flows with the sizes of ours."""

from typing import Any

import torch
from nflows import transforms
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from torch import Tensor, nn

from onlineflows.bench.cases import Case
from onlineflows.bench.local import TorchPeer


class ContextNetwork(nn.Module):
    """A network of two hidden layers: nflows' own for coupling layers are residual.

    Args:
        n_in: features that it sees.
        n_out: parameters that it gives.
        n_context: context variables.
        hidden: units of each hidden layer.
    """

    def __init__(self, n_in: int, n_out: int, *, n_context: int, hidden: int) -> None:
        super().__init__()
        self.hidden_features = hidden
        """nflows divides the logits of a spline's bins by the root of this."""
        self.layers = nn.Sequential(
            nn.Linear(n_in + n_context, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, n_out),
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns the parameters."""
        out: Tensor = self.layers(x if context is None else torch.cat((x, context), -1))
        return out


def make_peer(case: Case) -> TorchPeer:
    """Returns nflows' flow of an architecture."""
    layers = [layer for number in range(case.config.blocks) for layer in _layers(case, number)]
    flow = Flow(transforms.CompositeTransform(layers), StandardNormal([case.n_features]))

    def sample(n: int, context: Tensor | None) -> Tensor:
        drawn: Tensor = flow.sample(n) if context is None else flow.sample(1, context=context)[:, 0]
        return drawn

    return TorchPeer(flow, lambda x, context: flow.log_prob(x, context=context), sample)


def _layers(case: Case, number: int) -> list[Any]:
    d, config = case.n_features, case.config
    is_spline = config.transform == "spline"
    spline = {"num_bins": config.bins, "tails": "linear", "tail_bound": config.bound}
    if config.family == "autoregressive":
        options: dict[str, Any] = {"num_blocks": 1, "use_residual_blocks": False}
        options["context_features"] = case.n_context or None
        kind = transforms.MaskedAffineAutoregressiveTransform
        if is_spline:
            kind = transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform
            options |= spline
        return [transforms.ReversePermutation(d), kind(d, config.hidden, **options)]
    mask = torch.ones(d)
    mask[list(case.kept(number))] = 0

    def network(n_in: int, n_out: int) -> ContextNetwork:
        return ContextNetwork(n_in, n_out, n_context=case.n_context, hidden=config.hidden)

    if is_spline:
        coupling = transforms.PiecewiseRationalQuadraticCouplingTransform
        return [coupling(mask, network, **spline)]
    return [transforms.AffineCouplingTransform(mask, network)]
