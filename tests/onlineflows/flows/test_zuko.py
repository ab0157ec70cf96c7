"""Flows against zuko: the same weights give the same densities, gradients and samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
import zuko
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform

from onlineflows.flows import FlowSpec, build_spec
from onlineflows.flows.spec import BlockSpec
from onlineflows.settings import FlowConfig


@dataclass(frozen=True)
class Case:
    """An architecture. Sizes as in FlowConfig; d features, c context variables."""

    family: str
    transform: str
    d: int
    c: int
    blocks: int
    hidden: int
    bins: int
    seed: int

    @property
    def univariate(self) -> dict[str, object]:
        """zuko's words for the transform."""
        if self.transform == "affine":
            return {"univariate": MonotonicAffineTransform, "shapes": [(), ()]}
        shapes = [(self.bins,), (self.bins,), (self.bins - 1,)]
        return {"univariate": MonotonicRQSTransform, "shapes": shapes}

    def order(self, number: int) -> list[int]:
        """The order of the features in one autoregressive block: as `build_spec` has it."""
        others = list(range(1, self.d))
        return [0, *(others if number % 2 == 0 else others[::-1])]


cases = st.builds(
    Case,
    family=st.sampled_from(["autoregressive", "coupling"]),
    transform=st.sampled_from(["spline", "affine"]),
    d=st.integers(2, 5),
    c=st.integers(0, 2),
    blocks=st.integers(1, 3),
    hidden=st.integers(4, 12),
    bins=st.integers(2, 9),
    seed=st.integers(0, 99),
)
few = settings(max_examples=15, deadline=None, derandomize=True)


def zuko_flow(case: Case) -> zuko.flows.Flow:
    """A zuko flow with random weights in float64."""
    torch.manual_seed(case.seed)
    options = {"context": case.c, "hidden_features": (case.hidden, case.hidden), **case.univariate}
    transforms = []
    for number in range(case.blocks):
        if case.family == "autoregressive":
            ranks = torch.tensor(case.order(number)).argsort()
            transforms.append(MaskedAutoregressiveTransform(case.d, order=ranks, **options))
        else:
            mask = (torch.arange(case.d) + number) % 2 == 0
            transforms.append(GeneralCouplingTransform(case.d, mask=mask, **options))
    base = zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal,
        torch.zeros(case.d, dtype=torch.float64),
        torch.ones(case.d, dtype=torch.float64),
        buffer=True,
    )
    flow = zuko.flows.Flow(transforms, base).double()
    # Larger weights than zuko starts with: the maps bend, and some events leave the bound.
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.mul_(1.5)
    return flow


def block_spec(case: Case, transform: nn.Module, number: int) -> BlockSpec:
    """The block that a zuko transform is, its units sorted by what they see."""
    context = tuple(range(case.d, case.d + case.c))
    if case.family == "coupling":
        kept = tuple(torch.nonzero(transform.mask).flatten().tolist())
        moved = tuple(torch.nonzero(~transform.mask).flatten().tolist())
        inputs = (*kept, *context)
        hidden = (case.hidden,) * case.hidden
        return BlockSpec(
            inputs, moved, (len(inputs),) * case.hidden, hidden, (case.hidden,) * len(moved)
        )
    masks = [layer.mask for layer in linears(transform)]
    order = case.order(number)
    per_target = masks[2].view(case.d, -1, case.hidden)[order, 0].sum(1)
    return BlockSpec(
        inputs=(*context, *order),
        targets=tuple(order),
        fan_in_1=tuple(masks[0].sum(1).sort().values.tolist()),
        fan_in_2=tuple(masks[1].sum(1).sort().values.tolist()),
        fan_in_out=tuple(per_target.tolist()),
    )


def linears(transform: nn.Module) -> list[nn.Module]:
    """The three linear layers of a transform's network."""
    return [layer for layer in transform.hyper if hasattr(layer, "weight")]


def packed(
    case: Case, transform: nn.Module, block: BlockSpec, arrays: Sequence[Tensor]
) -> list[Tensor]:
    """A block's part of θ from six arrays: weight and bias of each of zuko's layers."""
    w1, b1, w2, b2, w3, b3 = arrays
    if case.family == "coupling":
        first = second = list(range(case.hidden))
        columns = list(range(len(block.inputs)))
        rows = list(range(len(block.targets)))
    else:
        masks = [layer.mask for layer in linears(transform)]
        first, second = (m.sum(1).argsort(stable=True).tolist() for m in masks[:2])
        columns, rows = list(block.inputs), list(block.targets)
    parts = [w1[u, columns[:n]] for u, n in zip(first, block.fan_in_1, strict=True)]
    parts.append(b1[first])
    parts += [w2[u, first[:n]] for u, n in zip(second, block.fan_in_2, strict=True)]
    parts.append(b2[second])
    per_target = len(b3) // len(rows)
    for row, n in zip(rows, block.fan_in_out, strict=True):
        for parameter in range(per_target):
            parts.append(w3[row * per_target + parameter, second[:n]])
    return [*parts, b3.view(-1, per_target)[rows].flatten()]


def from_zuko(case: Case, flow: zuko.flows.Flow) -> tuple[FlowSpec, Tensor, Tensor | None]:
    """The specification, θ and, after a backward pass, the gradient of a zuko flow."""
    blocks, theta, gradient = [], [], []
    for number, transform in enumerate(flow.transform.transforms):
        block = block_spec(case, transform, number)
        blocks.append(block)
        parameters = [p for layer in linears(transform) for p in (layer.weight, layer.bias)]
        theta += packed(case, transform, block, [p.detach() for p in parameters])
        if parameters[0].grad is not None:
            gradient += packed(case, transform, block, [p.grad for p in parameters])
    spec = FlowSpec(case.d, case.c, case.transform, case.bins, 5.0, tuple(blocks))
    return spec, torch.cat(theta), torch.cat(gradient) if gradient else None


def draw(case: Case, n: int = 64) -> tuple[Tensor, Tensor | None]:
    """Events, some of them outside the bound, and their context."""
    generator = torch.Generator().manual_seed(case.seed)
    numbers = torch.randn(n, case.d + case.c, generator=generator, dtype=torch.float64)
    return 2 * numbers[:, : case.d], numbers[:, case.d :] if case.c else None


def close(a: Tensor, b: Tensor) -> None:
    """Asserts equality to 1e-11 of the largest entry."""
    assert float((a - b).abs().max()) <= 1e-11 * max(1.0, float(b.abs().max()))


@few
@given(case=cases)
def test_log_densities_are_zukos(implementation, case):
    flow = zuko_flow(case)
    spec, theta, _ = from_zuko(case, flow)
    x, context = draw(case)
    close(implementation(spec, theta).log_prob(x, context), flow(context).log_prob(x).detach())


@few
@given(case=cases)
def test_gradients_are_zukos(implementation, case):
    flow = zuko_flow(case)
    x, context = draw(case)
    (-flow(context).log_prob(x).mean()).backward()
    spec, theta, truth = from_zuko(case, flow)
    close(implementation(spec, theta).gradient(x, context).theta, truth)


@few
@given(case=cases)
def test_samples_are_zukos(implementation, case):
    flow = zuko_flow(case)
    spec, theta, _ = from_zuko(case, flow)
    z, context = draw(case)
    with torch.no_grad():
        truth = flow(context).transform.inv(z)
    close(implementation(spec, theta).inverse(z, context), truth)


@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize("transform", ["spline", "affine"])
def test_masks_are_zukos(d, transform):
    case = Case("autoregressive", transform, d=d, c=1, blocks=3, hidden=11, bins=4, seed=1)
    config = FlowConfig("autoregressive", transform, blocks=3, hidden=11, bins=4)
    assert from_zuko(case, zuko_flow(case))[0] == build_spec(config, d, 1)
