"""The architecture as plain numbers."""

import pytest

from onlineflows.errors import ConfigError
from onlineflows.flows import build_spec
from onlineflows.settings import FlowConfig

FAMILIES = ["autoregressive", "coupling"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n_context", [0, 2])
def test_prefixes_ascend(family, n_context):
    for block in build_spec(FlowConfig(family, blocks=4), 5, n_context).blocks:
        for fan_in in (block.fan_in_1, block.fan_in_2, block.fan_in_out):
            assert list(fan_in) == sorted(fan_in)


@pytest.mark.parametrize("n_context", [0, 2])
def test_the_resonant_feature_comes_first_in_every_autoregressive_block(n_context):
    for block in build_spec(FlowConfig(blocks=4), 5, n_context).blocks:
        assert block.targets[0] == 0
        assert block.inputs[n_context] == 0


def test_the_other_features_change_places():
    first, second = build_spec(FlowConfig(blocks=2), 4).blocks
    assert (first.targets, second.targets) == ((0, 1, 2, 3), (0, 3, 2, 1))


@pytest.mark.parametrize("d", [2, 3, 6])
def test_coupling_layers_move_every_feature_and_the_resonant_one_once(d):
    spec = build_spec(FlowConfig("coupling", blocks=2), d)
    moved = [target for block in spec.blocks for target in block.targets]
    assert set(moved) == set(range(d))
    assert moved.count(0) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_no_coupling_or_autoregressive_block_sees_a_feature_before_it_is_known(family):
    spec = build_spec(FlowConfig(family, blocks=3, hidden=9), 4, 1)
    for block in spec.blocks:
        for place, target in enumerate(block.targets):
            seen_2 = block.fan_in_out[place]
            seen_1 = max(block.fan_in_2[:seen_2], default=0)
            seen = max(block.fan_in_1[:seen_1], default=0)
            assert not set(block.targets[place:]) & set(block.inputs[:seen]), target


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("transform", ["spline", "affine"])
def test_the_layout_covers_theta_without_gaps(family, transform):
    spec = build_spec(FlowConfig(family, transform, blocks=3), 4, 1)
    end = 0
    for entry in spec.layout():
        assert entry.offset == end
        end += entry.shape[0]
    assert end == spec.n_parameters


@pytest.mark.parametrize(("n_features", "n_context"), [(0, 0), (2, -1)])
def test_impossible_numbers_of_variables_are_refused(n_features, n_context):
    with pytest.raises(ConfigError, match="n_features"):
        build_spec(FlowConfig(), n_features, n_context)
