"""Snapshots: fixed size, atomic, checked before use."""

import dataclasses
import os

import numpy as np
import pytest
import torch

from onlineflows.density import Density
from onlineflows.errors import ConfigError, SnapshotError
from onlineflows.flows import flow_over
from onlineflows.flows.spec import build_spec
from onlineflows.online import durable
from onlineflows.online.learned import MODEL_FILE, LearnedModel
from onlineflows.online.manifest import MANIFEST_FILE, ModelEntry
from onlineflows.online.seal import sealed, unsealed
from onlineflows.online.snapshot import (
    LATEST,
    Snapshot,
    find_snapshot,
    read_snapshot,
    snapshot_nbytes,
    write_snapshot,
)
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import FlowConfig
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", 0.0, 1.0)))
FLOW = FlowConfig(blocks=2, hidden=8, bins=4)
NBYTES = 8192


def learned(entry: ModelEntry, seed: int) -> LearnedModel:
    rng = np.random.default_rng(seed)
    shape = 1 + entry.replicas, build_spec(entry.flow, 2).n_parameters
    schema = entry.region.schema_of(SCHEMA, model=entry.name)
    x = rng.uniform(0.3, 0.7, (1000, 2)).astype(np.float32)
    fitted = entry.is_fitted
    arrays = Preprocessing.fit(schema, x, knots=9).to_arrays() if fitted else UNFITTED
    return LearnedModel(rng.normal(0, 0.1, shape).astype(np.float32), arrays)


UNFITTED = {name: np.zeros((2, 9)) for name in ("v", "z", "slope")}


@pytest.fixture(scope="module")
def snapshot(manifest, model_entry):
    """Makes a snapshot of three models, the last of which isn't fitted."""
    joint = model_entry(flow=FLOW)
    window = dataclasses.replace(joint, name="window", inside=(0.3, 0.7), replicas=2, share=(0, 2))
    late = dataclasses.replace(window, name="late", inside=(0.8, None), is_fitted=False)
    models = (joint, window, late)

    def make(n_seen=1000):
        about = manifest(
            schema=SCHEMA.to_dict(),
            models=models,
            n_seen=n_seen,
            n_trained=n_seen,
            n_uses=n_seen,
            history={"stretch_events": 10, "points": [[i, 1.0, 2] for i in range(n_seen // 100)]},
        )
        return Snapshot(about, {entry.name: learned(entry, n_seen) for entry in models})

    return make


@pytest.fixture
def folder(snapshot, tmp_path):
    write_snapshot(tmp_path / "snapshots", snapshot(), manifest_nbytes=NBYTES)
    return tmp_path / "snapshots"


def test_a_run_that_left_no_snapshot_says_where_its_accounts_are(tmp_path) -> None:
    (tmp_path / "ledger.json").touch()
    with pytest.raises(SnapshotError, match=r"a run that left none: .*ledger\.json"):
        find_snapshot(tmp_path)


def test_a_snapshot_survives_the_round_trip(snapshot, folder):
    written, read = snapshot(), read_snapshot(folder)
    assert read.model_names == ("joint", "window", "late")
    for name, model in written.models.items():
        assert np.array_equal(read.models[name].thetas, model.thetas)
    assert read.manifest.history == written.manifest.history
    assert read.schema == SCHEMA


def test_a_snapshot_read_back_gives_the_same_density(snapshot, folder):
    x = np.random.default_rng(3).uniform(0.1, 0.9, (50, 2)).astype(np.float32)
    expected = snapshot().density().log_prob(x)
    assert np.array_equal(read_snapshot(folder).density().log_prob(x), expected)


@pytest.mark.parametrize("replica", [0, 1, 2])
def test_every_replica_has_its_own_density(snapshot, folder, replica):
    x = np.random.default_rng(3).uniform(0.3, 0.7, (50, 2)).astype(np.float32)
    spec, written = build_spec(FLOW, 2), snapshot().models["window"]
    flow = flow_over(spec, torch.from_numpy(written.thetas[replica]))
    schema = read_snapshot(folder).schema_of("window")
    expected = Density(schema, Preprocessing.from_arrays(schema, written.preprocessing), flow)
    density = read_snapshot(folder).density("window", replica)
    assert np.array_equal(density.log_prob(x), expected.log_prob(x))


def test_a_window_is_the_support_of_its_density(folder):
    density = read_snapshot(folder).density("window")
    assert (density.schema.resonant.low, density.schema.resonant.high) == (0.3, 0.7)
    assert density.log_prob(np.array([[0.2, 0.5]]))[0] == -np.inf


def test_the_first_model_is_the_one_that_is_meant_without_a_name(folder):
    assert read_snapshot(folder).density().schema == SCHEMA


def test_replicas_and_central_density_make_the_ensemble(folder):
    read = read_snapshot(folder)
    assert len(read.replicas("window")) == 2
    assert len(read.ensemble("window").densities) == 3
    x = np.array([[0.4, 0.5]])
    each = [np.exp(read.density("window", r).log_prob(x)) for r in range(3)]
    np.testing.assert_allclose(np.exp(read.ensemble("window").log_prob(x)), np.mean(each, axis=0))


@pytest.mark.parametrize(
    ("model", "replica", "message"),
    [
        ("windw", 0, "nearest known: 'window'"),
        ("window", 3, "between 0 and 2; got 3"),
        ("joint", 1, "between 0 and 0; got 1"),
        ("window", -1, "got -1"),
    ],
)
def test_a_model_or_a_replica_that_is_not_there_is_refused(folder, model, replica, message):
    with pytest.raises(ConfigError, match=message):
        read_snapshot(folder).density(model, replica)


def test_a_model_that_has_seen_too_few_events_has_no_density(folder):
    with pytest.raises(SnapshotError, match="'late': expected a fitted marginal map"):
        read_snapshot(folder).density("late")


def test_the_size_does_not_depend_on_what_was_seen(snapshot, folder):
    later = write_snapshot(folder, snapshot(n_seen=9000), manifest_nbytes=NBYTES)
    assert snapshot_nbytes(later) == snapshot_nbytes(folder / "000001")


def test_latest_points_to_the_newest(snapshot, folder):
    write_snapshot(folder, snapshot(n_seen=2000), manifest_nbytes=NBYTES)
    assert read_snapshot(folder / LATEST).manifest.n_seen == 2000


def test_only_the_newest_are_kept(snapshot, folder):
    for n_seen in (2000, 3000, 4000):
        write_snapshot(folder, snapshot(n_seen=n_seen), manifest_nbytes=NBYTES, keep=2)
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["000003", "000004", LATEST]


def test_snapshots_are_counted_beyond_a_million(snapshot, folder):
    # One a second for twelve days.
    (folder / "000001").rename(folder / "999999")
    for n_seen in (2000, 3000):
        write_snapshot(folder, snapshot(n_seen=n_seen), manifest_nbytes=NBYTES, keep=2)
    assert sorted(p.name for p in folder.iterdir()) == ["1000000", "1000001", LATEST]


@pytest.mark.parametrize("below", [".", "snapshots", "snapshots/latest", "snapshots/000001"])
def test_a_run_a_folder_and_a_snapshot_all_lead_to_the_snapshot(folder, below):
    assert find_snapshot(folder.parent / below).name == "000001"


def test_a_folder_without_a_snapshot_is_refused(tmp_path):
    with pytest.raises(SnapshotError, match="expected a snapshot"):
        find_snapshot(tmp_path)


def test_a_full_disk_leaves_the_last_snapshot_usable(snapshot, folder, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(SnapshotError, match="No space left"):
        write_snapshot(folder, snapshot(n_seen=2000), manifest_nbytes=NBYTES)
    monkeypatch.undo()
    assert read_snapshot(folder).manifest.n_seen == 1000
    assert sorted(p.name for p in folder.iterdir()) == ["000001", LATEST]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(snapshot, folder):
    folder.chmod(0o500)
    with pytest.raises(SnapshotError, match=str(folder)):
        write_snapshot(folder, snapshot(), manifest_nbytes=NBYTES)


def test_a_manifest_that_does_not_fit_is_refused(snapshot, folder):
    with pytest.raises(SnapshotError, match=r"raise snapshot\.manifest_nbytes"):
        write_snapshot(folder, snapshot(), manifest_nbytes=100)


@pytest.mark.parametrize("position", [0, 50, -1])
def test_a_flipped_bit_in_the_model_is_refused(folder, position):
    path = folder / "000001" / MODEL_FILE
    content = bytearray(path.read_bytes())
    content[position] ^= 4
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match="damaged"):
        read_snapshot(folder)


def edit(folder, **changes):
    path = folder / "000001" / MANIFEST_FILE
    path.write_bytes(sealed(unsealed(path.read_bytes()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 1}, "expected snapshot format 3; got 1"),
        ({"n_seen": "many"}, "n_seen"),
        ({"schema": {"features": []}}, "expected a model"),
        ({"models": []}, "expected distinct models"),
        ({"sha256": {}}, "expected SHA-256 None"),
    ],
)
def test_an_edited_manifest_is_refused(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(SnapshotError, match=message):
        read_snapshot(folder)


def edit_window(folder, **changes):
    manifest = unsealed((folder / "000001" / MANIFEST_FILE).read_bytes())
    joint, window, late = manifest["models"]
    edit(folder, models=[joint, window | changes, late])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flow": {"blocks": 3}}, "another layout"),
        ({"flow": {"blocks": 0}}, "flow.blocks"),
        ({"replicas": 1}, "expected 'theta' as float32 of shape"),
        ({"knots": 7}, "expected 'map.v' as float64 of shape"),
        ({"name": "joint"}, "expected distinct models"),
        ({"name": "other"}, "got none"),
        ({"inside": [11, 12]}, "support of m"),
        ({"inside": [1]}, "models.1.inside"),
    ],
)
def test_an_edited_model_is_refused(folder, changes, message):
    edit_window(folder, **changes)
    with pytest.raises(SnapshotError, match=message):
        read_snapshot(folder)


def test_arrays_of_no_model_are_refused(folder):
    manifest = unsealed((folder / "000001" / MANIFEST_FILE).read_bytes())
    edit(folder, models=manifest["models"][:2])
    with pytest.raises(SnapshotError, match=r"got also .*late\.theta"):
        read_snapshot(folder)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(snapshot, tmp_path, bad):
    broken = snapshot()
    broken.models["window"].thetas[1, 3] = bad
    write_snapshot(tmp_path, broken, manifest_nbytes=NBYTES)
    with pytest.raises(SnapshotError, match="'window': expected finite numbers in 'theta'"):
        read_snapshot(tmp_path)


def test_a_marginal_map_that_falls_is_refused(snapshot, tmp_path):
    broken = snapshot()
    broken.models["window"].preprocessing["z"][0] *= -1
    write_snapshot(tmp_path, broken, manifest_nbytes=NBYTES)
    with pytest.raises(SnapshotError, match="'window': expected a marginal map that increases"):
        read_snapshot(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null"])
def test_a_manifest_that_is_not_one_is_refused(folder, content):
    (folder / "000001" / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(SnapshotError, match="expected"):
        read_snapshot(folder)
