"""New flows and their initial weights."""

import pytest
import torch

from onlineflows.flows import build_spec, flow_over, initial_theta, make_flow
from onlineflows.settings import FlowConfig


def test_a_seed_gives_the_same_flow():
    one, two, other = (
        make_flow(FlowConfig(), 3, generator=torch.Generator().manual_seed(seed)).theta
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_theta_has_the_precision_that_was_asked_for(dtype):
    flow = make_flow(FlowConfig(), 3, generator=torch.Generator(), dtype=dtype)
    assert flow.theta.dtype == dtype


def test_hidden_weights_are_uniform_by_fan_in():
    spec = build_spec(FlowConfig("coupling", blocks=1, hidden=64, bins=2), 5)
    theta = initial_theta(spec, torch.Generator().manual_seed(1))
    entries = {entry.name: entry for entry in spec.layout()}
    entry = entries["block1.weight_2"]
    weights = theta[entry.offset : entry.offset + entry.shape[0]]
    # 4,096 uniform numbers in ±1/8: the largest is within 1 % of the edge almost surely.
    assert 0.99 / 8 < float(weights.abs().max()) <= 1 / 8
    assert float(weights.std()) == pytest.approx(1 / 8 / 3**0.5, rel=0.05)


def test_a_flow_keeps_the_theta_that_it_is_given():
    spec = build_spec(FlowConfig(blocks=1, hidden=4, bins=2), 2)
    theta = torch.zeros(spec.n_parameters)
    assert flow_over(spec, theta).theta.data_ptr() == theta.data_ptr()
