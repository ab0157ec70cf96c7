"""zuko's flows, with our orders and masks, and their parameters as our θ."""

from typing import Any

import torch
import zuko
from torch import Tensor
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform

from onlineflows.bench.cases import Case
from onlineflows.bench.local import TorchPeer
from onlineflows.flows.base import Gradient
from onlineflows.flows.spec import BlockSpec


def make_peer(case: Case) -> TorchPeer:
    """Returns zuko's flow of an architecture."""
    flow = zuko_flow(case)

    def sample(n: int, context: Tensor | None) -> Tensor:
        drawn: Tensor = flow(context).sample((n,) if context is None else ())
        return drawn

    return TorchPeer(flow, lambda x, context: flow(context).log_prob(x), sample)


def zuko_flow(case: Case) -> Any:
    """Returns a new zuko flow whose masks are those of the case's specification."""
    d, config = case.n_features, case.config
    options = {"context": case.n_context, "hidden_features": (config.hidden, config.hidden)}
    options |= _univariate(case)
    transforms: list[Any] = []
    for number in range(config.blocks):
        if config.family == "autoregressive":
            ranks = torch.tensor(case.order(number)).argsort()
            transforms.append(MaskedAutoregressiveTransform(d, order=ranks, **options))
        else:
            mask = torch.zeros(d, dtype=torch.bool)
            mask[list(case.kept(number))] = True
            transforms.append(GeneralCouplingTransform(d, mask=mask, **options))
    base = zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal, torch.zeros(d), torch.ones(d), buffer=True
    )
    return zuko.flows.Flow(transforms, base)


def _univariate(case: Case) -> dict[str, Any]:
    """The transform in zuko's words."""
    if case.config.transform == "affine":
        return {"univariate": MonotonicAffineTransform, "shapes": [(), ()]}
    bins = case.config.bins
    return {"univariate": MonotonicRQSTransform, "shapes": [(bins,), (bins,), (bins - 1,)]}


class ZukoGradient:
    """An autoregressive zuko flow over our θ: zuko's forward and backward pass, our vector.

    Args:
        case: the architecture, autoregressive.

    Attributes:
        theta: the live weights, shape (n_parameters,); assign into it.
    """

    def __init__(self, case: Case) -> None:
        self.flow = zuko_flow(case)
        self._parameters = list(self.flow.parameters())
        self._index = theta_index(case, self.flow)
        self._flat = torch.cat([p.detach().flatten() for p in self._parameters])
        offset = 0
        for parameter in self._parameters:
            n = parameter.numel()
            parameter.data = self._flat[offset : offset + n].view(parameter.shape)
            offset += n
        self.theta = self._flat[self._index]

    def gradient(self, x: Tensor) -> Gradient:
        """Returns the NLL of each event and the gradient of its mean."""
        with torch.no_grad():
            self._flat[self._index] = self.theta
        for parameter in self._parameters:
            parameter.grad = None
        nll: Tensor = -self.flow().log_prob(x)
        torch.autograd.backward(nll.mean())
        gradients = [p.grad.flatten() for p in self._parameters if p.grad is not None]
        return Gradient(nll=nll.detach(), theta=torch.cat(gradients)[self._index])


def theta_index(case: Case, flow: Any) -> Tensor:
    """Returns where each entry of θ stands among all of an autoregressive zuko flow's parameters.

    zuko numbers hidden units cyclically by what they see and θ sorts them; zuko keeps features in
    their natural order and θ in the block's.
    """
    index: list[Tensor] = []
    offset = 0
    for block, transform in zip(case.spec().blocks, flow.transform.transforms, strict=True):
        linears = [layer for layer in transform.hyper if hasattr(layer, "weight")]
        positions: list[Tensor] = []
        for parameter in (p for layer in linears for p in (layer.weight, layer.bias)):
            n = parameter.numel()
            positions.append(torch.arange(offset, offset + n).view(parameter.shape))
            offset += n
        first, second = (layer.mask.sum(1).argsort(stable=True).tolist() for layer in linears[:2])
        index += _pack(block, positions, first, second)
    return torch.cat(index)


def _pack(
    block: BlockSpec, positions: list[Tensor], first: list[int], second: list[int]
) -> list[Tensor]:
    """A block's part of θ from six arrays: weight and bias of each of zuko's layers."""
    w1, b1, w2, b2, w3, b3 = positions
    parts = [w1[u, list(block.inputs[:n])] for u, n in zip(first, block.fan_in_1, strict=True)]
    parts.append(b1[first])
    parts += [w2[u, first[:n]] for u, n in zip(second, block.fan_in_2, strict=True)]
    parts.append(b2[second])
    p = len(b3) // len(block.targets)
    for target, n in zip(block.targets, block.fan_in_out, strict=True):
        parts += [w3[target * p + row, second[:n]] for row in range(p)]
    return [*parts, b3.view(-1, p)[list(block.targets)].flatten()]
