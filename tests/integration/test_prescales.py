"""Prescaled streams through real daemons: killed and started again, in lanes, as a fill."""

import json
from pathlib import Path

import pytest

from onlineflows.online.snapshot import MODEL_FILE

pytestmark = pytest.mark.slow

N = 60_000
LOW = '[{name = "low", select = "mjj < 2.8", keep = 10}, {name = "rest", keep = 2}]'
SETTINGS = {
    "source.n_events": N,
    "prescales": LOW,
    "checkpoint.every_events": 5_000,
    "wire.window_batches": 4,
    "wire.heartbeat_s": 0.2,
    "wire.connect_timeout_s": 120,
}
PACED = {"pacing.arrivals": "bursts", "pacing.rate_hz": 10_000, "pacing.peak_hz": 30_000}
QUICK = {"pacing.period_s": 0.5, "pacing.burst_s": 0.1}


def checkpoints(folder: Path) -> set[str]:
    return {p.name for p in (folder / "runs" / "mine" / "checkpoints").glob("*.checkpoint")}


@pytest.mark.parametrize("victim", ["replay", "train"])
def test_a_killed_daemon_changes_nothing_of_a_prescaled_run(
    start, small, finished_run, ledger_of, tmp_path, victim
) -> None:
    undisturbed = finished_run(**SETTINGS)
    settings = small | SETTINGS | {"run.name": "mine"}
    replay = start("replay", "--json", **settings, **PACED, **QUICK)
    train = start("train", **settings)
    train.wait_until(lambda: checkpoints(tmp_path), "checkpoint")
    if victim == "replay":
        replay.kill()
        replay = start("replay", "--json", **settings, **PACED, **QUICK)
    else:
        train.kill()
        train = start("train", "--resume", **settings)
    train.finish()
    account = replay.result()
    ledger, before = ledger_of("mine"), json.loads((undisturbed / "ledger.json").read_text())
    for name in ("generated", "sent", "prescaled", "trained"):
        assert ledger[name] == account.get(name, ledger[name]) == before[name]
    prescales = account["prescales"]
    counted = sum(s["passed"] - s["kept"] for s in prescales["selections"])
    assert counted + prescales["unrecorded"] == ledger["prescaled"]
    assert (prescales["unrecorded"] > 0) == (victim == "replay")
    models = [
        (p / "snapshots" / "latest" / MODEL_FILE) for p in (undisturbed, tmp_path / "runs/mine")
    ]
    assert models[0].read_bytes() == models[1].read_bytes()


def test_lanes_share_what_a_prescale_leaves(start, small, tmp_path) -> None:
    start("run", **(small | SETTINGS | {"wire.lanes": 2, "run.name": "mine"})).finish()
    prescales = json.loads((tmp_path / "runs" / "mine" / "prescales.json").read_text())
    kept = sum(s["kept"] for s in prescales["selections"])
    assert sum(s["passed"] for s in prescales["selections"]) == N
    lanes = [
        json.loads((tmp_path / "runs" / "mine" / f"lane-{k}" / "ledger.json").read_text())
        for k in (0, 1)
    ]
    assert sum(lane["sent"] for lane in lanes) == kept
    assert all(lane["prescaled"] == N - kept for lane in lanes)


def test_a_fill_in_realtime_mode_accounts_for_every_event(start, small, ledger_of) -> None:
    fill = {
        "wire.mode": "realtime",
        "pacing.arrivals": "fill",
        "pacing.rate_hz": 50.0,
        "pacing.speed": 1000.0,
        "pacing.fill.lifetime_s": 900.0,
        "pacing.fill.stable_s": 1200.0,
        "pacing.fill.turnaround_s": 500.0,
        "pacing.fill.orbit_s": 200.0,
    }
    start("run", **(small | SETTINGS | fill)).finish()
    ledger = ledger_of("default")
    assert ledger["sent"] + ledger["prescaled"] + ledger["busy"] == N
    assert ledger["live_s"] + ledger["dead_s"] > 1.2 + 0.5  # one fill brings 33,000 events
