"""The fused optimiser steps: the same as the ones in torch."""

import pytest
import torch
from torch import Tensor

from onlineflows.engine import Rates, adam_step, schedule_free_step
from onlineflows.errors import ConfigError
from onlineflows.online.optimiser import INTERPOLATION, Adam, ScheduleFreeAdamW
from onlineflows.settings import OptimiserConfig

CONFIG = OptimiserConfig(learning_rate=0.01, warmup_steps=3, weight_decay=0.1)


def start(n: int, dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    """θ and the gradients of seven steps."""
    generator = torch.Generator().manual_seed(1)
    numbers = torch.randn(8, n, generator=generator, dtype=dtype)
    return numbers[0].clone(), list(numbers[1:])


def tolerance(dtype: torch.dtype) -> dict[str, float]:
    return (
        {"rtol": 1e-12, "atol": 1e-14} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-6}
    )


sizes = pytest.mark.parametrize("n", [1, 16, 37, 1000])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@sizes
@dtypes
def test_the_schedule_free_step_is_the_reference_s(isa, n, dtype):
    theta, gradients = start(n, dtype)
    reference = ScheduleFreeAdamW(CONFIG, theta.clone())
    y, z, v = theta.clone(), theta.clone(), torch.zeros_like(theta)
    weight_sum = rate_max = 0.0
    for step, gradient in enumerate(gradients, start=1):
        reference.step(gradient)
        rate = CONFIG.learning_rate * min(1.0, step / CONFIG.warmup_steps)
        rate_max = max(rate_max, rate)
        weight_sum += rate_max**2
        share = rate_max**2 / weight_sum
        rates = Rates(rate, step, beta_1=INTERPOLATION, weight_decay=0.1, share=share)
        schedule_free_step(rates, gradient, y, z, v)
    state = reference.state()
    torch.testing.assert_close(z, state["z"], **tolerance(dtype))
    torch.testing.assert_close(v, state["v"], **tolerance(dtype))
    torch.testing.assert_close(
        torch.lerp(y, z, 1 - 1 / INTERPOLATION), reference.averaged(), **tolerance(dtype)
    )


@sizes
@dtypes
def test_the_adam_step_is_the_reference_s(isa, n, dtype):
    theta, gradients = start(n, dtype)
    moved = theta.clone()
    reference = Adam(CONFIG, moved)
    m, v = torch.zeros_like(theta), torch.zeros_like(theta)
    for step, gradient in enumerate(gradients, start=1):
        reference.step(gradient)
        rate = CONFIG.learning_rate * min(1.0, step / CONFIG.warmup_steps)
        adam_step(Rates(rate, step, weight_decay=0.1), gradient, theta, m, v)
    torch.testing.assert_close(theta, moved, **tolerance(dtype))


def test_vectors_of_different_lengths_are_refused():
    with pytest.raises(ConfigError, match="contiguous vectors of one length"):
        adam_step(Rates(0.1, 1), torch.ones(3), torch.ones(4), torch.ones(3), torch.ones(3))
