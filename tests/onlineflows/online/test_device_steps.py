"""Steps in kernels against steps in torch's operations: on a GPU, or in Triton's interpreter."""

import importlib.util
import os

import pytest
import torch

from onlineflows.flows import TorchFlow, build_spec, initial_theta
from onlineflows.flows.gpu.fused import FusedFlow
from onlineflows.online.device_optimiser import DeviceScheduleFreeAdamW
from onlineflows.online.device_steps import FusedSteps, Record, TorchSteps, device_steps
from onlineflows.settings import FlowConfig, OptimiserConfig

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None or (DEVICE == "cpu" and not INTERPRETED),
        reason="needs Triton with a GPU, or with TRITON_INTERPRET=1 and a numpy older than 2.4",
    ),
    # The interpreter's own, with a numpy that still allows it.
    pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning"),
]

SPEC = build_spec(FlowConfig(blocks=2, hidden=8, bins=4), 3)


def new(kind, weight_decay: float = 0.0):
    theta = initial_theta(SPEC, torch.Generator().manual_seed(1)).to(DEVICE)
    flow = (
        FusedFlow(SPEC, theta, precision="ieee") if kind is FusedSteps else TorchFlow(SPEC, theta)
    )
    config = OptimiserConfig(warmup_steps=3, weight_decay=weight_decay)
    optimiser = DeviceScheduleFreeAdamW(config, theta)
    record = Record.empty(8, theta.device)
    record.begin(optimiser.plan(8))
    steps = device_steps(flow, optimiser, record)
    assert type(steps) is kind
    steps.begin()
    return steps, optimiser, record


def batches(n: int, size: int = 40) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(size, 3, generator=generator).to(DEVICE) for _ in range(n)]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_fused_steps_are_those_of_torch(weight_decay):
    (ours, optimiser, record), (plain, truth, noted) = (
        new(kind, weight_decay) for kind in (FusedSteps, TorchSteps)
    )
    for batch in [*batches(5), *batches(1, size=7)]:
        ours.run(batch)
        plain.run(batch)
    # Where v is tiny, Adam's direction is a quotient of two roundings: no parameter is there.
    for found, expected in zip(optimiser.vectors(), truth.vectors(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-5)
    torch.testing.assert_close(record.losses, noted.losses, rtol=1e-5, atol=1e-5)
    assert int(record.taken) == int(noted.taken) == 6


def test_a_refused_fused_step_and_all_after_it_leave_every_bit():
    steps, optimiser, record = new(FusedSteps)
    good = batches(4)
    bad = good[1].clone()
    bad[3, 1] = torch.nan
    steps.run(good[0])
    kept = [vector.clone() for vector in optimiser.vectors()]
    steps.run(bad)
    steps.run(good[2])
    assert all(map(torch.equal, optimiser.vectors(), kept))
    assert (int(record.taken), bool(record.refused)) == (1, True)
    assert torch.isnan(record.losses[1])


def test_a_changed_theta_is_taken_up():
    (changed, optimiser, record), (other, _, truth) = new(FusedSteps), new(FusedSteps)
    theta = optimiser.vectors()[0]
    for batch in batches(3):
        other.run(batch)
    theta.copy_(other._optimiser.vectors()[0])
    changed.begin()
    for steps in (changed, other):
        steps.run(batches(4)[3])
    torch.testing.assert_close(record.losses[0], truth.losses[3])
