"""What two manifests say differently."""

import dataclasses

import pytest

from onlineflows.offline.changes import Change, changes_between, differences
from onlineflows.online.manifest import Manifest
from onlineflows.settings import FlowConfig
from streams import LHCO, EventSchema

CONFIG = {"models": [{"name": "joint", "buffer": {"uses": None}}], "flow": {"bins": 8}}


@pytest.fixture
def before(manifest) -> Manifest:
    return manifest(
        run_name="a",
        ledger={"skipped": {"out_of_support": 2}, "lost": 1},
        history={"points": [[10, -1.5, 512]]},
        drift={"n_alarms": 0},
        stream={"epoch": "0123", "seed": 1},
        config=CONFIG,
        gate={"passed": True},
    )


def test_a_manifest_is_like_itself(before) -> None:
    sections = changes_between(before, before).sections()
    assert set(sections.values()) == {()}


@pytest.mark.parametrize(
    ("changed", "section", "expected"),
    [
        ({"run_name": "b"}, "about", Change("run_name", "a", "b")),
        ({"final": True}, "about", Change("final", False, True)),
        (
            {"config": CONFIG | {"flow": {"bins": 10}}},
            "configuration",
            Change("flow.bins", 8, 10),
        ),
        (
            {"config": CONFIG | {"models": [{"name": "joint", "buffer": {"uses": 8}}]}},
            "configuration",
            Change("models.joint.buffer", None, {"uses": 8}),
        ),
        ({"stream": {"epoch": "9876", "seed": 2}}, "stream", Change("seed", 1, 2)),
        ({"n_seen": 30}, "counts", Change("n_seen", 10, 30)),
        (
            {"ledger": {"skipped": {"a": 2, "b": 3}, "lost": 1}},
            "counts",
            Change("n_skipped", 2, 5),
        ),
        ({"drift": {"n_alarms": 3}}, "counts", Change("n_drift_alarms", 0, 3)),
        ({"history": {"points": []}}, "nll", Change("newest", -1.5, None)),
        (
            {"history": {"points": [[10, -1.5, 512], [20, -0.5, 512]]}},
            "nll",
            Change("newest", -1.5, -1.0),
        ),
        ({"gate": {}}, "gate", Change("passed", True, None)),
    ],
)
def test_a_change_is_told_in_its_section_and_nowhere_else(
    before, changed, section, expected
) -> None:
    found = changes_between(before, dataclasses.replace(before, **changed)).sections()
    assert {name: changes for name, changes in found.items() if changes} == {section: (expected,)}


def test_a_setting_of_a_model_is_told_under_the_models(before, model_entry) -> None:
    models = (model_entry(flow=FlowConfig(blocks=1, hidden=8, bins=6)),)
    found = changes_between(before, dataclasses.replace(before, models=models)).sections()
    changed = {name: changes for name, changes in found.items() if changes}
    assert changed == {"models": (Change("joint.flow.bins", 4, 6),)}


def test_a_feature_with_another_support_is_a_change_of_the_schema(before) -> None:
    wider = EventSchema((dataclasses.replace(LHCO.features[0], high=20.0), *LHCO.features[1:]))
    found = changes_between(before, dataclasses.replace(before, schema=wider.to_dict()))
    assert found.schema == (Change("feature 0.high", 14.0, 20.0),)


def test_a_model_that_only_one_has_is_one_change(before, model_entry) -> None:
    models = (model_entry(), model_entry(name="window", inside=(3.1, 3.9)))
    (found,) = changes_between(before, dataclasses.replace(before, models=models)).models
    assert (found.key, found.a, found.b["inside"]) == ("window", None, (3.1, 3.9))


def test_lists_are_compared_as_a_whole() -> None:
    assert differences({"x": [1, 2]}, {"x": [1, 3]}) == (Change("x", [1, 2], [1, 3]),)
