"""Both sides against each other, with a network that loses, repeats, reorders and damages.

The number of cases is `ONLINEFLOWS_PROTOCOL_CASES`; `tests/benchmarks/protocol_cases.py` runs any
number of them and prints what it found.
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from streams import (
    Batch,
    BatchReceived,
    ConsumerLedger,
    Counts,
    EventSchema,
    Feature,
    Mode,
    Position,
    ProtocolError,
    RunBegan,
    RunEnded,
    WireConfig,
)
from streams import lanes as lanes_module
from streams.codec import decode_from_consumer
from streams.consumer_end import ConsumerEnd
from streams.lanes import Lanes, block_events
from streams.messages import Credit

SCHEMA = EventSchema((Feature("m", "TeV", 0, 1e9), Feature("y", "", -1, 1)))
N_EVENTS, BATCH, LUMISECTION = 61, 4, 13
BLOCK_BATCHES = 2
LARGEST_RANGE = 9
WIRE = WireConfig(window_batches=3, heartbeat_s=1.0, connect_timeout_s=1e9)
BEGIN = RunBegan("0f" * 16, 7, SCHEMA, "lossless", batch_events=BATCH, n_events=N_EVENTS)


def is_dense(event: int) -> bool:
    """Whether an event of the dense stream is good."""
    return event % 11 not in {5, 6}


def is_sparse(event: int) -> bool:
    """Whether an event of the sparse stream is good: one in five, and a long stretch of none."""
    return event % 5 == 3 and not 14 <= event < 40


class Producer:
    """A producer's loop in miniature: every event index is a pure function of itself."""

    def __init__(self, wire: WireConfig, is_good: Callable[[int], bool], now: float) -> None:
        self.wire = wire
        self.is_good = is_good
        begin = replace(BEGIN, mode=wire.mode)
        self.lanes = Lanes(wire, begin, now, lumisection_events=LUMISECTION)
        self.is_stopped = False
        self.has_ended = False
        self.has_begun = False

    def step(self, now: float) -> None:
        if not self.has_begun:
            self.has_begun = self.lanes.is_connected
        elif self.lanes.rewind is not None:
            self.lanes.rewound()
            self.has_ended = False
        elif not self.has_ended:
            self._send(now)

    def _send(self, now: float) -> None:
        first, ending = self.lanes.next_event, self.lanes.ending
        if self.lanes.ledger.open_counts.generated and self._closes_at(first):
            self.lanes.end_lumisection((first - 1) // LUMISECTION + 1)
        elif ending is not None and ending.event <= first:
            self._end_run(ending.condition)
        elif first == N_EVENTS:
            self._end_run("GOOD")
        elif self.stops_here:
            self._end_run("INTERRUPTED")
        else:
            self._send_events(first, now)

    def _closes_at(self, event: int) -> bool:
        ending = self.lanes.ending
        ends_here = ending is not None and ending.event <= event
        return event % LUMISECTION == 0 or event == N_EVENTS or ends_here or self.stops_here

    @property
    def stops_here(self) -> bool:
        """Whether a stop was asked for and all lanes have come to the same event."""
        return self.is_stopped and self.lanes.ending is None and not self.lanes.stops

    def _end_run(self, condition: Any) -> None:
        self.lanes.end_run(condition)
        self.has_ended = True

    def _send_events(self, first: int, now: float) -> None:
        lumisection = first // LUMISECTION + 1
        reach = min(first + LARGEST_RANGE, lumisection * LUMISECTION, N_EVENTS)
        if self.wire.lanes > 1 and self.wire.mode == "lossless":
            block = block_events(BATCH)
            reach = min(reach, (first // block + 1) * block)
        reach = min([reach, *self.lanes.stops])
        good = [e for e in range(first, reach) if self.is_good(e)][:BATCH]
        end = good[-1] + 1 if len(good) == BATCH else reach
        n, n_good = end - first, len(good)
        counts = Counts(generated=n, sent=n_good, not_selected=n - n_good)
        if not good:
            self.lanes.gap(first, end, counts, lumisection)
        elif self.lanes.can_send(first, now):
            x = np.stack([good, np.zeros(n_good)], axis=1).astype(np.float32)
            bits = np.isin(np.arange(first, end), good)
            present = np.packbits(bits, bitorder="little") if n_good < n else None
            batch = Batch(x, first, end, 7, lumisection, present)
            self.lanes.batch(batch, counts, None, now=now, sent_ns=0, monotonic_ns=0)
        elif self.wire.mode == "realtime":
            self.lanes.gap(first, end, counts.dropped(), lumisection)


class Consumer:
    """A learner in miniature: keeps what it has seen, checkpoints through JSON."""

    def __init__(self, wire: WireConfig, checkpoint: str | None, now: float) -> None:
        state: dict[str, Any] = json.loads(checkpoint) if checkpoint else {}
        position = Position.from_dict(state["position"]) if state else None
        self.end = ConsumerEnd(wire, name="learner", resume=position, expect=SCHEMA, now=now)
        self.peer = b"learner/%d" % wire.lane
        self.ledger = ConsumerLedger.from_dict(state["ledger"]) if state else ConsumerLedger()
        self.seen: list[int] = state.get("seen", [])
        self.unread: list[BatchReceived] = []
        self.ended: RunEnded | None = None

    def receive(self, frames: list[bytes], now: float) -> None:
        for incoming in self.end.receive(frames, now):
            self.ledger.observe(incoming)
            if isinstance(incoming, BatchReceived):
                self.unread.append(incoming)
            elif isinstance(incoming, RunEnded):
                self.ended = incoming

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
    """All ends and a network that does its worst; in the end it behaves, and all must be well."""

    n_cases = 0
    n_steps = 0

    @initialize(
        mode=st.sampled_from(["lossless", "realtime"]),
        n_lanes=st.integers(1, 3),
        is_good=st.sampled_from([is_dense, is_sparse]),
    )
    def start(self, mode: Mode, n_lanes: int, is_good: Callable[[int], bool]) -> None:
        Wire.n_cases += 1
        self.block_batches = lanes_module.BLOCK_BATCHES
        lanes_module.BLOCK_BATCHES = BLOCK_BATCHES
        self.now = 0.0
        self.is_known = True
        """Whether someone knows what became of each event: what a realtime producer did not tell
        before it was killed counts as sent and lost, whether it was good or not."""
        self.wire = replace(WIRE, mode=mode, lanes=n_lanes)
        self.is_good = is_good
        self.producer = Producer(self.wire, is_good, self.now)
        self.consumers = [self.consumer_of(lane, None) for lane in range(n_lanes)]
        self.saved: list[str | None] = [None] * n_lanes
        self.promised = [0] * n_lanes
        self.to_consumer: list[tuple[bytes, list[bytes]]] = []
        self.to_producer: list[tuple[bytes, list[bytes]]] = []
        self.collect()

    @property
    def is_lossless(self) -> bool:
        return self.wire.mode == "lossless"

    @property
    def can_be_continued(self) -> bool:
        """Whether a new producer can take over: not where a consumer has left after its end."""
        is_followed = all(consumer.ended is None for consumer in self.consumers)
        return is_followed and (self.is_lossless or self.wire.lanes == 1)

    def consumer_of(self, lane: int, checkpoint: str | None) -> Consumer:
        return Consumer(replace(self.wire, lane=lane), checkpoint, self.now)

    # --- the network -----------------------------------------------------------------------

    def collect(self) -> None:
        Wire.n_steps += 1
        self.producer.lanes.tick(self.now)
        self.to_consumer += self.producer.lanes.outbox
        self.producer.lanes.outbox.clear()
        for lane, consumer in enumerate(self.consumers):
            consumer.end.tick(self.now)
            for frames in consumer.end.outbox:
                self.to_producer.append((consumer.peer, frames))
                message = decode_from_consumer(frames)
                if isinstance(message, Credit):
                    self.promised[lane] = max(self.promised[lane], message.up_to)
            consumer.end.outbox.clear()

    def deliver(self, queue: list[tuple[bytes, list[bytes]]], index: int) -> None:
        peer, frames = queue.pop(index)
        if queue is self.to_producer:
            self.producer.lanes.receive(peer, frames, self.now)
        else:
            consumer = next(c for c in self.consumers if c.peer == peer)
            consumer.receive(frames, self.now)
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
        is_upward = data.draw(st.booleans())
        full = [queue for queue in (self.to_consumer, self.to_producer) if queue]
        queue = full[-1] if is_upward else full[0]
        index = data.draw(st.integers(0, len(queue) - 1))
        match data.draw(st.sampled_from(["drop", "repeat", "late", "damage"])):
            case "drop":
                queue.pop(index)
            case "repeat":
                queue.append(queue[index])
            case "late":
                self.deliver(queue, index)
            case "damage":
                peer, frames = queue[index]
                if len(frames) > 1:
                    which = data.draw(st.integers(1, len(frames) - 1))
                    damaged = bytearray(frames[which])
                    at = data.draw(st.integers(0, len(damaged) - 1))
                    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
                    frames = [*frames[:which], bytes(damaged), *frames[which + 1 :]]
                    queue[index] = peer, frames

    # --- the daemons -----------------------------------------------------------------------

    @rule(lane=st.integers(0, 2))
    def train(self, lane: int) -> None:
        self.consumers[lane % len(self.consumers)].train()
        self.collect()

    @rule(dt=st.sampled_from([0.3, 1.1, 7.0]))
    def wait(self, dt: float) -> None:
        self.now += dt
        self.collect()

    @rule(lane=st.integers(0, 2))
    def checkpoint(self, lane: int) -> None:
        lane %= len(self.consumers)
        self.saved[lane] = self.consumers[lane].checkpoint()
        self.collect()

    @rule(lane=st.integers(0, 2), politely=st.booleans())
    def kill_consumer(self, lane: int, politely: bool) -> None:
        lane %= len(self.consumers)
        if politely:
            self.consumers[lane].end.leave()
            self.collect()
        self.consumers[lane] = self.consumer_of(lane, self.saved[lane])
        self.collect()

    @precondition(lambda self: self.can_be_continued)
    @rule(arrives=st.booleans())
    def kill_producer(self, arrives: bool) -> None:
        self.is_known = self.is_lossless
        # A connection dies with its producer: what a consumer had sent is lost; what it had not
        # received yet it reads before it greets the successor, or never. One that is told of an
        # end has left, and needs no successor.
        while self.to_consumer and arrives and self.producer.lanes.ending is None:
            self.deliver(self.to_consumer, 0)
        self.to_consumer.clear()
        self.to_producer.clear()
        self.producer = Producer(self.wire, self.is_good, self.now)
        self.collect()

    @rule()
    def stop_producer(self) -> None:
        self.producer.is_stopped = True

    # --- what must always be so ------------------------------------------------------------

    @invariant()
    def nothing_is_trained_on_twice_nor_sent_without_credit(self) -> None:
        seen = [event for consumer in self.consumers for event in consumer.seen]
        assert len(seen) == len(set(seen))
        for consumer, promised in zip(self.consumers, self.promised, strict=True):
            assert all(received.batch_number < promised for received in consumer.unread)
        assert self.producer.lanes.ledger.balance().is_balanced

    def teardown(self) -> None:
        if not hasattr(self, "consumers"):
            return
        try:
            self.settle()
            self.check()
        finally:
            lanes_module.BLOCK_BATCHES = self.block_batches

    def settle(self) -> None:
        """The network behaves from now on."""
        for _ in range(4000):
            if self.producer.lanes.is_acknowledged:
                return
            self.now += 0.2
            self.producer.step(self.now)
            self.collect()
            for queue in (self.to_producer, self.to_consumer):
                while queue:
                    self.deliver(queue, 0)
            for consumer in self.consumers:
                consumer.train()
                if consumer.ended is not None:
                    consumer.checkpoint()
        stands = [consumer.end.position for consumer in self.consumers]
        raise AssertionError(f"the run came to {self.producer.lanes.next_event}, no end; {stands}")

    def check(self) -> None:
        lanes = self.producer.lanes
        n_events = lanes.next_event
        assert n_events == N_EVENTS or self.producer.is_stopped
        assert lanes.balance().is_balanced, lanes.balance()
        good = [event for event in range(n_events) if self.is_good(event)]
        n_sent = n_lost = 0
        for consumer, ledger in zip(self.consumers, lanes.ledgers, strict=True):
            balance = consumer.ledger.balance()
            assert balance.is_balanced, balance
            document = consumer.ledger.document()
            assert document["trained"] == len(consumer.seen)
            assert document["sent"] == document["trained"] + document["lost"]
            n_good = document["sent"] + document["elsewhere"] + document["busy"]
            assert n_good == len(good) or (n_good > len(good) and not self.is_known)
            assert document["not_selected"] == n_events - n_good
            for name in ("generated", "sent", "elsewhere", "busy"):
                assert document[name] == getattr(ledger.totals, name)
            n_sent += document["sent"]
            n_lost += document["lost"]
            assert consumer.ledger.has_ended
            if consumer.ended is not None:  # otherwise it was killed after its last checkpoint
                # Where something was lost there is no digest to compare, but never another one.
                agrees = consumer.ended.digest_agrees
                assert agrees is True or (agrees is None and not self.is_lossless)
            self.check_lumisections(consumer, n_events)
        assert n_sent == lanes.ledger.totals.sent
        seen = sorted(event for consumer in self.consumers for event in consumer.seen)
        if self.is_lossless:
            assert seen == good
        else:
            assert len(seen) == n_sent - n_lost
            assert set(seen) <= set(good)

    def check_lumisections(self, consumer: Consumer, n_events: int) -> None:
        for row in consumer.ledger.document()["lumisections"]:
            first = (row["lumisection"] - 1) * LUMISECTION
            indices = range(first, min(first + LUMISECTION, n_events))
            trained = [event for event in consumer.seen if event in indices]
            n_good = sum(map(self.is_good, indices))
            assert row["generated"] == len(indices)
            assert row["trained"] == len(trained)
            assert row["sent"] == row["trained"] + row["lost"]
            n_told = row["sent"] + row["elsewhere"] + row["busy"]
            assert n_told == n_good or (n_told > n_good and not self.is_known)


def cases(n: int, phases: tuple[Phase, ...] = tuple(Phase)) -> settings:
    """Returns how many cases are tried, each of up to 40 steps before the network settles."""
    return settings(
        max_examples=n,
        stateful_step_count=40,
        deadline=None,
        phases=phases,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def test_whatever_the_network_does_every_event_arrives_once_or_is_counted() -> None:
    run_state_machine_as_test(
        Wire, settings=cases(int(os.environ.get("ONLINEFLOWS_PROTOCOL_CASES", "60")))
    )


@pytest.mark.slow
def test_whatever_the_network_does_in_more_cases() -> None:
    run_state_machine_as_test(Wire, settings=cases(1000))


def test_a_position_survives_json() -> None:
    position = Consumer(WIRE, None, 0.0).end.position
    assert Position.from_dict(json.loads(json.dumps(position.to_dict()))) == position


@pytest.mark.parametrize("key", ["epoch", "next_event", "run", "digest"])
def test_a_position_without_a_key_is_refused(key: str) -> None:
    document = Consumer(WIRE, None, 0.0).end.position.to_dict()
    del document[key]
    with pytest.raises(ProtocolError, match="expected a position"):
        Position.from_dict(document)
