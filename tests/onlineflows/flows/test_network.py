"""The dense matrices that θ is spread into."""

import pytest
import torch

from onlineflows.flows import FlowSpec, build_spec
from onlineflows.flows.network import DenseLayout
from onlineflows.settings import FlowConfig

FAMILIES = ["autoregressive", "coupling"]


def layout_of(spec: FlowSpec) -> DenseLayout:
    rows = tuple(range(spec.n_outputs))
    return DenseLayout(spec, n_rows=spec.n_outputs, parameter_rows=rows, device=torch.device("cpu"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n_context", [0, 2])
def test_gathering_undoes_spreading(family, n_context):
    spec = build_spec(FlowConfig(family, blocks=3, hidden=7, bins=3), 4, n_context)
    layout = layout_of(spec)
    theta = torch.arange(1.0, spec.n_parameters + 1)
    assert torch.equal(layout.gather(layout.spread(theta)), theta)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_that_a_mask_forbids_are_zero(family):
    spec = build_spec(FlowConfig(family, blocks=2, hidden=7, bins=3), 4)
    layout = layout_of(spec)
    dense = layout.spread(torch.ones(spec.n_parameters))
    for block, layers in zip(spec.blocks, layout.layers(dense), strict=True):
        assert layers.weight_1.sum(1).tolist() == list(block.fan_in_1)
        assert layers.weight_2.sum(1).tolist() == list(block.fan_in_2)
        assert layers.weight_out.sum() == spec.n_outputs * sum(block.fan_in_out)


def test_first_layer_weights_stand_at_the_variables_that_they_weigh():
    spec = build_spec(FlowConfig(blocks=2, hidden=3, bins=2), 3)
    layout = layout_of(spec)
    theta = torch.arange(1.0, spec.n_parameters + 1)
    second = layout.layers(layout.spread(theta))[1]
    # The second block's order is 0, 2, 1; its units see one, one and two of these.
    offset = spec.layout()[6].offset
    assert second.weight_1.tolist() == [
        [offset + 1, 0, 0],
        [offset + 2, 0, 0],
        [offset + 3, 0, offset + 4],
    ]
