"""The producer's loop against a consumer in the same process, with a clock of its own."""

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow.parquet as pq
import pytest

from replay import producer
from replay.epoch import epoch_of
from replay.producer import run_producer
from replay.report import ProducerReport, Progress
from replay.settings import (
    FillConfig,
    PacingConfig,
    PrescaleConfig,
    QuarantineConfig,
    ReplayConfig,
    SelectionConfig,
)
from replay.sources.files import FileSource
from replay.sources.integrity import Stamp
from replay.sources.reader import Rows
from streams import (
    ArraySource,
    BatchReceived,
    ConsumerLedger,
    Counts,
    Events,
    EventSchema,
    Feature,
    InputError,
    Position,
    RunBegan,
    RunEnded,
    Source,
    Status,
    WireConfig,
)
from streams.consumer_end import ConsumerEnd
from streams.control import Reply, Request
from streams.lanes import Lanes
from streams.telemetry import ProducerTelemetry

SCHEMA = EventSchema((Feature("m", "TeV", 0, 1e9), Feature("y", "", -1, 1)))
PEER = b"learner"


class Learner:
    """A consumer that trains on what it gets.

    Args:
        resume: where it stands.
        batch_s: how long it needs for a batch.
    """

    def __init__(self, wire: WireConfig, *, resume: Position | None, batch_s: float) -> None:
        self.end = ConsumerEnd(wire, name="learner", resume=resume, expect=SCHEMA, now=0.0)
        self.ledger = ConsumerLedger()
        self.batches: list[BatchReceived] = []
        self.ended: RunEnded | None = None
        self.batch_s = batch_s
        self._free_at = 0.0
        self._unread: list[BatchReceived] = []

    def turn(self, frames: list[list[bytes]], now: float) -> None:
        for message in frames:
            for incoming in self.end.receive(message, now):
                self.ledger.observe(incoming)
                if isinstance(incoming, BatchReceived):
                    self._unread.append(incoming)
                elif isinstance(incoming, RunEnded):
                    self.ended = incoming
        while self._unread and self._free_at <= now:
            received = self._unread.pop(0)
            self._free_at = max(self._free_at, now) + self.batch_s
            self.batches.append(received)
            self.ledger.account([received.batch_number], trained=len(received.batch))
            self.end.consumed(received.batch_number)
        if self.ended is not None and not self._unread:
            self.end.acknowledge(self.ended.position)
        self.end.tick(now)


class Studio:
    """Puts a learner in the place of the socket and keeps the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.learner: Learner | None = None
        self.wire = WireConfig(batch_events=8, window_batches=4, max_delay_ms=50.0)
        self.resume: Position | None = None
        self.batch_s = 0.0
        self.at_turn: Callable[[int], None] = lambda _: None
        self.n_turns = 0
        studio = self

        class Loopback:
            address = "nowhere"
            wall_s = 0.0
            refusals: Mapping[str, int] = {}

            def __init__(
                self, wire: WireConfig, begin: RunBegan, *, clock: Any, lumisection_events: int
            ) -> None:
                self.end = Lanes(wire, begin, clock(), lumisection_events=lumisection_events)
                studio.learner = Learner(wire, resume=studio.resume, batch_s=studio.batch_s)

            is_alive = property(lambda self: self.end.is_alive(studio.now))
            rewind_to = property(lambda self: self.end.rewind)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.end, name)

            def can_send(self, first_event: int) -> bool:
                return self.end.can_send(first_event, studio.now)

            def send(self, batch: Any, counts: Any, truth: Any = None) -> None:
                self.end.batch(batch, counts, truth, now=studio.now, sent_ns=0, monotonic_ns=0)

            def poll(self, timeout_s: float) -> None:
                studio.now += max(timeout_s, 1e-5)
                studio.turn(self.end)

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                return

        monkeypatch.setattr(producer, "Sender", Loopback)

    def turn(self, end: Lanes) -> None:
        self.n_turns += 1
        self.at_turn(self.n_turns)
        learner = self.learner
        assert learner is not None
        frames = [f for _, f in end.outbox]
        end.outbox.clear()
        learner.turn(frames, self.now)
        for message in learner.end.outbox:
            end.receive(PEER, message, self.now)
        learner.end.outbox.clear()
        end.tick(self.now)

    def run(self, source: Source, **changes: Any) -> ProducerReport:
        settings: dict[str, Any] = {
            "wire": self.wire,
            "pacing": PacingConfig(),
            "replay": ReplayConfig(lumisection_events=50),
            "clock": lambda: self.now,
        }
        return run_producer(source, **{**settings, **changes})

    @property
    def trained(self) -> list[int]:
        assert self.learner is not None
        return [int(e) for r in self.learner.batches for e in r.batch.x[:, 0]]


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Studio:
    return Studio(monkeypatch)


def events(n: int, *, status: np.ndarray | None = None) -> ArraySource:
    x = np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.float32)
    return ArraySource(SCHEMA, x, status=status)


class Stop:
    requested = False
    aborted = False


def test_every_event_reaches_the_learner_in_order(studio: Studio) -> None:
    report = studio.run(events(233))
    assert studio.trained == list(range(233))
    assert report.condition == "GOOD"
    assert report.is_acknowledged
    assert report.ledger.totals == Counts(generated=233, sent=233)


def test_both_ledgers_balance(studio: Studio) -> None:
    status = np.zeros(300, dtype=np.uint8)
    status[10:30] = Status.NOT_SELECTED
    status[::17] = Status.BAD_INPUT
    report = studio.run(events(300, status=status))
    assert studio.learner is not None
    assert report.ledger.balance().is_balanced
    assert studio.learner.ledger.balance().is_balanced
    document = studio.learner.ledger.document()
    assert document["sent"] == (status == 0).sum()
    assert document["bad"] == (status == Status.BAD_INPUT).sum()
    assert document["not_selected"] == (status == Status.NOT_SELECTED).sum()


def sparse(n: int, share: float = 0.2) -> tuple[ArraySource, list[int]]:
    """A source of which a share is selected, none of the 300 events from 700 on, and these."""
    good = np.random.default_rng(1).random(n) < share
    good[700:1000] = False
    status = np.where(good, Status.GOOD, Status.NOT_SELECTED).astype(np.uint8)
    return events(n, status=status), np.flatnonzero(good).tolist()


@pytest.mark.parametrize("mode", ["lossless", "realtime"])
def test_a_sparse_stream_travels_in_full_batches(studio: Studio, mode: Any) -> None:
    source, selected = sparse(20_000)
    studio.wire = replace(studio.wire, mode=mode, window_batches=10**6)
    report = studio.run(source, replay=ReplayConfig(lumisection_events=10_000))
    assert studio.learner is not None
    assert studio.trained == selected
    sizes = [len(r.batch) for r in studio.learner.batches]
    assert sum(n < 8 for n in sizes) <= 3  # at the end of each lumisection, and before a gap
    assert report.ledger.totals == Counts(
        generated=20_000, sent=len(selected), not_selected=20_000 - len(selected)
    )
    assert studio.learner.ledger.balance().is_balanced


def test_a_sparse_stream_that_meets_no_room_is_busy_only_where_events_were_selected(
    studio: Studio,
) -> None:
    studio.batch_s = 0.05
    studio.wire = WireConfig(batch_events=8, window_batches=2, mode="realtime")
    source, selected = sparse(4000)
    report = studio.run(source, pacing=PacingConfig("constant", rate_hz=4000.0))
    totals = report.ledger.totals
    assert totals.not_selected == 4000 - len(selected)
    assert totals.sent + totals.busy == len(selected)
    assert totals.sent == len(studio.trained)
    assert totals.busy > 0
    assert studio.learner is not None
    assert studio.learner.ledger.balance().is_balanced


def test_a_sparse_stream_goes_on_after_a_resume_as_without(studio: Studio) -> None:
    source, _ = sparse(5000)
    studio.run(source)
    assert studio.learner is not None
    first = [(r.batch_number, r.position) for r in studio.learner.batches]
    for at in (0, 17, 60):
        source.seek(0)
        studio.resume = first[at][1]
        studio.run(source)
        assert [(r.batch_number, r.position) for r in studio.learner.batches] == first[at + 1 :]
        assert studio.learner.ended is not None
        assert studio.learner.ended.digest_agrees


def test_an_empty_stream_is_a_good_run(studio: Studio) -> None:
    assert studio.run(events(0)).condition == "GOOD"


def test_a_slow_learner_slows_a_lossless_producer(studio: Studio) -> None:
    studio.batch_s = 0.05
    report = studio.run(events(400))
    assert studio.trained == list(range(400))
    assert report.elapsed_s > 40 * 0.05
    assert report.dead_s == 0.0
    assert report.live_s == pytest.approx(report.elapsed_s)


def test_a_slow_learner_makes_a_realtime_producer_dead(studio: Studio) -> None:
    studio.batch_s = 0.05
    studio.wire = WireConfig(batch_events=8, window_batches=2, mode="realtime")
    report = studio.run(events(4000), pacing=PacingConfig("constant", rate_hz=1000.0))
    totals = report.ledger.totals
    assert totals.generated == 4000
    assert totals.sent == len(studio.trained)
    assert totals.busy == 4000 - totals.sent
    assert 0.10 < totals.sent / 4000 < 0.25  # 8 events each 50 ms of 50 events
    assert studio.learner is not None
    assert studio.learner.ledger.balance().is_balanced


def test_a_learner_that_is_gone_when_told_of_dead_time_does_not_end_the_run(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell, lost_at = Lanes.gap, []

    def gap(lanes: Lanes, first: int, end: int, *words: Any) -> None:
        tell(lanes, first, end, *words)
        if not lost_at and lanes.can_send(end, studio.now):
            lost_at.append(end)
            lanes.unreachable(PEER, studio.now)

    monkeypatch.setattr(Lanes, "gap", gap)
    studio.batch_s = 0.05
    studio.wire = WireConfig(batch_events=8, window_batches=2, mode="realtime")
    report = studio.run(events(4000), pacing=PacingConfig("constant", rate_hz=1000.0))
    assert (report.condition, report.problems) == ("GOOD", ())
    assert studio.trained[-1] > lost_at[0]  # it came back
    assert report.ledger.totals.sent == len(studio.trained)


def test_live_and_dead_time_are_the_elapsed_time(studio: Studio) -> None:
    studio.batch_s = 0.05
    studio.wire = WireConfig(batch_events=8, window_batches=2, mode="realtime")
    report = studio.run(events(2000), pacing=PacingConfig("constant", rate_hz=1000.0))
    assert report.dead_s > 0
    assert report.live_s + report.dead_s == pytest.approx(report.elapsed_s)
    assert report.elapsed_s == pytest.approx(2.0, abs=0.2)
    rows = list(report.ledger.rows)
    assert sum(r.live_ns + r.dead_ns for r in rows) / 1e9 == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_a_paced_producer_takes_its_time(studio: Studio, arrivals: Any) -> None:
    report = studio.run(events(500), pacing=PacingConfig(arrivals, rate_hz=100.0, speed=2.0))
    assert studio.trained == list(range(500))
    assert report.elapsed_s == pytest.approx(2.5, rel=0.25)


def test_an_incomplete_batch_is_sent_after_the_longest_delay(studio: Studio) -> None:
    studio.wire = WireConfig(batch_events=1000, max_delay_ms=50.0)
    studio.run(events(500), pacing=PacingConfig("constant", rate_hz=1000.0))
    assert studio.learner is not None
    sizes = [len(r.batch) for r in studio.learner.batches]
    assert max(sizes) <= 65  # 50 ms and two ticks at 1 kHz
    assert sum(sizes) == 500


def test_a_sparse_batch_is_sent_after_the_longest_delay_too(studio: Studio) -> None:
    studio.wire = WireConfig(batch_events=1000, max_delay_ms=50.0)
    source, selected = sparse(500)
    studio.run(source, pacing=PacingConfig("constant", rate_hz=1000.0))
    assert studio.learner is not None
    ranges = [r.batch.end_event - r.batch.first_event for r in studio.learner.batches]
    assert max(ranges) <= 65
    assert studio.trained == selected


def test_a_resumed_learner_gets_the_rest(studio: Studio) -> None:
    source = events(233)
    epoch = epoch_of(source, seed=0, replay=ReplayConfig(lumisection_events=50), config={})
    run, opened = Counts(generated=64, sent=64), Counts(generated=14, sent=14)
    studio.resume = Position(epoch, 9, 64, 50, run, opened)
    report = studio.run(source)
    assert studio.trained == list(range(64, 233))
    assert report.n_rewinds == 1
    assert report.ledger.totals == Counts(generated=233, sent=233)
    assert report.ledger.n_batches == 33


def test_a_lumisection_that_nobody_closed_is_closed_after_a_resume(studio: Studio) -> None:
    source = events(120)
    epoch = epoch_of(source, seed=0, replay=ReplayConfig(lumisection_events=50), config={})
    counts = Counts(generated=50, sent=50)
    studio.resume = Position(epoch, 7, 50, 0, counts, counts)
    report = studio.run(source)
    assert [row.lumisection for row in report.ledger.rows] == [1, 2, 3]
    assert report.ledger.totals.generated == 120


def test_batches_after_a_resume_are_the_same_as_without(studio: Studio) -> None:
    source = events(233)
    studio.run(source)
    assert studio.learner is not None
    first = [(r.batch_number, r.batch.first_event, len(r.batch)) for r in studio.learner.batches]
    position = studio.learner.batches[11].position
    source.seek(0)
    studio.resume = position
    studio.run(source)
    again = [(r.batch_number, r.batch.first_event, len(r.batch)) for r in studio.learner.batches]
    assert again == first[12:]


def test_a_stop_ends_the_run_as_interrupted(studio: Studio) -> None:
    stop = Stop()
    studio.at_turn = lambda n: setattr(stop, "requested", n > 20)
    report = studio.run(events(100_000), stop=stop)
    assert report.condition == "INTERRUPTED"
    assert report.is_acknowledged
    assert 0 < len(studio.trained) < 100_000
    assert studio.learner is not None
    assert studio.learner.ledger.balance().is_balanced
    assert studio.learner.ledger.document()["condition"] == "INTERRUPTED"


@pytest.mark.parametrize("n_events", [100, 100_000])
def test_an_abort_leaves_without_waiting_for_the_consumer(studio: Studio, n_events: int) -> None:
    stop = Stop()
    studio.batch_s = 100.0  # the learner hangs
    studio.at_turn = lambda n: setattr(stop, "aborted", n > 20)
    report = studio.run(events(n_events), stop=stop)
    assert report.condition == "ABORTED"
    assert not report.is_acknowledged
    assert report.elapsed_s < 10.0


class Failing(ArraySource):
    """A source whose file is damaged behind an event."""

    fails_at = 100

    def read(self, n: int) -> Events:
        events = super().read(n)
        if events.first_event + len(events) > self.fails_at:
            self.seek(events.first_event)
            raise InputError("events.h5: truncated")
        return events


def test_a_source_that_fails_aborts_the_run_at_its_position(studio: Studio) -> None:
    x = np.stack([np.arange(1000), np.zeros(1000)], axis=1).astype(np.float32)
    report = studio.run(Failing(SCHEMA, x))
    assert report.condition == "ABORTED"
    assert str(report.error) == "events.h5: truncated"
    assert f"at event {report.ledger.next_event}: events.h5" in report.text
    assert report.ledger.next_event == 100
    assert studio.trained == list(range(100))
    assert report.is_acknowledged


def test_a_source_that_fails_at_once_is_an_input_error(studio: Studio) -> None:
    source = Failing(SCHEMA, np.zeros((10, 2), dtype=np.float32))
    source.fails_at = 0
    with pytest.raises(InputError, match="truncated"):
        studio.run(source)


def test_progress_is_reported_twice_a_second(studio: Studio) -> None:
    seen: list[Progress] = []
    studio.run(
        events(500),
        pacing=PacingConfig("constant", rate_hz=100.0),
        on_progress=seen.append,
    )
    assert 8 <= len(seen) <= 11
    assert [p.next_event for p in seen] == sorted(p.next_event for p in seen)
    assert seen[-1].n_events == 500


def test_the_same_run_has_the_same_epoch() -> None:
    replay = ReplayConfig()
    assert epoch_of(events(9), seed=1, replay=replay, config={"a": 1}) == epoch_of(
        events(9), seed=1, replay=replay, config={"a": 1}
    )


@pytest.mark.parametrize(
    "change",
    [
        {"source": events(10)},
        {"seed": 2},
        {"replay": ReplayConfig(run=2)},
        {"replay": ReplayConfig(lumisection_events=7)},
        {"config": {"a": 2}},
    ],
)
def test_another_run_has_another_epoch(change: dict[str, Any]) -> None:
    base: dict[str, Any] = {
        "source": events(9),
        "seed": 1,
        "replay": ReplayConfig(),
        "config": {"a": 1},
    }
    changed = {**base, **change}
    assert epoch_of(base.pop("source"), **base) != epoch_of(changed.pop("source"), **changed)


def test_the_producer_does_not_load_torch() -> None:
    import subprocess
    import sys

    code = "import replay.producer, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Stored:
    """A file whose rows hold their own numbers."""

    schema = SCHEMA
    n_rows = 400
    has_label = False
    block_rows = shuffle_rows = 50

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(self.n_rows))

    def read_rows(self, start: int, stop: int, keep: object = None) -> Rows:
        x = np.stack([np.arange(start, stop), np.zeros(stop - start)], axis=1)
        return Rows(x.astype(np.float32), np.zeros(stop - start, np.uint8))

    def read_labels(self, start: int, stop: int) -> np.ndarray:
        raise InputError("no labels")

    def close(self) -> None:
        return


def stored(path: Path) -> FileSource:
    reader = Stored(path)
    return FileSource([reader], SelectionConfig(), [Stamp.of(path)])


def test_a_file_that_vanishes_ends_the_run_as_aborted_with_balanced_accounts(
    studio: Studio, tmp_path: Path
) -> None:
    source = stored(tmp_path / "events.npy")

    def vanish(turn: int) -> None:
        if turn == 8:
            source.files  # noqa: B018 - they were described at the begin of the run
            (tmp_path / "events.npy").unlink()

    studio.at_turn = vanish
    report = studio.run(source)
    n = len(studio.trained)
    assert report.condition == "ABORTED"
    block = n // 50 * 50
    where = rf"at event {n}: .*No such file.*events.npy, rows {block} to {block + 50}"
    assert re.match(where, report.text)
    assert 0 < n < 400
    assert studio.trained == list(range(n))
    assert report.ledger.balance().is_balanced
    assert studio.learner is not None
    assert studio.learner.ledger.balance().is_balanced


def test_a_mended_file_is_gone_on_with_from_where_the_run_was_aborted(
    studio: Studio, tmp_path: Path
) -> None:
    path = tmp_path / "events.npy"
    source = stored(path)

    def vanish(turn: int) -> None:
        if turn == 8:
            path.unlink()

    studio.at_turn = vanish
    aborted = studio.run(source)
    assert studio.learner is not None
    studio.resume = studio.learner.ended.position
    before, studio.at_turn = studio.trained, lambda _: None
    report = studio.run(stored(path))
    assert (aborted.condition, report.condition) == ("ABORTED", "GOOD")
    assert report.epoch == aborted.epoch
    assert before + studio.trained == list(range(400))


def test_a_source_that_is_not_what_it_was_at_its_end_aborts_the_run(
    studio: Studio, tmp_path: Path
) -> None:
    path = tmp_path / "events.npy"
    source = stored(path)

    def flip(turn: int) -> None:
        if turn == 2:
            was = path.stat().st_mtime_ns
            path.write_bytes(bytes([1]) + bytes(399))
            os.utime(path, ns=(was, was))

    studio.at_turn = flip
    replay = ReplayConfig(lumisection_events=50, verify=True)
    report = studio.run(source, replay=replay)
    assert report.condition == "ABORTED"
    assert report.text.startswith("at event 400: expected SHA-256")
    assert report.ledger.totals.sent == 400


def test_bad_events_are_told_by_reason_and_kept(studio: Studio, tmp_path: Path) -> None:
    status = np.zeros(300, dtype=np.uint8)
    status[::7], status[3::50] = Status.NEGATIVE, Status.NO_PARTICLES
    path = tmp_path / "bad.parquet"
    report = studio.run(events(300, status=status), quarantine=QuarantineConfig(str(path)))
    document = report.document()
    reasons = document["bad_by_reason"]
    assert reasons == {
        "negative": (status == Status.NEGATIVE).sum(),
        "no_particles": (status == Status.NO_PARTICLES).sum(),
    }
    assert sum(reasons.values()) == document["bad"]
    assert studio.learner is not None
    assert studio.learner.ledger.document()["bad_by_reason"] == reasons
    kept = pq.read_table(path).to_pydict()
    assert kept["event"] == np.flatnonzero(status).tolist()


def test_a_producer_that_goes_on_does_not_know_the_reasons_before(studio: Studio) -> None:
    status = np.zeros(200, dtype=np.uint8)
    status[::10] = Status.INFINITE
    studio.run(events(200, status=status))
    assert studio.learner is not None
    studio.resume = studio.learner.batches[11].position
    report = studio.run(events(200, status=status))
    reasons = report.document()["bad_by_reason"]
    assert sum(reasons.values()) == 20
    assert set(reasons) == {"infinite", "unrecorded"}


@pytest.mark.parametrize("mode", ["lossless", "realtime"])
def test_a_learner_that_hangs_is_reported_with_times(
    studio: Studio,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    monkeypatch.setattr(logging.getLogger("replay"), "propagate", True)
    studio.wire = replace(studio.wire, mode=mode, heartbeat_s=100.0, connect_timeout_s=1000.0)
    studio.batch_s = 30.0
    told: list[Progress] = []
    report = studio.run(
        events(400),
        pacing=PacingConfig(arrivals="constant", rate_hz=10.0),
        stall_s=10.0,
        on_progress=told.append,
    )
    assert report.n_stalls > 0
    assert report.stalled_s >= 10.0 * report.n_stalls
    assert any(p.is_stalled for p in told)
    assert re.search(r"made no progress for 1\d\.\d s, since 20\d\d-.*takes no more", caplog.text)
    assert report.ledger.balance().is_balanced


def test_a_learner_that_keeps_up_is_not_reported(studio: Studio) -> None:
    report = studio.run(
        events(400), pacing=PacingConfig(arrivals="constant", rate_hz=10.0), stall_s=1.0
    )
    assert report.n_stalls == 0


# --- an operator ---------------------------------------------------------------------------


class Desk:
    """A console at which requests come at certain times.

    Args:
        studio: keeps the time.
        script: when, and what.
    """

    def __init__(self, studio: Studio, *script: tuple[float, Request]) -> None:
        self.studio = studio
        self.script = list(script)
        self.replies: list[Reply] = []
        self.published: list[ProducerTelemetry] = []

    def requests(self) -> list[tuple[bytes, Request]]:
        due = [request for at, request in self.script if at <= self.studio.now]
        self.script = [(at, r) for at, r in self.script if at > self.studio.now]
        return [(b"", request) for request in due]

    def answer(self, peer: bytes, reply: Reply) -> None:
        self.replies.append(reply)

    def publish(self, document: ProducerTelemetry) -> None:
        self.published.append(document)


AT_100_HZ = PacingConfig(arrivals="constant", rate_hz=100.0)


def test_a_pause_is_neither_live_nor_dead_time(studio: Studio) -> None:
    desk = Desk(studio, (1.0, Request("pause")), (4.0, Request("resume")))
    report = studio.run(events(200), pacing=AT_100_HZ, console=desk)
    assert studio.trained == list(range(200))
    assert report.paused_s == pytest.approx(3.0, abs=0.2)
    assert report.live_s == pytest.approx(2.0, abs=0.2)
    assert report.dead_s == 0.0
    assert report.live_s + report.paused_s == pytest.approx(report.elapsed_s)


def test_nothing_becomes_due_while_paused(studio: Studio) -> None:
    desk = Desk(studio, (1.0, Request("pause")), (9.0, Request("status")), (9.0, Request("stop")))
    studio.run(events(10_000), pacing=AT_100_HZ, console=desk)
    assert 80 <= len(studio.trained) <= 105
    assert desk.replies[1].status["state"] == "paused"


def test_a_trigger_that_is_paused_loses_nothing(studio: Studio) -> None:
    studio.wire = replace(studio.wire, mode="realtime")
    desk = Desk(studio, (1.0, Request("pause")), (3.0, Request("resume")))
    report = studio.run(events(300), pacing=AT_100_HZ, console=desk)
    assert report.ledger.totals == Counts(generated=300, sent=300)
    assert report.dead_s == 0.0


def test_a_pause_in_dead_time_ends_it(studio: Studio) -> None:
    studio.wire = replace(studio.wire, mode="realtime")
    studio.batch_s = 100.0  # no credit after the first batches
    desk = Desk(
        studio,
        (1.0, Request("burst", 80.0)),
        (2.0, Request("pause")),
        (6.0, Request("stop")),
    )
    long = ReplayConfig(lumisection_events=100_000)
    report = studio.run(events(10_000), pacing=AT_100_HZ, console=desk, replay=long)
    assert report.paused_s == pytest.approx(4.0, abs=0.2)
    assert report.dead_s < 2.0


def test_dead_time_is_told_while_it_lasts(studio: Studio) -> None:
    studio.wire = replace(studio.wire, mode="realtime")
    studio.batch_s = 100.0
    desk = Desk(studio, (2.0, Request("status")), (3.0, Request("stop")))
    long = ReplayConfig(lumisection_events=100_000)
    studio.run(events(10_000), pacing=AT_100_HZ, console=desk, replay=long)
    status = desk.replies[0].status
    assert status["next_event"] == pytest.approx(200, abs=20)
    assert status["counts"]["busy"] > 100


def test_the_last_word_of_a_producer_that_never_sent_is_that_it_has_ended(studio: Studio) -> None:
    desk, stop = Desk(studio), Stop()
    stop.requested = True
    studio.run(events(100), console=desk, stop=stop)
    assert desk.published[-1].state == "ended"


def test_steps_send_so_many_batches_and_no_more(studio: Studio) -> None:
    desk = Desk(
        studio,
        (0.0, Request("step", 3.0)),
        (2.0, Request("step")),
        (4.0, Request("stop")),
    )
    studio.run(events(1000), console=desk)
    assert studio.trained == list(range(4 * studio.wire.batch_events))


def test_a_burst_comes_on_top_of_what_is_due(studio: Studio) -> None:
    desk = Desk(
        studio,
        (1.0, Request("burst", 400.0)),
        (1.5, Request("status")),
        (3.0, Request("stop")),
    )
    studio.run(events(10_000), pacing=AT_100_HZ, console=desk)
    assert 540 <= desk.replies[1].status["next_event"] <= 560
    assert 680 <= len(studio.trained) <= 720


def test_a_burst_while_paused_ends_paused(studio: Studio) -> None:
    desk = Desk(
        studio,
        (0.0, Request("pause")),
        (1.0, Request("burst", 80.0)),
        (3.0, Request("stop")),
    )
    studio.run(events(10_000), console=desk)
    assert 80 <= len(studio.trained) < 80 + studio.wire.batch_events


def test_a_seek_leaves_events_out_and_accounts_for_them(studio: Studio) -> None:
    desk = Desk(studio, (1.0, Request("seek", 180.0)))
    report = studio.run(events(233), pacing=AT_100_HZ, console=desk)
    n_left_out = 233 - len(studio.trained)
    assert studio.trained == [*range(180 - n_left_out), *range(180, 233)]
    assert report.ledger.totals == Counts(generated=233, sent=233 - n_left_out, operator=n_left_out)
    assert n_left_out > 60
    assert report.condition == "GOOD"
    assert report.problems == ()
    assert studio.learner is not None
    assert studio.learner.ledger.balance().is_balanced


def test_a_stream_that_goes_back_leaves_the_same_events_out_again(studio: Studio) -> None:
    desk = Desk(studio, (1.0, Request("seek", 180.0)))

    def restart(turn: int) -> None:
        learner = studio.learner
        if learner is None or studio.now < 2.2 or learner.end.position.next_event < 200:
            return
        # A consumer comes back with a checkpoint from before the seek.
        position = checkpoints[0]
        studio.at_turn = lambda _: None
        studio.resume = position
        studio.learner = Learner(studio.wire, resume=position, batch_s=0.0)

    checkpoints: list[Position] = []

    def remember(turn: int) -> None:
        learner = studio.learner
        if learner is not None and learner.end.position.next_event > 40 and not checkpoints:
            checkpoints.append(learner.end.position)
            studio.at_turn = restart

    studio.at_turn = remember
    report = studio.run(events(300), pacing=AT_100_HZ, console=desk)
    assert report.n_rewinds == 1
    assert studio.trained[0] == checkpoints[0].next_event
    left_out = sorted(set(range(checkpoints[0].next_event, 300)) - set(studio.trained))
    assert left_out == list(range(left_out[0], 180))
    assert report.ledger.totals.operator == len(left_out)
    assert report.problems == ()


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (Request("seek", 10.0), "expected an event after"),
        (Request("seek", 1e6), "expected one of the stream's 400 events"),
        (Request("seek"), "expected a number"),
        (Request("burst"), "expected a number"),
        (Request("set-rate", 0.0), "expected a positive rate"),
        (Request("step", 0.0), "expected at least 1; got 0"),
        (Request("burst", 0.0), "expected at least 1; got 0"),
        (Request("set-rate", 1e13), "expected at most 1e+12"),
        (Request("set-rate", 5e-324), "expected"),
        (Request("snapshot-now"), "the producer understands status, pause"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(
    studio: Studio, request_: Request, why: str
) -> None:
    desk = Desk(studio, (1.0, request_))
    report = studio.run(events(400), pacing=AT_100_HZ, console=desk)
    assert not desk.replies[0].ok
    assert why in desk.replies[0].text
    assert report.ledger.totals == Counts(generated=400, sent=400)


def test_another_rate_holds_from_then_on(studio: Studio) -> None:
    desk = Desk(studio, (1.0, Request("set-rate", 1000.0)), (2.0, Request("stop")))
    studio.run(events(100_000), pacing=AT_100_HZ, console=desk)
    assert len(studio.trained) == pytest.approx(1100, abs=30)


def test_a_stop_ends_the_run_with_its_accounts_closed(studio: Studio) -> None:
    desk = Desk(studio, (1.0, Request("stop")))
    report = studio.run(events(100_000), pacing=AT_100_HZ, console=desk)
    assert report.condition == "INTERRUPTED"
    assert report.is_acknowledged
    assert report.problems == ()


def test_telemetry_says_where_the_stream_stands_and_how_it_ended(studio: Studio) -> None:
    desk = Desk(studio)
    studio.run(events(200), pacing=AT_100_HZ, console=desk)
    assert [t.sequence for t in desk.published] == list(range(len(desk.published)))
    assert 4 <= len(desk.published) <= 7
    numbers = [t.next_event for t in desk.published]
    assert numbers == sorted(numbers)
    last = desk.published[-1]
    assert (last.state, last.condition, last.next_event) == ("ended", "GOOD", 200)
    assert last.rate_hz == 100.0


FIFTH = (PrescaleConfig("low", "m < 2000", 5), PrescaleConfig("odd", "y > 0", 3))


@pytest.mark.parametrize("mode", ["lossless", "realtime"])
def test_what_is_prescaled_away_is_accounted_for(studio: Studio, mode: Any) -> None:
    studio.wire = replace(studio.wire, mode=mode, window_batches=10**6)
    report = studio.run(events(4000), prescales=FIFTH, replay=ReplayConfig(lumisection_events=500))
    totals = report.ledger.totals
    assert totals.sent + totals.prescaled == totals.generated == 4000
    assert totals.sent == len(studio.trained)
    assert totals.prescaled + 5 * np.sqrt(320) * 4 > 5 * 320
    assert studio.trained[-2000:] == list(range(2000, 4000))
    assert studio.learner is not None
    assert studio.learner.ledger.balance().is_balanced
    assert studio.learner.ledger.document()["prescaled"] == totals.prescaled
    low, odd = report.document()["prescales"]["selections"]
    assert (low["passed"], low["passed"] - low["kept"]) == (2000, totals.prescaled)
    assert odd["passed"] == 0
    assert [r["passed"] for r in report.document()["prescales"]["lumisections"]][:5] == [
        [500, 0],
        [500, 0],
        [500, 0],
        [500, 0],
        [0, 0],
    ]


def test_a_prescaled_stream_that_meets_no_room_is_busy_where_events_were_kept(
    studio: Studio,
) -> None:
    studio.batch_s = 0.05
    studio.wire = WireConfig(batch_events=8, window_batches=2, mode="realtime")
    pacing = PacingConfig("constant", rate_hz=4000.0)
    whole = studio.run(events(4000), prescales=FIFTH)
    report = studio.run(events(4000), prescales=FIFTH, pacing=pacing)
    assert report.ledger.totals.busy > 0
    assert report.ledger.totals.prescaled == whole.ledger.totals.prescaled
    assert report.prescales["selections"] == whole.prescales["selections"]


def test_a_prescaled_stream_goes_on_after_a_resume_as_without(studio: Studio) -> None:
    source = events(3000)
    whole = studio.run(source, prescales=FIFTH)
    assert studio.learner is not None
    first = [(r.batch_number, r.position) for r in studio.learner.batches]
    for at in (0, 17, 60):
        source.seek(0)
        studio.resume = first[at][1]
        report = studio.run(source, prescales=FIFTH)
        assert [(r.batch_number, r.position) for r in studio.learner.batches] == first[at + 1 :]
        assert report.ledger.totals == whole.ledger.totals
        known = report.prescales["selections"][0]
        assert known["passed"] - known["kept"] + report.prescales["unrecorded"] == (
            whole.ledger.totals.prescaled
        )


def test_prescales_are_told_at_the_begin_of_the_run_and_make_another_stream(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[RunBegan] = []

    class Listening(producer.Sender):  # type: ignore[misc,name-defined]
        def __init__(self, wire: WireConfig, begin: RunBegan, **words: Any) -> None:
            told.append(begin)
            super().__init__(wire, begin, **words)

    monkeypatch.setattr(producer, "Sender", Listening)
    for prescales in ((), FIFTH):
        studio.run(events(100), prescales=prescales)
    assert told[0].epoch != told[1].epoch
    assert "prescales" not in told[0].config
    assert told[1].config["prescales"][0] == {"name": "low", "select": "m < 2000", "keep": 5}


def test_a_prescale_over_features_that_there_are_not_never_begins(studio: Studio) -> None:
    with pytest.raises(InputError, match=r"prescales.a.select: expected features"):
        studio.run(events(10), prescales=(PrescaleConfig("a", "mjj < 2"),))


class Recorded(ArraySource):
    """Events that were recorded at these times."""

    times: np.ndarray

    def read(self, n: int) -> Events:
        events = super().read(n)
        rows = slice(events.first_event, events.first_event + len(events))
        return replace(events, time_s=self.times[rows])


def recorded(times: np.ndarray) -> Recorded:
    n = len(times)
    x = np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.float32)
    source = Recorded(SCHEMA, x)
    source.times = times
    return source


AS_RECORDED = PacingConfig("recorded", speed=10.0)


def test_recorded_events_are_sent_when_they_were_recorded(studio: Studio) -> None:
    times = np.cumsum(np.random.default_rng(1).exponential(0.5, 300))
    report = studio.run(recorded(times), pacing=AS_RECORDED)
    assert studio.trained == list(range(300))
    assert report.elapsed_s == pytest.approx((times[-1] - times[0]) / 10, abs=0.2)
    assert report.live_s == pytest.approx(report.elapsed_s)


def test_a_producer_listens_while_recorded_events_are_far_apart(studio: Studio) -> None:
    stop = Stop()
    studio.at_turn = lambda _: setattr(stop, "requested", studio.now > 30.0)
    seen: list[Progress] = []
    report = studio.run(
        recorded(np.array([0.0, 1.0, 1e9])), pacing=AS_RECORDED, stop=stop, on_progress=seen.append
    )
    assert report.condition == "INTERRUPTED"
    assert studio.trained == [0, 1]
    assert report.elapsed_s == pytest.approx(30.0, abs=0.5)
    assert len(seen) > 50


def test_a_resumed_recording_goes_on_with_its_own_gaps(studio: Studio) -> None:
    times = np.arange(300.0)
    source = recorded(times)
    studio.run(source, pacing=AS_RECORDED)
    assert studio.learner is not None
    position = studio.learner.batches[9].position
    source.seek(0)
    studio.resume, studio.now = position, 0.0
    report = studio.run(source, pacing=AS_RECORDED)
    assert studio.trained == list(range(position.next_event, 300))
    assert report.elapsed_s == pytest.approx((299 - position.next_event) / 10, abs=0.2)


def test_times_that_fall_abort_the_run_where_they_do(studio: Studio) -> None:
    times = np.arange(300.0)
    times[250:] -= 100.0
    report = studio.run(recorded(times), pacing=AS_RECORDED)
    assert report.condition == "ABORTED"
    assert "expected times that are numbers and never fall" in report.text
    n = len(studio.trained)
    assert studio.trained == list(range(n))
    assert 200 < n <= 250


def test_a_recording_without_times_never_begins(studio: Studio) -> None:
    with pytest.raises(InputError, match=r"pacing.arrivals: expected a source that knows when"):
        studio.run(events(10), pacing=AS_RECORDED)


def test_a_quiet_time_before_a_drop_is_not_dead(studio: Studio) -> None:
    studio.batch_s = 1.0
    studio.wire = WireConfig(batch_events=8, window_batches=1, mode="realtime")
    pacing = PacingConfig("bursts", rate_hz=0.0, peak_hz=4000.0, period_s=10.0, burst_s=0.1)
    report = studio.run(events(1200), pacing=pacing)
    assert report.ledger.totals.busy > 0
    assert report.elapsed_s > 20.0
    assert report.live_s + report.dead_s == pytest.approx(report.elapsed_s)
    assert report.dead_s < 0.5


def test_a_fill_is_taken_up_where_its_event_belongs(studio: Studio) -> None:
    """The second fill begins with the event that comes after the first: not with the rate of a
    fresh fill from wherever the stream is taken up.
    """
    fill = FillConfig(lifetime_s=5.0, stable_s=20.0, turnaround_s=10.0, lumisection_s=1.0)
    pacing = PacingConfig("fill", rate_hz=100.0, fill=fill)
    source = events(490)  # nearly all of the 491 events that a fill brings
    studio.run(source, pacing=pacing)
    assert studio.learner is not None
    late = next(r.position for r in studio.learner.batches if r.position.next_event > 440)
    source.seek(0)
    studio.resume, studio.now = late, 0.0
    report = studio.run(source, pacing=pacing)
    left = 490 - late.next_event
    assert report.elapsed_s > 2 * left / 100.0
