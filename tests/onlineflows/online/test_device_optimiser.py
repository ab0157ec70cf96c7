"""The optimiser whose coefficients are data, against the one whose coefficients are numbers."""

import pytest
import torch

from onlineflows.online.device_optimiser import DeviceScheduleFreeAdamW
from onlineflows.online.optimiser import ScheduleFreeAdamW
from onlineflows.settings import OptimiserConfig

CONFIGS = [OptimiserConfig(warmup_steps=20), OptimiserConfig(warmup_steps=0, weight_decay=0.1)]


def gradients(n: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(50, generator=generator, dtype=torch.float64) for _ in range(n)]


def start() -> torch.Tensor:
    return torch.linspace(-1, 1, 50, dtype=torch.float64)


def steps(optimiser: DeviceScheduleFreeAdamW, grads: list[torch.Tensor]) -> None:
    for grad, row in zip(grads, optimiser.plan(len(grads)), strict=True):
        optimiser.move(grad, row)
    optimiser.advance(len(grads))


@pytest.mark.parametrize("config", CONFIGS)
def test_planned_steps_are_those_of_the_plain_optimiser(config):
    ours, theirs = start(), start()
    device, plain = DeviceScheduleFreeAdamW(config, ours), ScheduleFreeAdamW(config, theirs)
    for grad in gradients(60):
        plain.step(grad)
    steps(device, gradients(60)[:30])
    steps(device, gradients(60)[30:])
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(device.averaged(), plain.averaged(), rtol=1e-12, atol=1e-12)


def test_planning_takes_no_step():
    optimiser = DeviceScheduleFreeAdamW(CONFIGS[0], start())
    assert torch.equal(optimiser.plan(5), optimiser.plan(5))
    assert optimiser.state()["scalars"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("config", CONFIGS)
def test_an_idle_step_leaves_every_bit_as_it_is(config):
    optimiser = DeviceScheduleFreeAdamW(config, start())
    steps(optimiser, gradients(3))
    before = [vector.clone() for vector in optimiser.vectors()]
    optimiser.move(torch.zeros(50, dtype=torch.float64), optimiser.idle)
    assert all(torch.equal(a, b) for a, b in zip(before, optimiser.vectors(), strict=True))


def test_the_plain_optimiser_goes_on_from_the_state_of_the_device():
    theta = start()
    device = DeviceScheduleFreeAdamW(CONFIGS[0], theta)
    steps(device, gradients(10))
    other = theta.clone()
    plain = ScheduleFreeAdamW(CONFIGS[0], other)
    plain.load(device.state())
    steps(device, gradients(11)[10:])
    plain.step(gradients(11)[10])
    torch.testing.assert_close(theta, other, rtol=1e-12, atol=1e-12)
