"""A disk that refuses: training goes on, older files stay, no more is claimed than is durable."""

import errno
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from onlineflows.errors import CheckpointError, SnapshotError
from onlineflows.online import daemon, durable
from onlineflows.online.consumer import Consumer, ConsumerConfig
from onlineflows.online.resume import load
from onlineflows.online.rundir import RunDirectory
from onlineflows.online.snapshot import read_snapshot
from onlineflows.settings import (
    BufferConfig,
    CheckpointConfig,
    FlowConfig,
    LearnerConfig,
    PreprocessConfig,
    SnapshotConfig,
    TrainerConfig,
)
from streams import Batch, EventSchema, Feature, SourceFile
from streams.messages import Counts
from streams.protocol import BatchReceived, LumisectionEnded, Position, RunBegan, RunEnded

ROOT = Path(__file__).parents[3]
EPOCH = "ab" * 16
SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", 0.0, 1.0)))
FILES = (SourceFile("a.h5", 10, "11" * 32), SourceFile("b.h5", 20, "22" * 32))
LEARNER = LearnerConfig(
    preprocess=PreprocessConfig(fit_events=100),
    flow=FlowConfig(blocks=1, hidden=4, bins=2),
    buffer=BufferConfig(capacity=64),
    trainer=TrainerConfig(batch_size=32, engine="torch"),
)
N = 100
"""Events of a batch; a snapshot and a checkpoint are due after each."""


class Wire:
    position = Position(EPOCH, 0, 0)

    def __init__(self) -> None:
        self.acknowledged: list[int] = []

    def consumed(self, batch_number: int) -> None:
        pass

    def report_progress(self, n_trained: int) -> None:
        pass

    def acknowledge(self, position: Position) -> None:
        self.acknowledged.append(position.next_event)


class Rig:
    """A consumer that writes after each batch."""

    def __init__(self, folder: Path) -> None:
        self.directory = RunDirectory(folder / "run")
        self.directory.prepare("fresh")
        config = ConsumerConfig(
            name="test",
            learner=LEARNER,
            snapshot=SnapshotConfig(every_events=1),
            checkpoint=CheckpointConfig(every_events=1),
        )
        day = datetime(2026, 1, 1, tzinfo=UTC)
        self.consumer = Consumer(config, self.directory, clock=lambda: 0.0, now=lambda: day)
        self.wire = Wire()
        self.n_batches = 0
        self.consumer.handle(RunBegan(EPOCH, 1, SCHEMA, "lossless", sources=FILES), self.wire)

    def batch(self) -> None:
        rng = np.random.default_rng(self.n_batches)
        number, first = self.n_batches, self.n_batches * N
        self.n_batches += 1
        x = rng.uniform(0.1, 0.9, (N, 2)).astype(np.float32)
        here = Position(EPOCH, number + 1, first + N)
        counts = Counts(N, N)
        received = BatchReceived(Batch(x, first, first + N, 1, 1), number, counts, None, 0, here)
        self.consumer.handle(received, self.wire)

    def end(self, condition="GOOD") -> None:
        n = self.n_batches * N
        counts = Counts(generated=n, sent=n)
        here = Position(EPOCH, self.n_batches, n, closed_event=n)
        self.consumer.handle(LumisectionEnded(1, 0, n, counts, 1, 0, here), self.wire)
        ended = RunEnded(counts, condition, "", self.n_batches, n, 1, 0, True, here)
        self.consumer.handle(ended, self.wire)

    def ledger(self) -> dict:
        return json.loads(self.directory.ledger.read_text())

    @property
    def n_snapshot(self) -> int:
        """Events that the latest snapshot has learned from."""
        return read_snapshot(self.directory.path).manifest.n_trained

    @property
    def n_saved(self) -> int:
        """Events before the position of the newest checkpoint."""
        return load(self.directory.checkpoints, LEARNER).position.next_event


@pytest.fixture(params=[errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """A disk that can be told to refuse."""

    class Disk:
        refuses = False

    real = os.fsync

    def fsync(descriptor: int) -> None:
        if Disk.refuses:
            raise OSError(request.param, os.strerror(request.param))
        real(descriptor)

    monkeypatch.setattr(durable.os, "fsync", fsync)
    return Disk


def test_a_refused_write_costs_neither_the_run_nor_the_last_snapshot(tmp_path, disk) -> None:
    rig = Rig(tmp_path)
    rig.batch()
    trained = rig.n_snapshot
    disk.refuses = True
    rig.batch()
    assert (rig.n_snapshot, rig.n_saved) == (trained, N)
    assert rig.consumer.progress.n_write_failures == 2
    disk.refuses = False
    rig.batch()
    assert rig.n_snapshot > trained
    assert rig.n_saved == 3 * N


def test_a_refused_snapshot_that_was_asked_for_is_counted(tmp_path, disk) -> None:
    rig = Rig(tmp_path)
    rig.batch()
    disk.refuses = True
    with pytest.raises(SnapshotError):
        rig.consumer.publish_now()
    assert rig.consumer.progress.n_write_failures == 1


def test_what_no_checkpoint_holds_is_not_acknowledged(tmp_path, disk) -> None:
    rig = Rig(tmp_path)
    rig.batch()
    disk.refuses = True
    rig.batch()
    disk.refuses = False
    rig.batch()
    assert rig.wire.acknowledged == [N, 3 * N]


def test_failures_are_counted_in_the_accounts_and_taint_nothing(tmp_path, disk) -> None:
    rig = Rig(tmp_path)
    disk.refuses = True
    rig.batch()
    rig.batch()
    disk.refuses = False
    rig.end()
    ledger = rig.ledger()
    assert ledger["write_failures"] == {"snapshot": 2, "checkpoint": 2}
    assert (ledger["condition"], ledger["unaccounted"]) == ("GOOD", 0)
    assert read_snapshot(rig.directory.path).manifest.final


def test_a_run_whose_end_cannot_be_written_is_not_acknowledged(tmp_path, disk) -> None:
    rig = Rig(tmp_path)
    rig.batch()
    disk.refuses = True
    with pytest.raises(SnapshotError, match=r"expected to write .*; free space"):
        rig.end()
    assert not rig.consumer.has_ended
    assert rig.wire.acknowledged == [N]
    disk.refuses = False
    assert (rig.n_snapshot > 0, rig.n_saved) == (True, N)


def test_a_run_that_cannot_be_ended_says_how_to_go_on(tmp_path, monkeypatch) -> None:
    class Stream(Wire):
        def __init__(self, *_args: object, **_settings: object) -> None:
            super().__init__()

        def poll(self, _timeout_s: float) -> list[object]:
            end = Position(EPOCH, 0, 0)
            ended = RunEnded(Counts(), "GOOD", "", 0, 0, 0, 0, True, end)
            return [RunBegan(EPOCH, 1, SCHEMA, "lossless"), ended]

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_error: object) -> None:
            return

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(daemon, "Receiver", Stream)
    monkeypatch.setattr("onlineflows.online.records.write_file", refuse)
    directory = RunDirectory(tmp_path)
    with pytest.raises(SnapshotError) as refused:
        daemon.run_consumer(ConsumerConfig(name="test", learner=LEARNER), directory)
    assert any("not acknowledged" in note for note in refused.value.__notes__)


def test_a_stop_that_cannot_be_saved_says_so_and_writes_the_rest(tmp_path, monkeypatch) -> None:
    rig = Rig(tmp_path)
    rig.batch()
    trained = rig.n_snapshot

    def refuse(*_args, **_kwargs):
        raise CheckpointError("expected to write a checkpoint; got no space")

    monkeypatch.setattr("onlineflows.online.records.save", refuse)
    monkeypatch.setattr("onlineflows.online.records.Records.write_due", lambda *_: False)
    rig.batch()
    with pytest.raises(CheckpointError, match="no space"):
        rig.consumer.interrupt(rig.wire)
    assert rig.n_snapshot > trained
    assert rig.ledger()["condition"] == "INTERRUPTED"
    assert rig.wire.acknowledged == [N]


def test_a_killed_writer_leaves_no_torn_checkpoint_for_good(tmp_path) -> None:
    rig = Rig(tmp_path)
    rig.batch()
    torn = rig.directory.checkpoints / ".00000000000000000100-abcd.checkpoint.partial"
    torn.write_bytes(b"events")
    rig.batch()
    assert not torn.exists()


def test_an_aborted_run_can_be_gone_on_with_from_before_its_end(tmp_path) -> None:
    rig = Rig(tmp_path)
    rig.batch()
    rig.batch()
    rig.end("ABORTED")
    stand = load(rig.directory.checkpoints, LEARNER)
    assert rig.consumer.can_resume
    assert stand.position.next_event == 2 * N
    assert not stand.ledger.has_ended
    assert rig.ledger()["condition"] == "ABORTED"


def test_a_run_that_ends_well_keeps_no_checkpoint(tmp_path) -> None:
    rig = Rig(tmp_path)
    rig.batch()
    rig.end()
    assert not rig.consumer.can_resume


def test_a_snapshot_names_the_files_and_their_digests(tmp_path) -> None:
    rig = Rig(tmp_path)
    rig.batch()
    rig.end()
    stream = read_snapshot(rig.directory.path).manifest.stream
    assert [f["sha256"] for f in stream["sources"]] == ["11" * 32, "22" * 32]
    assert (stream["n_sources"], len(stream["sources_sha256"])) == (2, 64)


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_records import Rig
rig = Rig(Path({folder!r}))
rig.batch()
first = rig.n_snapshot
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
rig.batch()
print(rig.n_snapshot == first, rig.consumer.progress.n_write_failures, rig.n_saved)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
rig.batch()
rig.end()
print(rig.n_snapshot, rig.ledger()["write_failures"], rig.wire.acknowledged)
"""


@pytest.mark.slow  # a process of its own
def test_a_limit_of_the_system_on_the_size_of_files_is_survived(tmp_path) -> None:
    script = LIMITED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=True,
    )
    assert done.stdout.splitlines() == [
        f"True 2 {N}",
        f"{3 * N} {{'snapshot': 1, 'checkpoint': 1}} [{N}, {3 * N}, {3 * N}]",
    ]
    assert "no snapshot could be written; training goes on" in done.stderr


def test_a_run_that_overwrites_another_leaves_nothing_of_its_prescales(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.prescales.write_text("{}")
    directory.prepare("resume")
    assert directory.prescales.exists()
    directory.prepare("overwrite")
    assert not directory.prescales.exists()
