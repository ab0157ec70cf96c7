"""The producer's loop with several consumers in the same process, and a clock of its own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay import producer
from replay.producer import run_producer
from replay.report import ProducerReport
from replay.settings import PacingConfig, ReplayConfig
from streams import (
    ArraySource,
    BatchReceived,
    ConsumerLedger,
    EventSchema,
    Feature,
    Position,
    RunBegan,
    RunEnded,
    Status,
    WireConfig,
)
from streams.consumer_end import ConsumerEnd
from streams.lanes import Lanes, lane_of

SCHEMA = EventSchema((Feature("m", "TeV", 0, 1e9), Feature("y", "", -1, 1)))
N_EVENTS, BATCH = 3000, 8


class Learner:
    """A consumer that trains on what it gets, as fast as it is told to."""

    def __init__(self, wire: WireConfig, resume: Position | None, now: float) -> None:
        self.end = ConsumerEnd(wire, name="learner", resume=resume, expect=SCHEMA, now=now)
        self.ledger = ConsumerLedger()
        self.trained: list[int] = []
        self.positions: list[Position] = []
        self.batch_s = 0.0
        self.ended: RunEnded | None = None
        self._free_at = now
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
            self.trained += [int(event) for event in received.batch.x[:, 0]]
            self.positions.append(received.position)
            self.ledger.account([received.batch_number], trained=len(received.batch))
            self.end.consumed(received.batch_number)
        if self.ended is not None and not self._unread:
            self.end.acknowledge(self.ended.position)
        self.end.tick(now)


class Studio:
    """Puts learners in the place of the socket and keeps the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.wire = WireConfig(batch_events=BATCH, window_batches=16, lanes=2)
        self.learners: list[Learner] = []
        self.batch_s = 0.0
        self.at_turn: Callable[[int], None] = lambda _: None
        self.n_turns = 0
        studio = self

        class Loopback:
            address = "nowhere"

            def __init__(
                self, wire: WireConfig, begin: RunBegan, *, clock: Any, lumisection_events: int
            ) -> None:
                self.lanes = Lanes(wire, begin, clock(), lumisection_events=lumisection_events)
                studio.learners = [studio.learner(lane) for lane in range(wire.lanes)]

            is_alive = property(lambda self: self.lanes.is_alive(studio.now))
            rewind_to = property(lambda self: self.lanes.rewind)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.lanes, name)

            def can_send(self, first_event: int) -> bool:
                return self.lanes.can_send(first_event, studio.now)

            def send(self, batch: Any, counts: Any, truth: Any = None) -> None:
                self.lanes.batch(batch, counts, truth, now=studio.now, sent_ns=0, monotonic_ns=0)

            def poll(self, timeout_s: float) -> None:
                studio.now += max(timeout_s, 1e-5)
                studio.turn(self.lanes)

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                return

        monkeypatch.setattr(producer, "Sender", Loopback)

    def learner(self, lane: int, resume: Position | None = None) -> Learner:
        learner = Learner(replace(self.wire, lane=lane), resume, self.now)
        learner.batch_s = self.batch_s
        return learner

    def turn(self, lanes: Lanes) -> None:
        self.n_turns += 1
        self.at_turn(self.n_turns)
        said = list(lanes.outbox)
        lanes.outbox.clear()
        for lane, learner in enumerate(self.learners):
            peer = b"learner/%d" % lane
            learner.turn([frames for to, frames in said if to == peer], self.now)
            for message in learner.end.outbox:
                lanes.receive(peer, message, self.now)
            learner.end.outbox.clear()
        lanes.tick(self.now)

    def run(self, source: ArraySource, **changes: Any) -> ProducerReport:
        settings: dict[str, Any] = {
            "wire": self.wire,
            "pacing": PacingConfig(),
            "replay": ReplayConfig(lumisection_events=500),
            "clock": lambda: self.now,
        }
        return run_producer(source, **{**settings, **changes})


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Studio:
    return Studio(monkeypatch)


def events(n: int = N_EVENTS, *, one_in: int = 1) -> ArraySource:
    x = np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.float32)
    status = np.full(n, Status.NOT_SELECTED, dtype=np.uint8)
    status[::one_in] = Status.GOOD
    return ArraySource(SCHEMA, x, status=status)


@pytest.mark.parametrize("lanes", [2, 3])
@pytest.mark.parametrize("one_in", [1, 7])
def test_the_lane_of_an_event_is_a_function_of_its_index(
    studio: Studio, lanes: int, one_in: int
) -> None:
    studio.wire = replace(studio.wire, lanes=lanes)
    report = studio.run(events(one_in=one_in))
    assert report.problems == ()
    for lane, learner in enumerate(studio.learners):
        assert learner.trained == [
            event
            for event in range(0, N_EVENTS, one_in)
            if lane_of(event, batch_events=BATCH, lanes=lanes) == lane
        ]
        assert learner.ledger.balance().is_balanced
        assert learner.ended is not None
        assert learner.ended.digest_agrees


def test_what_one_lane_got_is_elsewhere_for_the_others(studio: Studio) -> None:
    report = studio.run(events(one_in=3))
    assert report.ledger.totals.elsewhere == 0
    assert sum(lane.totals.sent for lane in report.lanes) == report.ledger.totals.sent == 1000
    for learner, lane in zip(studio.learners, report.lanes, strict=True):
        document = learner.ledger.document()
        assert document["sent"] + document["elsewhere"] == 1000
        assert document["sent"] == lane.totals.sent == len(learner.trained)


@pytest.mark.parametrize("pacing", [PacingConfig(), PacingConfig("constant", rate_hz=20_000.0)])
def test_a_killed_lane_gets_again_what_is_its_own_and_the_others_nothing(
    studio: Studio, pacing: PacingConfig
) -> None:
    studio.run(events(), pacing=pacing)
    undisturbed = [learner.trained for learner in studio.learners]
    killed: list[Learner] = []

    def kill(_: int) -> None:
        learner = studio.learners[0]
        if not killed and len(learner.trained) > 500:
            killed.append(learner)
            position = learner.positions[len(learner.positions) // 2]
            studio.learners[0] = studio.learner(0, position)

    studio.at_turn = kill
    report = studio.run(events(), pacing=pacing)
    assert report.n_rewinds >= 1
    assert report.problems == ()
    assert studio.learners[1].trained == undisturbed[1]
    assert studio.learners[1].end.n_duplicates == 0
    first, again = killed[0].trained, studio.learners[0].trained
    half = first[: first.index(again[0])]
    assert half + again == undisturbed[0]


def test_a_stopped_run_ends_at_the_same_event_in_all_lanes(studio: Studio) -> None:
    class Stop:
        requested = False
        aborted = False

    stop = Stop()
    studio.at_turn = lambda n: setattr(stop, "requested", n > 100)
    report = studio.run(events(100_000), stop=stop)
    assert report.condition == "INTERRUPTED"
    assert report.is_acknowledged
    assert report.problems == ()
    ends = {learner.end.position.next_event for learner in studio.learners}
    assert ends == {report.ledger.next_event}


def test_in_realtime_mode_a_slow_lane_leaves_more_to_the_other(studio: Studio) -> None:
    studio.wire = replace(studio.wire, mode="realtime", window_batches=2)

    def slow(n: int) -> None:
        studio.learners[0].batch_s = 0.05
        studio.learners[1].batch_s = 0.005

    studio.at_turn = slow
    report = studio.run(events(), pacing=PacingConfig("constant", rate_hz=1500.0))
    assert report.problems == ()
    slower, faster = (len(learner.trained) for learner in studio.learners)
    assert 0 < slower < faster
    totals = report.ledger.totals
    assert totals.sent == slower + faster
    assert totals.sent + totals.busy == N_EVENTS
    assert all(learner.ledger.balance().is_balanced for learner in studio.learners)


@given(
    lanes=st.integers(1, 3),
    batch_s=st.floats(0.0, 0.1),
    rate_hz=st.floats(100.0, 20_000.0),
    arrivals=st.sampled_from(["constant", "poisson"]),
)
@settings(max_examples=25, deadline=None)
def test_live_and_dead_time_are_the_elapsed_time_and_every_lumisection_balances(
    lanes: int, batch_s: float, rate_hz: float, arrivals: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        studio = Studio(patch)
        studio.wire = replace(studio.wire, mode="realtime", window_batches=2, lanes=lanes)
        studio.batch_s = batch_s
        report = studio.run(events(600, one_in=2), pacing=PacingConfig(arrivals, rate_hz=rate_hz))
    assert report.problems == ()
    assert report.live_s >= 0
    assert report.dead_s >= 0
    assert report.live_s + report.dead_s == pytest.approx(report.elapsed_s, abs=1e-6)
    for row in report.ledger.rows:
        assert row.counts.discrepancy == 0
        assert min(row.live_ns, row.dead_ns) >= 0
    for learner in studio.learners:
        assert learner.ledger.balance().is_balanced
        assert learner.ledger.document()["lost"] == 0
