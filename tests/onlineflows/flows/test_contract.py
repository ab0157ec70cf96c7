"""What every flow promises, whatever its family, transform and implementation."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from onlineflows.errors import ConfigError
from onlineflows.flows import FlowSpec, TorchFlow, build_spec, initial_theta
from onlineflows.settings import FlowConfig

FAMILIES = [
    pytest.param(
        FlowConfig(family, transform, blocks=2, hidden=8, bins=4), id=f"{family}-{transform}"
    )
    for family in ("autoregressive", "coupling")
    for transform in ("spline", "affine")
]
every_family = pytest.mark.parametrize("config", FAMILIES)
with_and_without_context = pytest.mark.parametrize("n_context", [0, 2])


def random_theta(spec: FlowSpec, *, seed: int = 1, scale: float = 0.4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(spec.n_parameters, generator=generator, dtype=torch.float64)


def events(n: int, d: int, *, scale: float = 2.0, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, d, generator=generator, dtype=torch.float64)


def context_of(n: int, n_context: int) -> Tensor | None:
    return events(n, n_context, scale=1.0, seed=3) if n_context else None


def close(a: Tensor, b: Tensor, *, tolerance: float = 1e-11) -> None:
    """Asserts equality relative to the largest entry."""
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max()))


@every_family
@with_and_without_context
@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_inverse_undoes_forward(implementation, config, n_context, d):
    spec = build_spec(config, d, n_context)
    flow = implementation(spec, random_theta(spec, scale=0.2))
    x, context = events(200, d), context_of(200, n_context)
    z, _ = flow.forward(x, context)
    close(flow.inverse(z, context), x, tolerance=1e-9)


def jacobians(flow: TorchFlow, x: Tensor, context: Tensor | None) -> Tensor:
    """The Jacobian of each event by autograd, shape (n, d, d)."""
    # Events are independent: the Jacobian of the sum over events holds one matrix per event.
    jacobian = torch.autograd.functional.jacobian(lambda v: flow.forward(v, context)[0].sum(0), x)
    return jacobian.transpose(0, 1)


@every_family
@with_and_without_context
def test_the_log_slopes_add_up_to_the_log_determinant(implementation, config, n_context):
    spec = build_spec(config, 4, n_context)
    theta = random_theta(spec)
    x, context = events(20, 4), context_of(20, n_context)
    _, log_abs_det = implementation(spec, theta).forward(x, context)
    truth = torch.linalg.slogdet(jacobians(TorchFlow(spec, theta), x, context))[1]
    close(log_abs_det.sum(1), truth, tolerance=1e-10)


@every_family
@with_and_without_context
def test_the_first_log_slope_is_that_of_the_resonant_feature(implementation, config, n_context):
    spec = build_spec(config, 4, n_context)
    theta = random_theta(spec)
    x, context = events(20, 4), context_of(20, n_context)
    _, log_abs_det = implementation(spec, theta).forward(x, context)
    truth = jacobians(TorchFlow(spec, theta), x, context)[:, 0, 0].log()
    close(log_abs_det[:, 0], truth, tolerance=1e-10)


@every_family
def test_the_density_of_one_feature_integrates_to_one(implementation, config):
    spec = build_spec(config, 1)
    flow = implementation(spec, random_theta(spec))
    grid = torch.linspace(-100, 100, 40_001, dtype=torch.float64)
    density = flow.log_prob(grid[:, None]).exp()
    assert float(torch.trapezoid(density, grid)) == pytest.approx(1, abs=1e-5)


@every_family
def test_the_density_of_two_features_integrates_to_one(implementation, config):
    spec = build_spec(config, 2)
    flow = implementation(spec, random_theta(spec, scale=0.3))
    grid = torch.linspace(-9, 9, 241, dtype=torch.float64)
    density = flow.log_prob(torch.cartesian_prod(grid, grid)).exp().view(241, 241)
    total = torch.trapezoid(torch.trapezoid(density, grid), grid)
    assert float(total) == pytest.approx(1, abs=2e-3)


@every_family
@with_and_without_context
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_that_of_autograd(implementation, config, n_context, weighted):
    spec = build_spec(config, 4, n_context)
    theta = random_theta(spec).requires_grad_()
    x, context = events(100, 4), context_of(100, n_context)
    weight = events(100, 1, seed=5)[:, 0].abs() if weighted else None
    nll = -TorchFlow(spec, theta).log_prob(x, context)
    loss = (nll if weight is None else weight * nll).sum() / 100
    (truth,) = torch.autograd.grad(loss, theta)
    gradient = implementation(spec, theta.detach()).gradient(x, context, weight=weight)
    close(gradient.theta, truth)
    close(gradient.nll, nll.detach())


@every_family
@with_and_without_context
def test_the_gradient_reaches_every_entry_of_theta(implementation, config, n_context):
    spec = build_spec(config, 3, n_context)
    reached = torch.zeros(spec.n_parameters, dtype=torch.bool)
    # A unit may be dead for all events at one θ, but not at forty.
    for seed in range(40):
        flow = implementation(spec, random_theta(spec, seed=seed))
        reached |= flow.gradient(events(100, 3), context_of(100, n_context)).theta != 0
    assert bool(reached.all())


@every_family
@with_and_without_context
def test_the_resonant_feature_does_not_depend_on_the_others(implementation, config, n_context):
    spec = build_spec(config, 4, n_context)
    flow = implementation(spec, random_theta(spec))
    x, context = events(50, 4), context_of(50, n_context)
    other = events(50, 4, seed=9)
    other[:, 0] = x[:, 0]
    log_p, log_q = (flow.log_prob_by_feature(e, context)[:, 0] for e in (x, other))
    assert torch.equal(log_p, log_q)


@every_family
def test_the_columns_of_the_log_density_add_up(implementation, config):
    spec = build_spec(config, 3)
    flow = implementation(spec, random_theta(spec))
    x = events(50, 3)
    z, log_abs_det = flow.forward(x)
    normal = torch.distributions.Normal(0.0, 1.0)
    close(flow.log_prob(x), (normal.log_prob(z) + log_abs_det).sum(1))


@every_family
@with_and_without_context
def test_a_new_flow_is_the_identity(implementation, config, n_context):
    spec = build_spec(config, 3, n_context)
    theta = initial_theta(spec, torch.Generator().manual_seed(1), dtype=torch.float64)
    x, context = events(50, 3), context_of(50, n_context)
    z, log_abs_det = implementation(spec, theta).forward(x, context)
    close(z, x, tolerance=1e-14)
    close(log_abs_det, torch.zeros_like(x), tolerance=1e-13)


@every_family
def test_samples_follow_the_density(implementation, config):
    # E_x~p[log p] estimated from samples and by quadrature; 20,000 samples, 5 standard errors.
    spec = build_spec(config, 1)
    flow = implementation(spec, random_theta(spec))
    log_p = flow.log_prob(flow.sample(20_000, generator=torch.Generator().manual_seed(4)))
    grid = torch.linspace(-100, 100, 40_001, dtype=torch.float64)
    on_grid = flow.log_prob(grid[:, None])
    truth = torch.trapezoid(on_grid.exp() * on_grid, grid)
    error = float(log_p.std()) / math.sqrt(20_000)
    assert abs(float(log_p.mean() - truth)) < 5 * error


@every_family
def test_samples_of_one_seed_are_the_same(implementation, config):
    spec = build_spec(config, 3)
    flow = implementation(spec, random_theta(spec))
    one, two = (flow.sample(10, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one, two)


@every_family
def test_float32_agrees_with_float64(implementation, config):
    spec = build_spec(config, 4)
    theta = random_theta(spec, scale=0.2)
    x = events(500, 4)
    single, double = implementation(spec, theta.float()), implementation(spec, theta)
    assert single.gradient(x.float()).theta.dtype == torch.float32
    close(single.log_prob(x.float()).double(), double.log_prob(x), tolerance=2e-5)
    close(single.gradient(x.float()).theta.double(), double.gradient(x).theta, tolerance=1e-4)
    close(single.inverse(x.float()).double(), double.inverse(x), tolerance=1e-4)


@every_family
def test_a_change_of_theta_in_place_is_seen(implementation, config):
    spec = build_spec(config, 3)
    theta = torch.zeros(spec.n_parameters, dtype=torch.float64)
    flow = implementation(spec, theta)
    x = events(20, 3)
    flow.log_prob(x)
    flow.theta.copy_(random_theta(spec))
    close(flow.log_prob(x), implementation(spec, random_theta(spec)).log_prob(x), tolerance=0)


@every_family
def test_a_flow_over_saved_theta_is_the_same_flow(implementation, config, tmp_path):
    spec = build_spec(config, 3)
    theta = random_theta(spec)
    np.save(tmp_path / "theta.npy", theta.numpy())
    again = torch.from_numpy(np.load(tmp_path / "theta.npy"))
    x = events(20, 3)
    assert torch.equal(
        implementation(spec, again).log_prob(x), implementation(spec, theta).log_prob(x)
    )


@every_family
def test_a_weight_of_zero_is_an_event_left_out(implementation, config):
    spec = build_spec(config, 3)
    flow = implementation(spec, random_theta(spec))
    x = events(40, 3)
    weight = torch.ones(40, dtype=torch.float64)
    weight[10:] = 0
    close(flow.gradient(x, weight=weight).theta * 4, flow.gradient(x[:10]).theta)


@every_family
@pytest.mark.parametrize("n", [1, 3, 511, 513])
def test_events_do_not_see_each_other(implementation, config, n):
    spec = build_spec(config, 3)
    flow = implementation(spec, random_theta(spec))
    x = events(600, 3)
    close(flow.log_prob(x[:n]), flow.log_prob(x)[:n], tolerance=1e-13)


@every_family
def test_no_events_give_empty_results(implementation, config):
    spec = build_spec(config, 3)
    flow = implementation(spec, random_theta(spec))
    nothing = torch.empty(0, 3, dtype=torch.float64)
    assert flow.log_prob(nothing).shape == (0,)
    assert flow.inverse(nothing).shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [-1e6, -5.0, -4.9999995, 0.0, 4.9999995, 5.0, 1e6])
def test_edges_and_outliers_give_finite_gradients(implementation, dtype, value):
    spec = build_spec(FlowConfig(blocks=2, hidden=8, bins=4), 2)
    flow = implementation(spec, random_theta(spec).to(dtype))
    gradient = flow.gradient(torch.full((4, 2), value, dtype=dtype))
    assert bool(torch.isfinite(gradient.theta).all())
    assert bool(torch.isfinite(gradient.nll).all())


def test_far_outside_the_bound_a_spline_flow_is_the_identity(implementation):
    spec = build_spec(FlowConfig(blocks=2, hidden=8, bins=4), 3)
    flow = implementation(spec, random_theta(spec))
    x = torch.tensor([[7.0, -8.0, 9.0]], dtype=torch.float64)
    z, log_abs_det = flow.forward(x)
    assert torch.equal(z, x)
    assert torch.equal(log_abs_det, torch.zeros_like(x))


@pytest.mark.parametrize(
    ("d", "n_context"), [(2, 1), (4, 1), (3, 0), (3, 2)], ids=["few", "many", "none", "two"]
)
def test_events_of_another_shape_are_refused(implementation, d, n_context):
    spec = build_spec(FlowConfig(blocks=1, hidden=4, bins=2), 3, 1)
    flow = implementation(spec, random_theta(spec))
    with pytest.raises(ConfigError, match="expected events of shape"):
        flow.log_prob(events(5, d), context_of(5, n_context))


def test_a_theta_of_another_length_is_refused(implementation):
    spec = build_spec(FlowConfig(blocks=1, hidden=4, bins=2), 3)
    with pytest.raises(ConfigError, match="vector of"):
        implementation(spec, torch.zeros(spec.n_parameters + 1))
