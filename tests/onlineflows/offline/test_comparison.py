"""Two snapshots by their manifests, maps and densities."""

import dataclasses
import json

import numpy as np
import pytest

from onlineflows.errors import ConfigError
from onlineflows.flows.spec import build_spec
from onlineflows.offline.comparison import compare_snapshots
from onlineflows.online.learned import LearnedModel
from onlineflows.online.manifest import Manifest, ModelEntry
from onlineflows.online.snapshot import Snapshot
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import FlowConfig
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", -50.0, 50.0)))
FLOW = FlowConfig(blocks=1, hidden=8, bins=4)


def snapshot(seed: int = 1, schema: EventSchema = SCHEMA, **changes: object) -> Snapshot:
    """A snapshot of one model whose flow is random."""
    entry = ModelEntry(
        name="joint",
        inside=None,
        outside=None,
        replicas=0,
        bootstrap=True,
        flow=FLOW,
        knots=9,
        is_fitted=True,
        n_taken=10,
        n_trained=10,
        n_uses=40,
        n_steps=1,
    )
    entry = dataclasses.replace(entry, **changes)  # type: ignore[arg-type]
    manifest = Manifest(
        run_name="test",
        run=1,
        created_utc="2026-01-01T00:00:00Z",
        code_version="0",
        schema=schema.to_dict(),
        models=(entry,),
        n_seen=seed,
        n_trained=seed,
        n_uses=seed,
        n_steps=1,
        train_seconds=0.1,
        final=False,
        tainted=(),
        ledger={},
        history={},
        drift={},
        stream={},
        config={},
    )
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.uniform(0, 10, 1000), rng.normal(0, 1, 1000)]).astype(np.float32)
    theta = rng.normal(0, 0.1, (1, build_spec(FLOW, 2).n_parameters)).astype(np.float32)
    arrays = Preprocessing.fit(SCHEMA, x, knots=9).to_arrays()
    return Snapshot(manifest, {entry.name: LearnedModel(theta, arrays)})


def test_two_snapshots_are_compared_by_their_manifests_maps_and_densities() -> None:
    document = compare_snapshots(snapshot(1), snapshot(2), n=400, seed=1).document()
    assert [change["key"] for change in document["changes"]["counts"]] == [
        "n_seen",
        "n_trained",
        "n_uses",
    ]
    assert [shift["name"] for shift in document["preprocessing"]] == ["m", "t"]
    assert all(shift["largest"] >= shift["rms"] > 0 for shift in document["preprocessing"])
    assert document["density"]["jeffreys"] > 0
    assert document["why_not"] is None
    json.dumps(document, allow_nan=False)


def test_a_snapshot_is_at_no_distance_from_itself() -> None:
    document = compare_snapshots(snapshot(), snapshot(), n=400, seed=1).document()
    assert document["density"]["jeffreys"] == 0.0
    assert {shift["largest"] for shift in document["preprocessing"]} == {0.0}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (
            snapshot(schema=EventSchema((SCHEMA.features[0], Feature("u", "", -50, 50)))),
            "densities of model 'joint': the schemas differ",
        ),
        (snapshot(inside=(2.0, 3.0)), "densities of model 'joint': the schemas differ"),
        (snapshot(is_fitted=False), "expected a fitted marginal map"),
        (snapshot(name="joined"), "expected a model of the snapshot; got 'joint'"),
    ],
)
def test_snapshots_of_other_events_are_compared_by_their_manifests_alone(
    other: Snapshot, reason: str
) -> None:
    found = compare_snapshots(snapshot(), other, n=400, seed=1)
    assert (found.density, found.preprocessing) == (None, ())
    assert reason in found.why_not


def test_a_model_that_neither_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 'window'"):
        compare_snapshots(snapshot(), snapshot(), n=400, seed=1, model="window")
