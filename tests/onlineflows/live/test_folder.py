import json
import os
import shutil
from pathlib import Path

import pytest

from onlineflows.live.folder import Record, RunFolder


def test_a_directory_that_is_not_there_yet_says_nothing(tmp_path: Path) -> None:
    record = RunFolder(tmp_path / "later").look()
    assert record.lanes["train"].snapshots == ()
    assert record.signal_region is None


def test_snapshots_are_listed_oldest_first(tmp_path: Path, snapshot) -> None:
    for name in ("000010", "000002", "latest-is-no-number", "²", "٣"):
        snapshot(tmp_path, name)
    found = RunFolder(tmp_path).look().lanes["train"].snapshots
    assert [entry.name for entry in found] == ["000002", "000010"]
    assert (found[0].n_seen, found[0].nll, found[0].gate["passed"]) == (600, -1.25, True)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"seal":"x"}'])
def test_a_damaged_manifest_is_left_out(tmp_path: Path, snapshot, content: bytes) -> None:
    (snapshot(tmp_path) / "manifest.json").write_bytes(content)
    assert RunFolder(tmp_path).look().lanes["train"].snapshots == ()


@pytest.mark.parametrize("missing", ["n_seen", "history"])
def test_a_manifest_that_lacks_something_is_left_out(tmp_path: Path, snapshot, missing) -> None:
    snapshot(tmp_path, **{missing: None})
    assert RunFolder(tmp_path).look().lanes["train"].snapshots == ()


def test_a_manifest_is_read_once(tmp_path: Path, snapshot, monkeypatch) -> None:
    snapshot(tmp_path)
    folder = RunFolder(tmp_path)
    first = folder.look().lanes["train"].snapshots
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read again"))
    assert folder._snapshots(tmp_path / "snapshots") == first


def test_manifests_of_snapshots_that_are_gone_are_forgotten(tmp_path: Path, snapshot) -> None:
    folder = RunFolder(tmp_path)
    for lane in (0, 1):
        snapshot(tmp_path / f"lane-{lane}")
    for i in range(2, 9):
        path = snapshot(tmp_path / "lane-0", f"{i:06}")
        folder.look()
        if i > 3:
            shutil.rmtree(path.with_name(f"{i - 2:06}"))
    lanes = folder.look().lanes.values()
    assert {e.path for lane in lanes for e in lane.snapshots} == set(folder._manifests)


def test_another_run_in_its_place_is_noticed(tmp_path: Path, snapshot) -> None:
    folder = RunFolder(tmp_path)
    path = snapshot(tmp_path)
    before = folder.look().lanes["train"].snapshots[0]
    snapshot(tmp_path, n_seen=7)
    os.utime(path / "manifest.json", ns=(0, before.stamp + 1))
    after = folder.look().lanes["train"].snapshots[0]
    assert (after.n_seen, after.key != before.key) == (7, True)


def test_an_ended_run_is_told_by_its_last_snapshot_and_its_ledger(tmp_path: Path, snapshot) -> None:
    snapshot(tmp_path)
    ledger = {"condition": "GOOD", "trained": 590, "skipped": {"out_of_support": 10}, "sent": 600}
    (tmp_path / "ledger.json").write_text(json.dumps(ledger))
    lane = RunFolder(tmp_path).look().lanes["train"]
    assert lane.told is not None
    assert (lane.condition, lane.told.state) == ("GOOD", "ended")
    assert (lane.told.n_trained, lane.told.n_seen, lane.told.n_alarms) == (590, 600, 1)
    assert [p.nll for p in lane.told.history] == [-1.0, -1.25]


def test_lanes_are_found_by_their_folders(tmp_path: Path, snapshot) -> None:
    for lane in (0, 2, 10, "backup"):
        snapshot(tmp_path / f"lane-{lane}")
    found = list(RunFolder(tmp_path).look().lanes)
    assert found == ["train lane-0", "train lane-2", "train lane-10"]


def test_the_regions_are_those_of_the_configuration(tmp_path: Path, config) -> None:
    config(tmp_path, signal_region=[3.3, 3.7], sidebands=[[3.1, 3.3], [3.7, 3.9]])
    record = RunFolder(tmp_path).look()
    assert record.signal_region == (3.3, 3.7)
    assert record.sidebands == ((3.1, 3.3), (3.7, 3.9))


@pytest.mark.parametrize("region", [None, [3], "ab", [4, 3], ["x", 1], {}])
def test_a_region_that_is_none_is_left_out(tmp_path: Path, config, region: object) -> None:
    config(tmp_path, signal_region=region)
    assert RunFolder(tmp_path).look().signal_region is None


@pytest.mark.parametrize("content", ["[]", "{", '{"validate": 3}', '{"validate": null}'])
def test_a_configuration_that_is_none_is_left_out(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    assert RunFolder(tmp_path).look() == Record(lanes=RunFolder(tmp_path).look().lanes)
