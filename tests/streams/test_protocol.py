"""Both ends against each other, with a network that loses, repeats, reorders and damages."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams import (
    Batch,
    BatchReceived,
    ConsumerLedger,
    Counts,
    EventSchema,
    Feature,
    Position,
    ProducerLedger,
    ProtocolError,
    RunBegan,
    RunEnded,
    WireConfig,
)
from streams.consumer_end import ConsumerEnd
from streams.producer_end import ProducerEnd

SCHEMA = EventSchema((Feature("m", "TeV", 0, 1e9), Feature("y", "", -1, 1)))
N_EVENTS, BATCH, LUMISECTION = 61, 4, 13
WIRE = WireConfig(window_batches=3, heartbeat_s=1.0, connect_timeout_s=1e9)
BEGIN = RunBegan("0f" * 16, 7, SCHEMA, "lossless", batch_events=BATCH, n_events=N_EVENTS)
PEER = b"learner"


def is_dense(event: int) -> bool:
    """Whether an event of the dense stream is good."""
    return event % 11 not in {5, 6}


def is_sparse(event: int) -> bool:
    """Whether an event of the sparse stream is good: one in five, and a long stretch of none."""
    return event % 5 == 3 and not 14 <= event < 40


LARGEST_RANGE = 9


class Producer:
    """A producer's loop in miniature: every event index is a pure function of itself."""

    def __init__(self, mode: str, is_good: Callable[[int], bool], now: float) -> None:
        self.mode = mode
        self.is_good = is_good
        self.end = ProducerEnd(replace(WIRE, mode=mode), replace(BEGIN, mode=mode), now)
        self.ledger = ProducerLedger()
        self.has_ended = False

    def step(self, now: float) -> None:
        if self.end.rewind is not None:
            position = self.end.rewind
            self.ledger.rewind(position, position.closed_event // LUMISECTION + 1)
            self.end.rewound()
            self.has_ended = False
        elif not self.has_ended:
            self._send(now)

    def _send(self, now: float) -> None:
        first = self.ledger.next_event
        lumisection_open = self.ledger.open_counts.generated
        if lumisection_open and (first % LUMISECTION == 0 or first == N_EVENTS):
            lumisection = (first - 1) // LUMISECTION + 1
            self.end.end_lumisection(lumisection, self.ledger.close(lumisection))
        elif first == N_EVENTS:
            self.end.end_run("GOOD", self.ledger.totals)
            self.has_ended = True
        else:
            self._send_events(first, now)

    def _send_events(self, first: int, now: float) -> None:
        lumisection = first // LUMISECTION + 1
        reach = min(first + LARGEST_RANGE, lumisection * LUMISECTION, N_EVENTS)
        good = [e for e in range(first, reach) if self.is_good(e)][:BATCH]
        end = good[-1] + 1 if len(good) == BATCH else reach
        n, n_good = end - first, len(good)
        counts = Counts(generated=n, sent=n_good, not_selected=n - n_good)
        if not good:
            self.end.gap(first, end, counts, lumisection)
        elif self.end.has_credit(now):
            x = np.stack([good, np.zeros(n_good)], axis=1).astype(np.float32)
            bits = np.isin(np.arange(first, end), good)
            present = np.packbits(bits, bitorder="little") if n_good < n else None
            self.end.batch(Batch(x, first, end, 7, lumisection, present), counts, None, 0, 0)
        elif self.mode == "realtime":
            counts = counts.dropped()
            self.end.gap(first, end, counts, lumisection)
        else:
            return
        self.ledger.record(first, end, counts)


class Consumer:
    """A learner in miniature: keeps what it has seen, checkpoints through JSON."""

    def __init__(self, mode: str, checkpoint: str | None, now: float) -> None:
        state: dict[str, Any] = json.loads(checkpoint) if checkpoint else {}
        position = Position.from_dict(state["position"]) if state else None
        self.end = ConsumerEnd(
            replace(WIRE, mode=mode), name="learner", resume=position, expect=SCHEMA, now=now
        )
        self.ledger = ConsumerLedger.from_dict(state["ledger"]) if state else ConsumerLedger()
        self.seen: list[int] = state.get("seen", [])
        self.unread: list[BatchReceived] = []
        self.has_ended = False

    def receive(self, frames: list[bytes], now: float) -> None:
        for incoming in self.end.receive(frames, now):
            self.ledger.observe(incoming)
            if isinstance(incoming, BatchReceived):
                self.unread.append(incoming)
            elif isinstance(incoming, RunEnded):
                self.has_ended = True

    def train(self) -> None:
        for received in self.unread:
            events = received.batch.event_indices().tolist()
            assert received.batch.x[:, 0].tolist() == events
            self.seen += events
            self.end.consumed(received.batch_number)
            self.ledger.account([received.batch_number], trained=len(received.batch))
        self.unread.clear()

    def checkpoint(self) -> str:
        self.train()
        document = {
            "position": self.end.position.to_dict(),
            "ledger": self.ledger.to_dict(),
            "seen": self.seen,
        }
        self.end.acknowledge(self.end.position)
        return json.dumps(document)


class Wire(RuleBasedStateMachine):
    """Two ends and a network that does its worst; in the end it behaves, and all must be well."""

    mode = "lossless"
    is_good = staticmethod(is_dense)

    @initialize()
    def start(self) -> None:
        self.now = 0.0
        self.producer = Producer(self.mode, self.is_good, self.now)
        self.consumer = Consumer(self.mode, None, self.now)
        self.saved: str | None = None
        self.to_consumer: list[list[bytes]] = []
        self.to_producer: list[list[bytes]] = []

    def collect(self) -> None:
        self.producer.end.tick(self.now)
        self.consumer.end.tick(self.now)
        self.to_consumer += [frames for _, frames in self.producer.end.outbox]
        self.producer.end.outbox.clear()
        self.to_producer += list(self.consumer.end.outbox)
        self.consumer.end.outbox.clear()

    def deliver(self, queue: list[list[bytes]], index: int) -> None:
        frames = queue.pop(index)
        if queue is self.to_consumer:
            self.consumer.receive(frames, self.now)
        else:
            self.producer.end.receive(PEER, frames, self.now)
        self.collect()

    @rule(n=st.integers(1, 8))
    def produce(self, n: int) -> None:
        for _ in range(n):
            self.producer.step(self.now)
        self.collect()

    @rule(n=st.integers(1, 12))
    def flow(self, n: int) -> None:
        for _ in range(n):
            for queue in (self.to_producer, self.to_consumer):
                if queue:
                    self.deliver(queue, 0)

    @precondition(lambda self: self.to_consumer or self.to_producer)
    @rule(data=st.data())
    def meddle(self, data: st.DataObject) -> None:
        queue = self.to_consumer or self.to_producer
        if self.to_producer and data.draw(st.booleans()):
            queue = self.to_producer
        index = data.draw(st.integers(0, len(queue) - 1))
        match data.draw(st.sampled_from(["drop", "repeat", "late", "damage"])):
            case "drop":
                queue.pop(index)
            case "repeat":
                queue.append(queue[index])
            case "late":
                self.deliver(queue, index)
            case "damage":
                raw = range(1, len(queue[index]))
                if raw and queue is self.to_consumer:
                    which = data.draw(st.sampled_from(raw))
                    frames = [bytearray(frame) for frame in queue[index]]
                    at = data.draw(st.integers(0, len(frames[which]) - 1))
                    frames[which][at] ^= 1 << data.draw(st.integers(0, 7))
                    queue[index] = [bytes(frame) for frame in frames]

    @rule()
    def train(self) -> None:
        self.consumer.train()
        self.collect()

    @rule(dt=st.sampled_from([0.3, 1.1, 7.0]))
    def wait(self, dt: float) -> None:
        self.now += dt
        self.collect()

    @rule()
    def checkpoint(self) -> None:
        self.saved = self.consumer.checkpoint()
        self.collect()

    @rule()
    def kill_consumer(self) -> None:
        self.consumer = Consumer(self.mode, self.saved, self.now)
        self.collect()

    @invariant()
    def nothing_is_seen_twice(self) -> None:
        if hasattr(self, "consumer"):
            assert len(self.consumer.seen) == len(set(self.consumer.seen))

    def settle(self) -> None:
        """The network behaves from now on."""
        for _ in range(4000):
            if self.producer.end.is_acknowledged:
                return
            self.now += 0.2
            self.producer.step(self.now)
            self.collect()
            for queue in (self.to_producer, self.to_consumer):
                while queue:
                    self.deliver(queue, 0)
            self.consumer.train()
            if self.consumer.has_ended:
                self.saved = self.consumer.checkpoint()
        pytest.fail("the run did not come to its end")

    def teardown(self) -> None:
        if not hasattr(self, "consumer"):
            return
        self.settle()
        balance = self.consumer.ledger.balance()
        assert balance.is_balanced, balance
        self.check()

    def check(self) -> None:
        assert self.consumer.seen == [e for e in range(N_EVENTS) if self.is_good(e)]
        document = self.consumer.ledger.document()
        assert document["sent"] == document["trained"] == len(self.consumer.seen)
        assert document["not_selected"] == N_EVENTS - document["sent"]
        assert self.producer.ledger.balance().is_balanced


class LosslessWire(Wire):
    """In lossless mode everything arrives once and in order, whoever is killed."""

    @rule()
    def kill_producer(self) -> None:
        self.producer = Producer(self.mode, self.is_good, self.now)
        self.collect()


class RealtimeWire(Wire):
    """In realtime mode nothing is waited for, and everything is counted."""

    mode = "realtime"

    def check(self) -> None:
        document = self.consumer.ledger.document()
        assert document["trained"] == len(self.consumer.seen)
        assert document["sent"] == document["trained"] + document["lost"]
        n_good = sum(map(self.is_good, range(N_EVENTS)))
        assert document["sent"] + document["busy"] == n_good
        assert document["not_selected"] == N_EVENTS - n_good
        assert self.producer.ledger.balance().is_balanced


CHAOS = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLosslessWire = LosslessWire.TestCase
TestLosslessWire.settings = CHAOS
TestRealtimeWire = RealtimeWire.TestCase
TestRealtimeWire.settings = CHAOS


class SparseLosslessWire(LosslessWire):
    """The same where most events are not selected."""

    is_good = staticmethod(is_sparse)


class SparseRealtimeWire(RealtimeWire):
    """The same where most events are not selected."""

    is_good = staticmethod(is_sparse)


TestSparseLosslessWire = SparseLosslessWire.TestCase
TestSparseLosslessWire.settings = CHAOS
TestSparseRealtimeWire = SparseRealtimeWire.TestCase
TestSparseRealtimeWire.settings = CHAOS


def test_a_position_survives_json() -> None:
    position = Consumer("lossless", None, 0.0).end.position
    assert Position.from_dict(json.loads(json.dumps(position.to_dict()))) == position


@pytest.mark.parametrize("key", ["epoch", "next_event", "run", "digest"])
def test_a_position_without_a_key_is_refused(key: str) -> None:
    document = Consumer("lossless", None, 0.0).end.position.to_dict()
    del document[key]
    with pytest.raises(ProtocolError, match="expected a position"):
        Position.from_dict(document)
