"""What two manifests say differently."""

import dataclasses

import pytest

from onlineflows.offline.changes import Change, changes_between, differences
from onlineflows.online.manifest import Manifest, ModelEntry
from onlineflows.settings import FlowConfig
from streams import LHCO, EventSchema

ENTRY = ModelEntry(
    name="joint",
    inside=None,
    outside=None,
    replicas=0,
    bootstrap=True,
    flow=FlowConfig(),
    knots=13,
    is_fitted=True,
    n_taken=10,
    n_trained=10,
    n_uses=40,
    n_steps=1,
)
MANIFEST = Manifest(
    run_name="a",
    run=1,
    created_utc="2026-01-01T00:00:00Z",
    code_version="0",
    schema=LHCO.to_dict(),
    models=(ENTRY,),
    n_seen=10,
    n_trained=10,
    n_uses=40,
    n_steps=1,
    train_seconds=0.5,
    final=False,
    tainted=(),
    ledger={"skipped": {"out_of_support": 2}, "lost": 1},
    history={"points": [[10, -1.5, 512]]},
    drift={"n_alarms": 0},
    stream={"epoch": "0123", "seed": 1},
    config={"models": [{"name": "joint", "buffer": {"uses": None}}], "flow": {"bins": 8}},
    gate={"passed": True},
)


def test_a_manifest_is_like_itself() -> None:
    sections = changes_between(MANIFEST, MANIFEST).sections()
    assert set(sections.values()) == {()}


@pytest.mark.parametrize(
    ("changed", "section", "expected"),
    [
        ({"run_name": "b"}, "about", Change("run_name", "a", "b")),
        ({"final": True}, "about", Change("final", False, True)),
        (
            {"config": MANIFEST.config | {"flow": {"bins": 10}}},
            "configuration",
            Change("flow.bins", 8, 10),
        ),
        (
            {"config": MANIFEST.config | {"models": [{"name": "joint", "buffer": {"uses": 8}}]}},
            "configuration",
            Change("models.joint.buffer", None, {"uses": 8}),
        ),
        ({"stream": {"epoch": "9876", "seed": 2}}, "stream", Change("seed", 1, 2)),
        (
            {"models": (dataclasses.replace(ENTRY, flow=FlowConfig(bins=4)),)},
            "models",
            Change("joint.flow.bins", 8, 4),
        ),
        ({"n_seen": 30}, "counts", Change("n_seen", 10, 30)),
        (
            {"ledger": {"skipped": {"a": 2, "b": 3}, "lost": 1}},
            "counts",
            Change("n_skipped", 2, 5),
        ),
        ({"drift": {"n_alarms": 3}}, "counts", Change("n_drift_alarms", 0, 3)),
        ({"history": {"points": []}}, "nll", Change("newest", -1.5, None)),
        ({"gate": {}}, "gate", Change("passed", True, None)),
    ],
)
def test_a_change_is_told_in_its_section_and_nowhere_else(changed, section, expected) -> None:
    found = changes_between(MANIFEST, dataclasses.replace(MANIFEST, **changed)).sections()
    assert {name: changes for name, changes in found.items() if changes} == {section: (expected,)}


def test_a_feature_with_another_support_is_a_change_of_the_schema() -> None:
    wider = EventSchema((dataclasses.replace(LHCO.features[0], high=20.0), *LHCO.features[1:]))
    found = changes_between(MANIFEST, dataclasses.replace(MANIFEST, schema=wider.to_dict()))
    assert found.schema == (Change("feature 0.high", 14.0, 20.0),)


def test_a_model_that_only_one_has_is_one_change() -> None:
    models = (ENTRY, dataclasses.replace(ENTRY, name="window", inside=(3.1, 3.9)))
    (found,) = changes_between(MANIFEST, dataclasses.replace(MANIFEST, models=models)).models
    assert (found.key, found.a, found.b["inside"]) == ("window", None, (3.1, 3.9))


def test_lists_are_compared_as_a_whole() -> None:
    assert differences({"x": [1, 2]}, {"x": [1, 3]}) == (Change("x", [1, 2], [1, 3]),)
