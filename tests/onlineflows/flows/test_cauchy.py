"""The flow with Student's t base against autograd, scipy's Cauchy and the normal quantiles."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import cauchy, norm

from onlineflows.flows import build_spec, initial_theta
from onlineflows.flows.cauchy import CauchyFlow, from_normal, to_normal
from onlineflows.flows.torch_flow import TorchFlow
from onlineflows.settings import FlowConfig

FLOW = FlowConfig(transform="affine", blocks=2, hidden=8)


def made(config: FlowConfig = FLOW) -> CauchyFlow:
    spec = build_spec(config, 3)
    generator = torch.Generator().manual_seed(1)
    theta = initial_theta(spec, generator, dtype=torch.float64)
    noise = torch.randn(len(theta), generator=generator, dtype=torch.float64)
    return CauchyFlow(spec, theta + 0.2 * noise)


def events(n: int = 50) -> torch.Tensor:
    return 3 * torch.randn(n, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_an_untouched_flow_is_independent_t_variables() -> None:
    spec = build_spec(FLOW, 3)
    flow = CauchyFlow(spec, torch.zeros(spec.n_parameters, dtype=torch.float64))
    x = events()

    expected = cauchy.logpdf(x.numpy()).sum(1)

    np.testing.assert_allclose(flow.log_prob(x).numpy(), expected)


@pytest.mark.parametrize("config", [FLOW, FlowConfig(blocks=2, hidden=8, bins=4)])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_that_of_autograd(config: FlowConfig, weighted: bool) -> None:
    flow, x = made(config), events()
    weight = torch.rand(len(x), generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    found = flow.gradient(x, weight=weight if weighted else None)

    leaf = flow.theta.clone().requires_grad_()
    nll = -CauchyFlow(flow.spec, leaf).log_prob(x)
    loss = (weight * nll).mean() if weighted else nll.mean()
    (expected,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(found.theta, expected)
    torch.testing.assert_close(found.nll, nll.detach())


def test_latent_coordinates_are_normal_with_their_whole_jacobian() -> None:
    flow, x = made(), events()

    z, log_abs_det = flow.forward(x)

    expected = (norm.logpdf(z.numpy()) + log_abs_det.numpy()).sum(1)
    np.testing.assert_allclose(flow.log_prob(x).numpy(), expected)


def test_the_inverse_undoes_the_forward_map() -> None:
    flow, x = made(), events()

    torch.testing.assert_close(flow.inverse(flow.forward(x)[0]), x)


def test_the_map_of_the_base_joins_the_quantiles() -> None:
    u = torch.tensor([-1e6, -1.0, 0.0, 1.0, 1e6], dtype=torch.float64)
    z = to_normal(u)

    # 1 is the third quartile of the one, 0.6745 of the other; the tail above u is near 1 / (π u).
    assert z[3].item() == pytest.approx(0.6744897501960817)
    assert 0.5 * math.erfc(z[4].item() / math.sqrt(2)) == pytest.approx(1e-6 / math.pi)
    torch.testing.assert_close(from_normal(z), u)


def test_an_outlier_pulls_less_than_under_a_normal_base() -> None:
    flow = made()
    normal = TorchFlow(flow.spec, flow.theta)
    near, far = torch.full((1, 3), 3.0).double(), torch.full((1, 3), 3e3).double()

    grown = [f.gradient(far).theta.norm() / f.gradient(near).theta.norm() for f in (flow, normal)]

    assert grown[0] < 10
    assert grown[1] > 1e4
