"""What daemons say, made up; and a run directory with a snapshot in it."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from onlineflows.online.seal import sealed
from streams.messages import Counts
from streams.telemetry import (
    ConsumerTelemetry,
    DriftAlarm,
    HistoryPoint,
    Marginal,
    ProducerTelemetry,
)

PRODUCER = ProducerTelemetry(
    sequence=0, unix_s=1000.0, pid=7, state="running", run=1, epoch="0" * 32, mode="realtime",
    lanes=1, next_event=1000, n_events=10_000,
    counts=Counts(generated=1000, sent=900, busy=70, bad=30), n_batches=9, credit=3, n_trained=800,
    arrivals="poisson", rate_hz=500.0, elapsed_s=4.0, live_s=3.0, dead_s=1.0, paused_s=0.0,
    lumisection=2, bad={"truncated": 30}, refusals={"unknown key": 2},
)  # fmt: skip
MARGINAL = Marginal(name="mjj", unit="TeV", low=2.0, high=6.0, counts=[5, 20, 10, 1], n=40)
LEARNER = ConsumerTelemetry(
    sequence=0, unix_s=1000.0, pid=8, state="running", name="demo", lane=0, n_seen=900,
    n_trained=800, n_events=10_000, n_uses=3200, n_steps=10, train_s=2.0,
    skipped={"out_of_support": 4}, lost=1, unread_batches=2, window_batches=16, buffer_fill=0.5,
    buffer_nbytes=4096, lumisection=2, history=[HistoryPoint(500, -1.5), HistoryPoint(900, -1.25)],
    alarms=[DriftAlarm(850, 2, -1.5, -1.2)], n_alarms=1, marginals=[MARGINAL], n_windowed=896,
    snapshot="000003",
)  # fmt: skip


@pytest.fixture
def producer() -> Callable[..., ProducerTelemetry]:
    """What a producer says, some of it changed."""
    return lambda **changed: replace(PRODUCER, **changed)


@pytest.fixture
def learner() -> Callable[..., ConsumerTelemetry]:
    """What a learner says, some of it changed."""
    return lambda **changed: replace(LEARNER, **changed)


def manifest(**changed: object) -> dict[str, object]:
    """What a watcher reads of a manifest."""
    return {
        "run_name": "demo", "created_utc": "2026-11-27T10:00:00+00:00", "n_seen": 600,
        "n_trained": 500, "n_uses": 2000, "n_steps": 8, "train_seconds": 1.5, "final": False,
        "ledger": {"trained": 500, "skipped": {"out_of_support": 1}, "lost": 0},
        "history": {"points": [[300, -1.0, 256], [600, -1.5, 256]]},
        "drift": {"n_alarms": 1, "alarms": [[400, 1, -1.4, -1.1]]},
        "gate": {"passed": True, "statistic": 1.25, "threshold": 2.5},
        "config": {"wire": {"lane": 0}}, **changed,
    }  # fmt: skip


@pytest.fixture
def snapshot() -> Callable[..., Path]:
    """Writes something that looks like a snapshot to whoever reads manifests only."""

    def write(run: Path, name: str = "000001", **changed: object) -> Path:
        path = run / "snapshots" / name
        path.mkdir(parents=True, exist_ok=True)
        (path / "manifest.json").write_bytes(sealed(manifest(**changed)))
        (path / "model.safetensors").write_bytes(struct.pack("<Q", 0))
        return path

    return write


@pytest.fixture
def config() -> Callable[..., None]:
    """Writes the part of a configuration that a watcher reads."""

    def write(run: Path, **validate: object) -> None:
        run.mkdir(parents=True, exist_ok=True)
        (run / "config.json").write_text(json.dumps({"validate": validate}))

    return write
