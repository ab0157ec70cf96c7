"""What an operator asks of a consumer, without a wire."""

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from onlineflows.errors import SnapshotError
from onlineflows.online.consumer import Consumer, ConsumerConfig
from onlineflows.online.operator import TELL_S, Operator
from onlineflows.online.rundir import RunDirectory
from onlineflows.online.snapshot import read_snapshot
from onlineflows.settings import (
    BufferConfig,
    FlowConfig,
    LearnerConfig,
    PreprocessConfig,
    TrainerConfig,
)
from streams import Batch, EventSchema, Feature
from streams.control import Reply, Request
from streams.messages import Counts
from streams.protocol import BatchReceived, Position, RunBegan
from streams.telemetry import ConsumerTelemetry

EPOCH = "ab" * 16
SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", 0.0, 1.0)))
LEARNER = LearnerConfig(
    preprocess=PreprocessConfig(fit_events=100),
    flow=FlowConfig(blocks=1, hidden=4, bins=2),
    buffer=BufferConfig(capacity=64),
    trainer=TrainerConfig(batch_size=32, engine="torch"),
)


class Wire:
    position = Position(EPOCH, 0, 0)
    window = (1, 16)
    refusals = MappingProxyType({"header": 2})

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Desk:
    """A console whose requests the test writes."""

    def __init__(self) -> None:
        self.waiting: list[Request] = []
        self.replies: list[Reply] = []
        self.published: list[ConsumerTelemetry] = []

    def requests(self) -> list[tuple[bytes, Request]]:
        asked, self.waiting = self.waiting, []
        return [(b"", request) for request in asked]

    def answer(self, peer: bytes, reply: Reply) -> None:
        self.replies.append(reply)

    def publish(self, document: ConsumerTelemetry) -> None:
        self.published.append(document)


class Rig:
    """A consumer, its operator, and a clock that the test moves."""

    def __init__(self, folder) -> None:
        self.now_s = 0.0
        self.desk = Desk()
        self.directory = RunDirectory(folder / "run")
        self.directory.prepare("fresh")
        day = datetime(2026, 1, 1, tzinfo=UTC)
        config = ConsumerConfig(name="test", learner=LEARNER)
        self.consumer = Consumer(config, self.directory, clock=lambda: self.now_s, now=lambda: day)
        self.operator = Operator(self.desk, clock=lambda: self.now_s, wall=lambda: 5.0)  # type: ignore[arg-type]
        self.wire: Any = Wire()

    def learn(self, n: int) -> None:
        x = np.random.default_rng(1).uniform(0.1, 0.9, (n, 2)).astype(np.float32)
        self.consumer.handle(RunBegan(EPOCH, 1, SCHEMA, "lossless", n_events=n), self.wire)
        here = Position(EPOCH, 1, n)
        batch = Batch(x, 0, n, 1, 3)
        self.consumer.handle(BatchReceived(batch, 0, Counts(n, n), None, 0, here), self.wire)

    def ask(self, request: Request) -> Reply:
        self.desk.waiting = [request]
        self.now_s += 10.0
        self.operator.attend(self.consumer, self.wire)
        return self.desk.replies[-1]


@pytest.fixture
def rig(tmp_path) -> Rig:
    return Rig(tmp_path)


def test_a_snapshot_is_published_at_once_and_holds_what_was_learned(rig: Rig) -> None:
    rig.learn(400)
    reply = rig.ask(Request("snapshot-now"))
    assert reply.ok
    path = rig.directory.snapshots / reply.text.removeprefix("published ")
    assert read_snapshot(path).manifest.n_seen == 400
    assert not read_snapshot(path).manifest.final


def test_two_snapshots_at_once_are_two(rig: Rig) -> None:
    rig.learn(400)
    first, second = rig.ask(Request("snapshot-now")), rig.ask(Request("snapshot-now"))
    assert first.ok
    assert second.ok
    assert first.text != second.text


@pytest.mark.parametrize("n", [0, 50])
def test_before_there_is_a_density_no_snapshot_is_published(rig: Rig, n: int) -> None:
    if n:
        rig.learn(n)
    reply = rig.ask(Request("snapshot-now"))
    assert not reply.ok
    assert "no density yet" in reply.text


def test_a_disk_that_refuses_is_told_and_costs_no_run(rig: Rig, monkeypatch) -> None:
    rig.learn(400)

    def refuse() -> None:
        raise SnapshotError("the disk is full")

    monkeypatch.setattr(rig.consumer, "publish_now", refuse)
    assert rig.ask(Request("snapshot-now")) == Reply(False, "the disk is full")


def test_a_stop_is_remembered(rig: Rig) -> None:
    assert rig.ask(Request("stop")).ok
    assert rig.operator.wants_stop


def test_what_a_producer_does_is_refused(rig: Rig) -> None:
    reply = rig.ask(Request("pause"))
    assert (reply.ok, "the consumer understands status" in reply.text) == (False, True)


def test_a_status_says_where_the_consumer_stands(rig: Rig) -> None:
    assert rig.ask(Request("status")).status["state"] == "waiting"
    rig.learn(400)
    status = rig.ask(Request("status")).status
    assert (status["state"], status["n_seen"], status["n_events"]) == ("running", 400, 400)
    assert (status["lumisection"], status["unread_batches"]) == (3, 1)
    assert status["refusals"] == {"header": 2}
    assert status["buffer_fill"] == 1.0
    assert [m["name"] for m in status["marginals"]] == ["m", "t"]


def test_telemetry_is_published_as_often_as_it_should_be(rig: Rig) -> None:
    for _ in range(100):
        rig.now_s += TELL_S / 10
        rig.operator.attend(rig.consumer, rig.wire)
    assert [t.sequence for t in rig.desk.published] == list(range(len(rig.desk.published)))
    assert 9 <= len(rig.desk.published) <= 11


def test_nobody_is_told_where_nobody_can_ask(rig: Rig) -> None:
    alone = Operator(None, clock=lambda: 0.0, wall=lambda: 0.0)
    alone.attend(rig.consumer, rig.wire)
    alone.publish(rig.consumer, rig.wire)
    assert not alone.wants_stop
