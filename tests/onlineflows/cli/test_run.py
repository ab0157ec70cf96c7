"""`onlineflows run`: both daemons together; each mistake is told once, and at once."""

import json
import time
from pathlib import Path
from typing import Self

import pytest

from onlineflows.cli import run, run_lanes
from onlineflows.online.snapshot import read_snapshot


def test_a_run_leaves_balanced_accounts_a_snapshot_and_no_events(finished_run: Path) -> None:
    ledger = json.loads((finished_run / "ledger.json").read_text())
    assert ledger["condition"] == "GOOD"
    assert ledger["trained"] == ledger["sent"] == ledger["generated"] == 8000
    assert ledger["unaccounted"] == 0
    assert list((finished_run / "checkpoints").glob("*")) == []
    assert read_snapshot(finished_run).manifest.n_trained == 8000


def test_a_run_leaves_its_configuration_for_its_owner(finished_run: Path) -> None:
    path = finished_run / "config.json"
    assert json.loads(path.read_text())["flow"]["hidden"] == 8
    assert path.stat().st_mode & 0o077 == 0


def test_an_earlier_run_is_found_before_a_process_is_started(
    refused, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multiprocessing.get_context", lambda _: pytest.fail("a process"))
    said = refused("run", settings=(f"run.directory={finished_run.parent}", "run.name=small"))
    assert "expected no earlier run; got ledger.json, snapshots" in said


def test_what_is_wrong_with_the_events_is_told_once(refused, tmp_path: Path) -> None:
    config = Path(__file__).parents[3] / "configs" / "razor.toml"
    said = refused("run", config, settings=("source.paths=none.root", f"run.directory={tmp_path}"))
    assert said.count("expected an existing file") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_learner_that_can_not_begin_ends_the_producer_at_once(refused, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    began = time.monotonic()
    said = refused("run", "-q", settings=(f"run.directory={tmp_path / 'runs'}",))
    assert "expected a folder to write to" in said
    assert time.monotonic() - began < 20


class Killed:
    """A producer that a signal has ended before it listened."""

    exitcode = -9

    def __init__(self, *_: object) -> None: ...

    def wait_for_address(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_producer_that_was_killed_is_a_failure_like_any_other(
    lanes: int, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lanes if lanes > 1 else run, "ProducerProcess", Killed)
    said = command("run", "-q", settings=(f"run.directory={tmp_path}", f"wire.lanes={lanes}"))
    assert said.code == 1


@pytest.fixture
def of_two_lanes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Settings of a run whose lane 0 has ended; nothing may be started."""
    monkeypatch.setattr("multiprocessing.get_context", lambda _: pytest.fail("a process"))
    (tmp_path / "mine" / "lane-0").mkdir(parents=True)
    (tmp_path / "mine" / "lane-0" / "ledger.json").write_text("{}")
    return ("wire.lanes=2", f"run.directory={tmp_path}", "run.name=mine")


def test_an_earlier_run_of_any_lane_is_found_before_a_process_is_started(
    of_two_lanes, refused
) -> None:
    said = refused("run", settings=of_two_lanes)
    assert "mine/lane-0: expected no earlier run; got ledger.json" in said


def test_a_run_of_lanes_that_have_ended_is_not_begun_again(
    of_two_lanes, command, tmp_path: Path
) -> None:
    (tmp_path / "mine" / "lane-1").mkdir()
    (tmp_path / "mine" / "lane-1" / "ledger.json").write_text("{}")
    said = command("run", "--continue", settings=of_two_lanes)
    assert (said.code, "the run has ended" in said.out) == (0, True)


def test_a_run_that_has_ended_for_one_lane_only_can_not_go_on(of_two_lanes, refused) -> None:
    said = refused("run", "--continue", settings=of_two_lanes)
    assert "expected learners that have all ended, or none; got an end for lane-0 only" in said
