"""Architectures and their floating-point operations, against counts by hand."""

import pytest
import torch

from onlineflows.bench.cases import CASES, Case, flops_per_event, n_weights
from onlineflows.flows import TorchFlow, initial_theta
from onlineflows.settings import FlowConfig

SMALL = Case("small", FlowConfig(blocks=1, hidden=4, bins=2), n_features=2, n_context=1)
"""Units of both layers see 0, 0, 1, 1 features and the context.

First layer: 1 + 1 + 2 + 2 = 6 weights. Second: two units see 2 units below, two all 4: 12.
Last: the first feature's 5 parameters see 2 units, the second's all 4: 5 x 6 = 30.
"""
COUPLING = Case("small", FlowConfig("coupling", "affine", blocks=2, hidden=4), n_features=3)
"""First layer of networks: 2 + 1 inputs, 1 target: 12 + 16 + 2 x 4 = 36 weights.
Second: 1 + 1 inputs, 2 targets: 8 + 16 + 4 x 4 = 40.
"""


@pytest.mark.parametrize(("case", "by_hand"), [(SMALL, 6 + 12 + 30), (COUPLING, 36 + 40)])
def test_live_weights_are_counted(case: Case, by_hand: int) -> None:
    assert n_weights(case.spec()) == by_hand


@pytest.mark.parametrize(("verb", "flops"), [("train", 6 * 48), ("logprob", 96), ("sample", 96)])
def test_a_weight_costs_two_operations_forward_and_four_backward(verb: str, flops: int) -> None:
    assert flops_per_event(SMALL.spec(), verb) == flops  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_parameters_are_weights_and_biases(case: Case) -> None:
    spec = case.spec()
    n_biases = sum(e.shape[0] for e in spec.layout() if "bias" in e.name)
    assert n_weights(spec) + n_biases == spec.n_parameters


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_case_is_an_invertible_flow(case: Case) -> None:
    generator = torch.Generator().manual_seed(1)
    theta = initial_theta(case.spec(), generator, dtype=torch.float64)
    theta += 0.1 * torch.randn(theta.shape, generator=generator, dtype=torch.float64)
    flow = TorchFlow(case.spec(), theta)
    x, context = case.draw(16)
    torch.testing.assert_close(flow.inverse(flow.forward(x, context)[0], context), x.double())


def test_the_main_case_has_the_operations_that_others_count() -> None:
    # 5 blocks of 2 x 64 units, 8 bins, 5 features, 1 context variable; counted from MADE's masks.
    case = CASES["spline AR"]
    d, h, p = 5, 64, 23
    degrees = [j % d for j in range(h)]
    first = sum(1 + t for t in degrees)
    second = sum(a >= b for a in degrees for b in degrees)
    last = p * sum(t <= i for t in degrees for i in range(d))
    assert flops_per_event(case.spec(), "train") == 6 * 5 * (first + second + last)
