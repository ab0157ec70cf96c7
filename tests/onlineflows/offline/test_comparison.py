"""Two snapshots by their manifests, maps and densities."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from onlineflows.errors import ConfigError
from onlineflows.flows.spec import build_spec
from onlineflows.offline.comparison import compare_snapshots
from onlineflows.online.learned import LearnedModel
from onlineflows.online.snapshot import Snapshot
from onlineflows.preprocess import Preprocessing
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", -50.0, 50.0)))
OTHER = EventSchema((SCHEMA.features[0], Feature("u", "", -50, 50)))


@pytest.fixture
def snapshot(manifest, model_entry) -> Callable[..., Snapshot]:
    """A snapshot of one model whose flow is random."""

    def make(seed: int = 1, schema: EventSchema = SCHEMA, **changed: object) -> Snapshot:
        entry = model_entry(**changed)
        about = manifest(
            schema=schema.to_dict(), models=(entry,), n_seen=seed, n_trained=seed, n_uses=seed
        )
        rng = np.random.default_rng(seed)
        x = np.column_stack([rng.uniform(0, 10, 1000), rng.normal(0, 1, 1000)]).astype(np.float32)
        theta = rng.normal(0, 0.1, (1, build_spec(entry.flow, 2).n_parameters)).astype(np.float32)
        arrays = Preprocessing.fit(SCHEMA, x, knots=9).to_arrays()
        return Snapshot(about, {entry.name: LearnedModel(theta, arrays)})

    return make


def test_two_snapshots_are_compared_by_their_manifests_maps_and_densities(snapshot) -> None:
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


def test_a_snapshot_is_at_no_distance_from_itself(snapshot) -> None:
    document = compare_snapshots(snapshot(), snapshot(), n=400, seed=1).document()
    assert document["density"]["jeffreys"] == 0.0
    assert {shift["largest"] for shift in document["preprocessing"]} == {0.0}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"schema": OTHER}, "densities of model 'joint': the schemas differ"),
        ({"inside": (2.0, 3.0)}, "densities of model 'joint': the schemas differ"),
        ({"is_fitted": False}, "expected a fitted marginal map"),
        ({"name": "joined"}, "expected a model of the snapshot; got 'joint'"),
    ],
)
def test_snapshots_of_other_events_are_compared_by_their_manifests_alone(
    snapshot, other: dict[str, object], reason: str
) -> None:
    found = compare_snapshots(snapshot(), snapshot(**other), n=400, seed=1)
    assert (found.density, found.preprocessing) == (None, ())
    assert reason in found.why_not


def test_a_model_that_neither_has_is_refused(snapshot) -> None:
    with pytest.raises(ConfigError, match="got 'window'"):
        compare_snapshots(snapshot(), snapshot(), n=400, seed=1, model="window")
