"""zuko's parameters as θ: the same numbers come out of both."""

import pytest
import torch

from onlineflows.bench.cases import Case
from onlineflows.flows import TorchFlow, initial_theta
from onlineflows.settings import FlowConfig

pytest.importorskip("zuko")

from onlineflows.bench.zuko_peer import ZukoGradient, make_peer, zuko_flow

CASE = Case("small", FlowConfig(blocks=3, hidden=11, bins=4), n_features=4, n_context=0)
FAMILIES = [
    FlowConfig(f, t, 2, 8, 4) for f in ("autoregressive", "coupling") for t in ("spline", "affine")
]


def test_zuko_at_our_theta_has_our_gradient() -> None:
    generator = torch.Generator().manual_seed(3)
    theta = initial_theta(CASE.spec(), generator)
    theta += 0.1 * torch.randn(theta.shape, generator=generator)
    flow = ZukoGradient(CASE)
    flow.theta.copy_(theta)
    x, _ = CASE.draw(64)
    found, expected = flow.gradient(x), TorchFlow(CASE.spec(), theta).gradient(x)
    torch.testing.assert_close(found.nll, expected.nll, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.theta, expected.theta, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("config", FAMILIES)
@pytest.mark.parametrize("n_context", [0, 1])
def test_zuko_multiplies_by_as_many_live_weights(config: FlowConfig, n_context: int) -> None:
    case = Case("small", config, n_features=3, n_context=n_context)
    live = 0
    for transform in zuko_flow(case).transform.transforms:
        for layer in (part for part in transform.hyper if hasattr(part, "weight")):
            weight = torch.ones_like(layer.weight) * getattr(layer, "mask", 1)
            live += int(weight.sum()) + len(layer.bias)
    assert live == case.spec().n_parameters


@pytest.mark.parametrize("n_context", [0, 1])
def test_a_peer_gives_one_density_and_one_draw_an_event(n_context: int) -> None:
    case = Case("small", FlowConfig(blocks=1, hidden=4, bins=3), 3, n_context)
    peer = make_peer(case)
    x, context = case.draw(7)
    assert peer.log_prob(x, context).shape == (7,)
    assert peer.sample(7, context).shape == (7, 3)
