"""The optimisers against the packages that define them, and their state."""

import pytest
import schedulefree
import torch
from torch import Tensor

from onlineflows.online.optimiser import INTERPOLATION, is_finite, make_optimiser
from onlineflows.settings import OptimiserConfig

KINDS = ["schedule_free", "adam"]


def gradients(n_steps: int, *, seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-4, 2, 7, dtype=torch.float64)
    return [
        scale * torch.randn(7, generator=generator, dtype=torch.float64) for _ in range(n_steps)
    ]


def start() -> Tensor:
    return torch.linspace(-1, 2, 7, dtype=torch.float64)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("warmup", [0, 5])
def test_schedule_free_adamw_is_the_authors_step_for_step(decay, warmup):
    config = OptimiserConfig(learning_rate=0.02, warmup_steps=warmup, weight_decay=decay)
    theta, parameter = start(), torch.nn.Parameter(start())
    ours = make_optimiser(config, theta)
    theirs = schedulefree.AdamWScheduleFree(
        [parameter],
        lr=0.02,
        betas=(INTERPOLATION, 0.999),
        warmup_steps=warmup,
        weight_decay=decay,
    )
    theirs.train()
    for grad in gradients(40):
        ours.step(grad.clone())
        parameter.grad = grad.clone()
        theirs.step()
        torch.testing.assert_close(theta, parameter.detach(), rtol=1e-12, atol=1e-13)
        theirs.eval()
        torch.testing.assert_close(ours.averaged(), parameter.detach(), rtol=1e-11, atol=1e-12)
        theirs.train()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_is_torch_adamw_step_for_step(decay):
    config = OptimiserConfig("adam", learning_rate=0.02, warmup_steps=0, weight_decay=decay)
    theta, parameter = start(), torch.nn.Parameter(start())
    ours = make_optimiser(config, theta)
    theirs = torch.optim.AdamW([parameter], lr=0.02, weight_decay=decay)
    for grad in gradients(40):
        ours.step(grad)
        parameter.grad = grad.clone()
        theirs.step()
        torch.testing.assert_close(theta, parameter.detach(), rtol=1e-12, atol=1e-13)


def test_the_adam_average_is_over_about_the_last_tenth_of_the_steps():
    # θ that grows by one a step: an average over a window of a tenth lags by about a tenth.
    config = OptimiserConfig("adam", learning_rate=1.0, warmup_steps=0)
    theta = torch.zeros(1, dtype=torch.float64)
    optimiser = make_optimiser(config, theta)
    for _ in range(2000):
        optimiser.step(-torch.ones(1, dtype=torch.float64))
    lag = float(theta - optimiser.averaged()) / 2000
    assert lag == pytest.approx(0.1 / 1.1, rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_average_starts_at_theta(kind):
    optimiser = make_optimiser(OptimiserConfig(kind), start())
    torch.testing.assert_close(optimiser.averaged(), start())


@pytest.mark.parametrize("kind", KINDS)
def test_the_average_is_a_copy(kind):
    theta = start()
    optimiser = make_optimiser(OptimiserConfig(kind), theta)
    optimiser.averaged().zero_()
    torch.testing.assert_close(optimiser.averaged(), start())
    torch.testing.assert_close(theta, start())


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_optimiser_goes_on_bit_by_bit(kind):
    theta = start()
    optimiser = make_optimiser(OptimiserConfig(kind, warmup_steps=20), theta)
    for grad in gradients(15):
        optimiser.step(grad)
    other_theta = theta.clone()
    other = make_optimiser(OptimiserConfig(kind, warmup_steps=20), other_theta)
    other.load(optimiser.state())
    for grad in gradients(15, seed=2):
        optimiser.step(grad)
        other.step(grad)
    assert torch.equal(theta, other_theta)
    assert torch.equal(optimiser.averaged(), other.averaged())


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_does_not_follow_later_steps(kind):
    optimiser = make_optimiser(OptimiserConfig(kind), start())
    optimiser.step(gradients(1)[0])
    state = optimiser.state()
    before = {name: tensor.clone() for name, tensor in state.items()}
    optimiser.step(gradients(1)[0])
    assert all(torch.equal(state[name], before[name]) for name in state)


@pytest.mark.parametrize("kind", KINDS)
def test_theta_is_moved_in_place(kind):
    theta = start()
    make_optimiser(OptimiserConfig(kind), theta).step(torch.ones(7, dtype=torch.float64))
    assert not torch.equal(theta, start())


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_left_alone(kind):
    grad = gradients(1)[0]
    before = grad.clone()
    make_optimiser(OptimiserConfig(kind, weight_decay=0.1), start()).step(grad)
    assert torch.equal(grad, before)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_one_bad_entry_makes_a_gradient_not_finite(bad):
    grad = torch.ones(1000)
    assert is_finite(grad)
    grad[357] = bad
    assert not is_finite(torch.ones(3), grad)
