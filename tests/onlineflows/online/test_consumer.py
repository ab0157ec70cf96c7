"""The consumer without a wire: what it writes when, and what it leaves behind."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from onlineflows.errors import ConfigError, DivergedError
from onlineflows.live.spectrum import Spectrum
from onlineflows.model_settings import ModelConfig
from onlineflows.online.consumer import Consumer, ConsumerConfig
from onlineflows.online.learner import Learner
from onlineflows.online.rundir import RunDirectory
from onlineflows.online.snapshot import read_snapshot
from onlineflows.settings import (
    BufferConfig,
    CheckpointConfig,
    FlowConfig,
    GateConfig,
    LearnerConfig,
    PreprocessConfig,
    SnapshotConfig,
    TrainerConfig,
)
from streams import Batch, EventSchema, Feature
from streams.messages import Counts
from streams.protocol import BatchReceived, LumisectionEnded, Position, RunBegan, RunEnded

EPOCH = "ab" * 16
SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", 0.0, 1.0)))
LEARNER = LearnerConfig(
    preprocess=PreprocessConfig(fit_events=100),
    flow=FlowConfig(blocks=1, hidden=4, bins=2),
    buffer=BufferConfig(capacity=64),
    trainer=TrainerConfig(batch_size=32, engine="torch"),
)
N = 100
"""Events of a batch."""


class Wire:
    """What a consumer tells its receiver."""

    position = Position(EPOCH, 0, 0)
    window = (0, 16)

    def __init__(self) -> None:
        self.refusals: dict[str, int] = {}
        self.acknowledged: list[int] = []

    def consumed(self, batch_number: int) -> None:
        pass

    def report_progress(self, n_trained: int) -> None:
        pass

    def acknowledge(self, position: Position) -> None:
        self.acknowledged.append(position.next_event)


class Rig:
    """A consumer on a clock that the test moves."""

    def __init__(self, folder, **changes) -> None:
        self.now_s = 0.0
        self.directory = RunDirectory(folder / "run")
        self.directory.prepare("fresh")
        config = ConsumerConfig(**({"name": "test", "learner": LEARNER} | changes))
        day = datetime(2026, 1, 1, tzinfo=UTC)
        self.consumer = Consumer(config, self.directory, clock=lambda: self.now_s, now=lambda: day)
        self.wire = Wire()
        self.n_batches = 0

    def begin(self) -> None:
        self.consumer.handle(RunBegan(EPOCH, 1, SCHEMA, "lossless"), self.wire)

    def batch(self, x: np.ndarray | None = None) -> None:
        rng = np.random.default_rng(self.n_batches)
        number, first = self.n_batches, self.n_batches * N
        self.n_batches += 1
        events = rng.uniform(0.1, 0.9, (N, 2)).astype(np.float32) if x is None else x
        here = Position(EPOCH, number + 1, first + N)
        self.consumer.handle(
            BatchReceived(
                Batch(events, first, first + N, 1, 1), number, Counts(N, N), None, 0, here
            ),
            self.wire,
        )

    def end(self) -> dict:
        n = self.n_batches * N
        counts = Counts(generated=n, sent=n)
        here = Position(EPOCH, self.n_batches, n, closed_event=n)
        self.consumer.handle(LumisectionEnded(1, 0, n, counts, 1, 0, here), self.wire)
        ended = RunEnded(counts, "GOOD", "", self.n_batches, n, 1, 0, True, here)
        self.consumer.handle(ended, self.wire)
        return self.ledger()

    def ledger(self) -> dict:
        return json.loads(self.directory.ledger.read_text())

    def snapshots(self) -> list[str]:
        folder = self.directory.snapshots
        return sorted(p.name for p in folder.glob("0*")) if folder.exists() else []


def test_a_run_ends_with_balanced_accounts_and_a_final_snapshot(tmp_path):
    rig = Rig(tmp_path)
    rig.begin()
    for _ in range(3):
        rig.batch()
    ledger = rig.end()
    assert (ledger["condition"], ledger["trained"], ledger["unaccounted"]) == ("GOOD", 300, 0)
    assert ledger["uses"] == 4 * 300
    assert read_snapshot(rig.directory.path).manifest.final


def test_snapshots_are_written_every_so_many_seconds(tmp_path):
    rig = Rig(tmp_path, snapshot=SnapshotConfig(every_events=0, every_s=10.0))
    rig.begin()
    written = []
    for rig.now_s in (5.0, 10.0, 12.0, 19.9, 20.0):
        rig.batch()
        written.append(len(rig.snapshots()))
    assert written == [0, 1, 1, 1, 2]


def test_a_snapshot_that_is_due_before_the_fit_is_left_out(tmp_path):
    rig = Rig(tmp_path, snapshot=SnapshotConfig(every_events=0, every_s=1.0))
    rig.begin()
    rig.now_s = 2.0
    x = np.full((N, 2), 0.5, dtype=np.float32)
    x[50:] = 50.0
    rig.batch(x)
    assert rig.snapshots() == []


def test_what_is_acknowledged_is_in_a_checkpoint(tmp_path):
    rig = Rig(tmp_path, checkpoint=CheckpointConfig(every_events=150))
    rig.begin()
    for _ in range(5):
        rig.batch()
    names = sorted(p.name for p in rig.directory.checkpoints.iterdir())
    assert rig.wire.acknowledged == [200, 400]
    assert [int(name.partition("-")[0]) for name in names] == [200, 400]


def test_a_run_without_an_event_to_learn_from_is_tainted(tmp_path):
    rig = Rig(tmp_path)
    rig.begin()
    rig.batch(np.full((N, 2), 50.0, dtype=np.float32))
    ledger = rig.end()
    assert (ledger["condition"], ledger["skipped"]) == ("TAINTED", {"out_of_support": N})
    assert (rig.snapshots(), rig.consumer.report().snapshot) == ([], None)


def test_a_stop_before_the_run_began_leaves_an_account(tmp_path):
    rig = Rig(tmp_path)
    rig.consumer.interrupt(rig.wire)
    assert rig.ledger()["condition"] == "INTERRUPTED"


def test_a_run_that_diverges_leaves_its_accounts(tmp_path, monkeypatch):
    rig = Rig(tmp_path)
    rig.begin()
    rig.batch()

    def diverge(*_args, **_kwargs):
        raise DivergedError("expected a finite loss")

    monkeypatch.setattr(Learner, "learn", diverge)
    with pytest.raises(DivergedError):
        rig.batch()
    rig.consumer.abandon()
    ledger = rig.ledger()
    assert (ledger["condition"], ledger["trained"]) == ("ABORTED", 100)
    assert ledger["unaccounted"] >= N


def test_a_run_whose_manifests_could_not_all_be_written_does_not_begin(tmp_path):
    rig = Rig(tmp_path, snapshot=SnapshotConfig(manifest_nbytes=4096))
    with pytest.raises(ConfigError, match=r"snapshot\.manifest_nbytes: expected at least"):
        rig.begin()


def test_the_learner_is_told_which_events_of_the_run_it_is_given(tmp_path, monkeypatch):
    told = []
    learn = Learner.learn

    def listening(self, x, *, lumisection, indices=None):
        told.extend(indices.tolist())
        return learn(self, x, lumisection=lumisection, indices=indices)

    monkeypatch.setattr(Learner, "learn", listening)
    rig = Rig(tmp_path)
    rig.begin()
    x = np.full((2, 2), 0.5, dtype=np.float32)
    here = Position(EPOCH, 1, 14)
    batch = Batch(x, 10, 14, 1, 1, np.array([0b1010], dtype=np.uint8))
    rig.consumer.handle(BatchReceived(batch, 0, Counts(4, 2), None, 0, here), rig.wire)
    assert told == [11, 13]


def test_windows_of_a_share_are_summed_without_an_event_twice(tmp_path):
    models = (ModelConfig("quarter", share=(0, 4)), ModelConfig("rest", share=(1, 4)))
    rig = Rig(tmp_path, learner=replace(LEARNER, models=models, gate=GateConfig(events=256)))
    rig.begin()
    spectrum = Spectrum()
    for _ in range(60):
        rig.batch()
        said = rig.consumer.telemetry(rig.wire, sequence=0, unix_s=0.0)
        if said.marginals:
            spectrum.add(said.marginals[0], said.n_windowed)
    # Of 6,000 events the first model takes a quarter: 1,500 within five standard deviations of 34.
    assert 1330 < said.n_windowed < 1670
    assert said.n_windowed - 2 * 256 < spectrum.n <= said.n_windowed
