"""The engine's optimiser steps against the reference."""

import pytest
import torch

from onlineflows.engine import available
from onlineflows.online.optimiser import make_optimiser
from onlineflows.settings import OptimiserConfig

pytestmark = pytest.mark.skipif(not available(), reason="needs the compiled engine")


@pytest.mark.parametrize("kind", ["schedule_free", "adam"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_compiled_steps_are_those_of_the_reference(kind, weight_decay):
    config = OptimiserConfig(kind=kind, warmup_steps=10, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(1)
    theta = torch.randn(1001, generator=generator, dtype=torch.float64)
    thetas = theta.clone(), theta.clone()
    reference = make_optimiser(config, thetas[0])
    compiled = make_optimiser(config, thetas[1], compiled=True)
    for _ in range(50):
        gradient = torch.randn(1001, generator=generator, dtype=torch.float64)
        reference.step(gradient)
        compiled.step(gradient)
    torch.testing.assert_close(thetas[1], thetas[0], rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(compiled.averaged(), reference.averaged(), rtol=1e-11, atol=1e-13)


def test_a_reference_state_goes_on_in_a_compiled_optimiser():
    config, gradient = OptimiserConfig(), torch.ones(17)
    thetas = torch.zeros(17), torch.zeros(17)
    reference = make_optimiser(config, thetas[0])
    reference.step(gradient)
    thetas[1].copy_(thetas[0])
    compiled = make_optimiser(config, thetas[1], compiled=True)
    compiled.load(reference.state())
    reference.step(gradient)
    compiled.step(gradient)
    torch.testing.assert_close(thetas[1], thetas[0])
