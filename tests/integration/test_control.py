"""`onlineflows ctl` against real daemons."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onlineflows.online.learned import MODEL_FILE

pytestmark = pytest.mark.slow

N = 400_000
PACED = {"pacing.arrivals": "constant", "pacing.rate_hz": 20_000, "source.n_events": N}
ROOT = Path(__file__).parents[2]


def ctl(folder: Path, *words: object, code: int = 0) -> dict[str, Any]:
    """What the daemons of the run answer."""
    command = [sys.executable, "-m", "onlineflows", "ctl", "runs/mine", *map(str, words), "--json"]
    said = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == code, said.stderr
    document: dict[str, Any] = json.loads(said.stdout)
    return document


def test_a_run_is_driven_from_another_process(start, ledger_of, tmp_path, small) -> None:
    run = start("run", **{**small, **PACED, "run.name": "mine"})
    run.wait_until((tmp_path / "runs" / "mine" / ".train-control").exists, "console")
    run.wait_until(lambda: ctl(tmp_path, "status")["train"].get("n_trained", 0) > 5000, "events")

    ctl(tmp_path, "pause")
    before = ctl(tmp_path, "status")["replay"]
    ctl(tmp_path, "step", 2)
    run.wait_until(
        lambda: ctl(tmp_path, "status")["replay"]["n_batches"] == before["n_batches"] + 2, "steps"
    )
    assert ctl(tmp_path, "snapshot-now")["train"]["text"].startswith("published ")
    assert not ctl(tmp_path, "seek", 10, code=1)["replay"]["ok"]
    ctl(tmp_path, "seek", 300_000)
    ctl(tmp_path, "set-rate", "asap")
    ctl(tmp_path, "resume")

    run.finish()
    ledger = ledger_of("mine")
    assert ledger["generated"] == N
    n_before = before["next_event"] + 2 * 1024
    assert ledger["operator"] == pytest.approx(300_000 - n_before, abs=1024)


def test_a_run_that_is_stopped_by_its_operator_ends_cleanly(start, ledger_of, tmp_path, small):
    run = start("run", **{**small, **PACED, "run.name": "mine"})
    run.wait_until((tmp_path / "runs" / "mine" / ".train-control").exists, "console")
    run.wait_until(lambda: ctl(tmp_path, "status")["train"].get("n_trained", 0) > 0, "events")
    ctl(tmp_path, "stop")
    run.finish()
    assert ledger_of("mine")["condition"] == "INTERRUPTED"


def test_lanes_leave_out_the_same_events_and_are_asked_one_by_one(start, tmp_path, small) -> None:
    settings = {**small, **PACED, "run.name": "mine", "wire.lanes": 2}
    run = start("run", "--json", **settings)
    run.wait_until((tmp_path / "runs" / "mine" / "lane-1" / ".train-control").exists, "console")
    run.wait_until((tmp_path / "runs" / "mine" / ".replay-control").exists, "console")
    run.wait_until(lambda: ctl(tmp_path, "status")["replay"]["next_event"] > 50_000, "events")
    status = ctl(tmp_path, "status")
    assert sorted(status) == ["replay", "train lane-0", "train lane-1"]
    ctl(tmp_path, "seek", 350_000)
    ctl(tmp_path, "set-rate", "asap")
    run.result()
    ledgers = [
        json.loads((tmp_path / "runs" / "mine" / f"lane-{k}" / "ledger.json").read_text())
        for k in (0, 1)
    ]
    assert [ledger["unaccounted"] for ledger in ledgers] == [0, 0]
    assert ledgers[0]["operator"] == ledgers[1]["operator"] > 0
    assert ledgers[0]["sent"] + ledgers[1]["sent"] == N - ledgers[0]["operator"]


def test_an_operator_who_watches_changes_no_bit_of_theta(start, tmp_path, small) -> None:
    settings = {**small, "source.n_events": 60_000, "trainer.deterministic": "true"}
    slow = {"pacing.arrivals": "constant", "pacing.rate_hz": 2000}
    watched = start("run", **{**settings, **slow, "run.name": "mine"})
    watched.wait_until((tmp_path / "runs" / "mine" / ".train-control").exists, "console")
    ctl(tmp_path, "status")
    ctl(tmp_path, "pause")
    ctl(tmp_path, "step", 3)
    ctl(tmp_path, "set-rate", "asap")
    ctl(tmp_path, "resume")
    alone = start("run", **{**settings, "run.name": "alone", "operation.console": "false"})
    alone.finish()
    watched.finish()
    thetas = [
        (tmp_path / "runs" / name / "snapshots" / "latest" / MODEL_FILE).read_bytes()
        for name in ("mine", "alone")
    ]
    assert thetas[0] == thetas[1]
