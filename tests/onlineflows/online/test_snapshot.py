"""Snapshots: fixed size, atomic, checked before use."""

import dataclasses
import json
import os

import numpy as np
import pytest

from onlineflows.errors import SnapshotError
from onlineflows.flows.spec import build_spec
from onlineflows.online import durable
from onlineflows.online.snapshot import (
    LATEST,
    MANIFEST_FILE,
    MODEL_FILE,
    Manifest,
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


def snapshot(n_seen: int = 1000, **changes) -> Snapshot:
    rng = np.random.default_rng(n_seen)
    x = rng.uniform(0.1, 0.9, (1000, 2)).astype(np.float32)
    manifest = Manifest(
        run_name="test",
        run=1,
        created_utc="2026-01-01T00:00:00Z",
        code_version="0",
        schema=SCHEMA.to_dict(),
        flow=FLOW,
        n_seen=n_seen,
        n_trained=n_seen,
        n_uses=n_seen,
        n_steps=1,
        train_seconds=0.1,
        final=False,
        tainted=(),
        ledger={},
        history={"stretch_events": 10, "points": [[i, 1.0, 2] for i in range(n_seen // 100)]},
        drift={},
        stream={},
        config={},
    )
    return Snapshot(
        dataclasses.replace(manifest, **changes),
        rng.normal(0, 0.1, build_spec(FLOW, 2).n_parameters).astype(np.float32),
        Preprocessing.fit(SCHEMA, x, knots=9).to_arrays(),
    )


@pytest.fixture
def folder(tmp_path):
    write_snapshot(tmp_path / "snapshots", snapshot(), manifest_nbytes=NBYTES)
    return tmp_path / "snapshots"


def test_a_snapshot_survives_the_round_trip(folder):
    written, read = snapshot(), read_snapshot(folder)
    assert np.array_equal(read.theta, written.theta)
    assert read.manifest.history == written.manifest.history
    assert read.schema == SCHEMA


def test_a_snapshot_read_back_gives_the_same_density(folder):
    x = np.random.default_rng(3).uniform(0.1, 0.9, (50, 2)).astype(np.float32)
    expected = snapshot().density().log_prob(x)
    assert np.array_equal(read_snapshot(folder).density().log_prob(x), expected)


def test_the_size_does_not_depend_on_what_was_seen(folder):
    later = write_snapshot(folder, snapshot(n_seen=9000), manifest_nbytes=NBYTES)
    assert snapshot_nbytes(later) == snapshot_nbytes(folder / "000001")


def test_latest_points_to_the_newest(folder):
    write_snapshot(folder, snapshot(n_seen=2000), manifest_nbytes=NBYTES)
    assert read_snapshot(folder / LATEST).manifest.n_seen == 2000


def test_only_the_newest_are_kept(folder):
    for n_seen in (2000, 3000, 4000):
        write_snapshot(folder, snapshot(n_seen=n_seen), manifest_nbytes=NBYTES, keep=2)
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["000003", "000004", LATEST]


def test_snapshots_are_counted_beyond_a_million(folder):
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


def test_a_full_disk_leaves_the_last_snapshot_usable(folder, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(SnapshotError, match="No space left"):
        write_snapshot(folder, snapshot(n_seen=2000), manifest_nbytes=NBYTES)
    monkeypatch.undo()
    assert read_snapshot(folder).manifest.n_seen == 1000
    assert sorted(p.name for p in folder.iterdir()) == ["000001", LATEST]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(folder):
    folder.chmod(0o500)
    with pytest.raises(SnapshotError, match=str(folder)):
        write_snapshot(folder, snapshot(), manifest_nbytes=NBYTES)


def test_a_manifest_that_does_not_fit_is_refused(folder):
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
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "expected snapshot format 1; got 2"),
        ({"n_seen": "many"}, "n_seen"),
        ({"flow": {"blocks": 3}}, "another layout"),
        ({"schema": {"features": []}}, "expected a model"),
        ({"sha256": {}}, "expected SHA-256 None"),
    ],
)
def test_an_edited_manifest_is_refused(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(SnapshotError, match=message):
        read_snapshot(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null"])
def test_a_manifest_that_is_not_one_is_refused(folder, content):
    (folder / "000001" / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(SnapshotError, match="expected"):
        read_snapshot(folder)
