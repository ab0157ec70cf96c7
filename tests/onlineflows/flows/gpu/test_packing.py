"""θ in the kernel's order: what the kernel would compute, computed by plain products."""

import pytest
import torch

from onlineflows.flows import TorchFlow, build_spec
from onlineflows.flows.gpu.packing import block_tables, packed_index, packed_shape
from onlineflows.settings import FlowConfig

CASES = [
    pytest.param(FlowConfig(), 5, 0, id="default"),
    pytest.param(FlowConfig(hidden=20, bins=7, blocks=2), 3, 2, id="odd sizes, context"),
    pytest.param(FlowConfig(family="coupling", hidden=8, bins=4), 5, 1, id="coupling"),
]
every_case = pytest.mark.parametrize(("config", "d", "c"), CASES)


@every_case
def test_each_parameter_has_a_place_of_its_own(config, d, c):
    spec = build_spec(config, d, c)
    index = packed_index(spec)
    assert len(index.unique()) == spec.n_parameters
    assert 0 <= int(index.min()) <= int(index.max()) < packed_shape(spec).size


@every_case
def test_the_packed_networks_put_out_what_those_of_the_torch_flow_do(config, d, c):
    spec = build_spec(config, d, c)
    shape = packed_shape(spec)
    generator = torch.Generator().manual_seed(1)
    theta = torch.randn(spec.n_parameters, generator=generator, dtype=torch.float64)
    variables = torch.randn(9, d + c, generator=generator, dtype=torch.float64)
    packed = theta.new_zeros(shape.size).index_copy(0, packed_index(spec), theta)
    flow = TorchFlow(spec, theta)
    dense = flow._layout.layers(flow._layout.spread(theta))
    v, h = shape.variables, shape.hidden
    for number, block in enumerate(spec.blocks):
        part = packed[number * shape.block_size :][: shape.block_size]
        hidden = variables @ part[: shape.bias_1].view(v, h) + part[shape.bias_1 :][:h]
        weight_2 = part[shape.weight_2 : shape.bias_2].view(h, h)
        hidden = (hidden.relu() @ weight_2 + part[shape.bias_2 :][:h]).relu()
        weight = part[shape.weight_out : shape.bias_out].view(h, shape.columns)
        rows = hidden @ weight + part[shape.bias_out :]
        layers = dense[number]
        truth = (variables @ layers.weight_1.t() + layers.bias_1).relu()
        truth = (truth @ layers.weight_2.t() + layers.bias_2).relu()
        truth = (truth @ layers.weight_out.t() + layers.bias_out).view(9, len(block.targets), -1)
        for place, target in enumerate(block.targets):
            ours = rows[:, place * spec.n_outputs :][:, : spec.n_outputs]
            # The torch flow's rows have the knots 0 and K, too, which have no parameter.
            theirs = truth[:, sorted(block.targets).index(target)]
            live = [*range(2 * spec.bins), *range(2 * spec.bins + 1, 3 * spec.bins)]
            torch.testing.assert_close(ours, theirs[:, live], rtol=1e-12, atol=1e-12)


def test_the_tables_say_after_which_block_a_variable_had_its_value():
    spec = build_spec(FlowConfig(family="coupling", blocks=2, hidden=4), 3, 1)
    tables = block_tables(spec)
    assert [block.targets for block in spec.blocks] == [(0,), (2,), (1,)]
    assert tables.tolist() == [
        # targets: number, which; versions of three features and the context; who is a target
        [1, 0, 0, 0, 0, 0, 1, 0, 0],
        [1, 2, 1, 0, 0, 0, 0, 0, 1],
        [1, 1, 1, 0, 2, 0, 0, 1, 0],
        [0, -1, 1, 3, 2, 0, 0, 0, 0],
    ]
