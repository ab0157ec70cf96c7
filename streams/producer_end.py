"""The producer's end of one lane as a state machine: frames in, frames and decisions out.

It opens no socket and has no clock: whoever drives it passes ``now`` in seconds of any clock that
never goes back, delivers what arrives to `receive`, calls `tick` once it has, and sends what it
finds in `outbox`. The rules are in `streams.protocol`; what it has said is kept by
`streams.outgoing`, the ends of several lanes by `streams.lanes`.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from streams.batch import Batch, Truth
from streams.codec import Frames, decode_from_consumer, decode_from_producer, encode, encode_begin
from streams.errors import MessageError, ProtocolError, RefusedError, TransportError
from streams.greeting import is_consistent, refusal_of
from streams.messages import (
    VERSION,
    Bye,
    Condition,
    Counts,
    Credit,
    FromConsumer,
    FromProducer,
    Hello,
    Nack,
    Pong,
    Refusal,
    Stand,
    Welcome,
)
from streams.outgoing import Outgoing
from streams.protocol import SILENT_HEARTBEATS, Position, RunBegan
from streams.settings import WireConfig

NAMELESS = b"\0"
"""First byte of names that ZeroMQ invents, for sockets without one, and for a connection that the
same socket has replaced by a newer one: what was still waiting in it comes from nobody any more."""

KEPT_REPLACED = 64
"""Consumers that are remembered because another one of the same name has taken their place."""


@dataclass(slots=True)
class _Consumer:
    """What the producer knows of its consumer."""

    peer: bytes
    name: str
    truth: bool
    last_heard: float
    up_to: int = 0
    acknowledged: int = 0
    trained: int = 0


class ProducerEnd:
    """One producer's side of one lane of one epoch.

    Args:
        wire: mode, lanes, heartbeat and time limit.
        begin: the run to announce.
        now: the time.
        lane: which lane it is.
        outbox: where to put what is to be sent; a new one by default.

    Raises:
        MessageError: the run has a number that is out of range, or its configuration is not made
            of plain JSON types.

    Attributes:
        outbox: (peer, frames) to be sent, in order.
        rewind: position that the stream must be moved back to, until `rewound` is called.
        malformed: messages that could not be understood, by reason, so far.
    """

    def __init__(
        self,
        wire: WireConfig,
        begin: RunBegan,
        now: float,
        *,
        lane: int = 0,
        outbox: deque[tuple[bytes, Frames]] | None = None,
    ) -> None:
        self.outbox: deque[tuple[bytes, Frames]] = deque() if outbox is None else outbox
        self.rewind: Position | None = None
        self.malformed: Counter[str] = Counter()
        self._wire = wire
        self._lane = lane
        self._begin = begin
        self._begin_frames = encode_begin(begin)
        decode_from_producer(self._begin_frames)  # what no consumer would accept fails here
        self._epoch = bytes.fromhex(begin.epoch)
        self._consumer: _Consumer | None = None
        self._replaced: deque[bytes] = deque(maxlen=KEPT_REPLACED)
        self._alone_since = now
        self._last_ping = now
        self._said = Outgoing(self._epoch)
        self._end_acknowledged = False
        self._is_muted = False

    # --- decisions -------------------------------------------------------------------------

    @property
    def n_malformed(self) -> int:
        """Messages that could not be understood, so far."""
        return self.malformed.total()

    @property
    def epoch(self) -> str:
        """The run's epoch, 32 hexadecimal digits."""
        return self._begin.epoch

    @property
    def peer(self) -> bytes | None:
        """The address of the consumer; None where there is none."""
        return None if self._consumer is None else self._consumer.peer

    @property
    def is_connected(self) -> bool:
        """Whether a consumer has been accepted and has not left."""
        return self._consumer is not None

    @property
    def has_ended(self) -> bool:
        """Whether the end of the run was said, and nothing must be said again."""
        return self._said.end is not None and self.rewind is None

    @property
    def is_acknowledged(self) -> bool:
        """Whether the consumer has everything, the end of the run included."""
        return self._end_acknowledged

    @property
    def wants_truth(self) -> bool:
        """Whether the consumer asked for truth labels and they exist."""
        return self._consumer is not None and self._consumer.truth and self._begin.has_truth

    @property
    def next_event(self) -> int:
        """Index of the event that the next record must begin with."""
        return self._said.next_event

    def is_alive(self, now: float) -> bool:
        """Returns whether the consumer gave a sign of life within five heartbeats."""
        limit = SILENT_HEARTBEATS * self._wire.heartbeat_s
        return self._consumer is not None and now - self._consumer.last_heard <= limit

    def has_credit(self, now: float) -> bool:
        """Returns whether a batch may be sent now."""
        if self._consumer is None or self.rewind is not None or self._said.end is not None:
            return False
        if self._wire.mode == "realtime" and not self.is_alive(now):
            return False
        return self._said.next_batch < self._consumer.up_to

    @property
    def credit(self) -> int:
        """Batches that the consumer permits beyond those that were sent."""
        if self._consumer is None:
            return 0
        return max(0, self._consumer.up_to - self._said.next_batch)

    @property
    def progress(self) -> tuple[int, int]:
        """Batches that the consumer holds durably, and events that it has trained on."""
        if self._consumer is None:
            return 0, 0
        return self._consumer.acknowledged, self._consumer.trained

    # --- the stream ------------------------------------------------------------------------

    def batch(
        self, batch: Batch, counts: Counts, truth: Truth | None, sent_ns: int, monotonic_ns: int
    ) -> None:
        """Sends a batch; credit must have been asked for.

        Args:
            batch: the events that are sent of the next range.
            counts: what became of the range.
            truth: their labels; left out unless the consumer wants them.
            sent_ns: wall-clock time, Unix nanoseconds.
            monotonic_ns: the producer's monotonic clock.

        Raises:
            ProtocolError: the batch isn't the next one, its counts don't add up, or there is no
                credit.
        """
        self._require_open()
        consumer = self._consumer
        if consumer is None or self._said.next_batch >= consumer.up_to:
            raise ProtocolError(
                f"batch {self._said.next_batch} has no credit; ask has_credit first"
            )
        labels = truth if self.wants_truth else None
        frames = self._said.batch(batch, counts, labels, sent_ns, monotonic_ns)
        self.outbox.append((consumer.peer, frames))

    def gap(self, first_event: int, end_event: int, counts: Counts, lumisection: int) -> None:
        """Says that nothing is sent of the next range of event indices.

        Raises:
            ProtocolError: the range isn't next in the stream, or its counts don't add up.
        """
        self._require_open()
        message = self._said.gap(first_event, end_event, counts, lumisection)
        if not self._is_muted:
            self._tell(message)

    def end_lumisection(
        self, lumisection: int, counts: Counts, *, live_ns: int = 0, dead_ns: int = 0
    ) -> None:
        """Closes a lumisection at the present position."""
        self._require_open()
        message = self._said.end_lumisection(lumisection, counts, live_ns=live_ns, dead_ns=dead_ns)
        if not self._is_muted:
            self._tell(message)

    def end_run(
        self,
        condition: Condition,
        counts: Counts,
        *,
        live_ns: int = 0,
        dead_ns: int = 0,
        text: str = "",
        bad: Mapping[str, int] | None = None,
    ) -> None:
        """Ends the run at the present position; after a rewind it must be said again."""
        self._require_open()
        self._tell(
            self._said.end_run(
                condition, counts, live_ns=live_ns, dead_ns=dead_ns, text=text, bad=bad or {}
            )
        )

    def rewound(self) -> None:
        """Says that the stream stands at `rewind` now and goes on from there."""
        if self.rewind is None:
            raise ProtocolError("the stream was moved, but nobody had asked for it")
        self._said.go_to(self.rewind)
        self._end_acknowledged = False
        self.rewind = None

    def _require_open(self) -> None:
        if self.rewind is not None:
            raise ProtocolError(f"the stream must go back to event {self.rewind.next_event} first")
        if self._said.end is not None:
            raise ProtocolError("the run has ended; nothing can follow")

    # --- what arrives ----------------------------------------------------------------------

    def receive(self, peer: bytes, frames: Frames, now: float) -> None:
        """Takes one message as it arrived.

        Raises:
            RefusedError: the consumer refuses this producer, with its reason.
        """
        try:
            message = decode_from_consumer(frames)
        except MessageError as error:
            self.malformed[error.reason] += 1
            return
        self.take(peer, message, now)

    def take(self, peer: bytes, message: FromConsumer, now: float) -> None:
        """Takes one message.

        Raises:
            RefusedError: the consumer refuses this producer, with its reason.
        """
        if isinstance(message, Hello):
            self._greet(peer, message, now)
            return
        consumer = self._consumer
        if consumer is None or consumer.peer != peer:
            if not isinstance(message, Bye) and consumer is None:
                self._send(peer, Refusal("greet", "this producer has just started: say HELLO"))
            return
        if not isinstance(message, Bye) and message.epoch != self._epoch:
            return
        consumer.last_heard = now
        self._heed(consumer, message, now)

    def _heed(self, consumer: _Consumer, message: FromConsumer, now: float) -> None:
        match message:
            case Credit():
                consumer.up_to = max(consumer.up_to, message.up_to)
                consumer.acknowledged = max(consumer.acknowledged, message.acknowledged)
                end = self._said.end
                # A consumer that was told of an earlier end may not mean this one.
                if message.ended and end is not None and message.acknowledged >= end.n_batches:
                    self._end_acknowledged = True
            case Nack():
                self._go_back(message.stand)
            case Pong():
                consumer.trained = max(consumer.trained, message.trained)
            case Bye(code="refused"):
                self._forget(now)
                raise RefusedError(f"consumer {consumer.name!r} refuses: {message.text}")
            case Bye():
                self._end_acknowledged |= message.code == "done" and self._said.end is not None
                self._forget(now)

    def _greet(self, peer: bytes, hello: Hello, now: float) -> None:
        present = self._consumer
        refusal = refusal_of(hello, self._begin, lanes=self._wire.lanes)
        if peer in self._replaced:
            refusal = _taken(hello.name)
        is_other = present is not None and present.peer != peer and present.name != hello.name
        if refusal is None and present is not None and is_other and self.is_alive(now):
            refusal = Refusal("occupied", f"consumer {present.name!r} is being served")
            if self._wire.lanes > 1:
                refusal = Refusal(
                    "occupied",
                    f"lane {self._lane} of {self._wire.lanes} belongs to consumer "
                    f"{present.name!r}: choose another wire.lane",
                )
        if refusal is None and not self._can_go_to(hello.stand):
            refusal = self._refusal_of_the_future(hello.stand)
        if refusal is not None:
            self._send(peer, refusal)
            return
        if peer.startswith(NAMELESS):
            return
        if present is not None and present.peer != peer and present.name == hello.name:
            # One that was started again; should its predecessor live, it must not come back.
            self._replaced.append(present.peer)
            self._send(present.peer, _taken(present.name))
        self._consumer = _Consumer(peer, hello.name, hello.truth, now)
        self._consumer.acknowledged = hello.stand.next_batch
        self._send(peer, self._resumption(hello.stand))
        self.outbox.append((peer, self._begin_frames))
        self._go_back(hello.stand)

    def _refusal_of_the_future(self, stand: Stand) -> Refusal | None:
        if stand.next_event <= self._said.next_event:
            return None
        return Refusal(
            "accounts",
            f"the consumer stands at event {stand.next_event}, this realtime producer at "
            f"{self._said.next_event}: it was started again and can't take over what its "
            "predecessor sent; start the consumer without --resume",
        )

    def _resumption(self, stand: Stand) -> Welcome:
        goes_there = self._can_go_to(stand)
        return Welcome(
            version=VERSION,
            epoch=self._epoch,
            next_batch=stand.next_batch if goes_there else self._said.next_batch,
            next_event=stand.next_event if goes_there else self._said.next_event,
        )

    def _can_go_to(self, stand: Stand) -> bool:
        """Returns whether the stream can be moved to a consumer's position.

        A realtime stream never goes back, but a producer that was started again takes over where
        its consumer stands: ahead. Where there are several lanes, only the consumers together
        would know what had been sent to whom.
        """
        if self._wire.mode == "lossless":
            return True
        is_ahead = stand.next_event > self._said.next_event
        return is_ahead and self._wire.lanes == 1

    def _go_back(self, stand: Stand) -> None:
        """Moves the stream back to a consumer's position, or repeats what can be repeated."""
        if self._can_go_to(stand):
            if not self._said.stands_at(stand) or self.rewind is not None:
                if is_consistent(stand):
                    self.rewind = Position.of(self._epoch, stand)
                return
        else:
            for message in self._said.lumisections:
                if message.end_event > stand.closed_event:
                    self._tell(message)
        if self._said.end is not None:
            self._tell(self._said.end)

    def unreachable(self, peer: bytes, now: float) -> None:
        """Says that a message could not be delivered: the peer's connection is gone."""
        if self._consumer is not None and self._consumer.peer == peer:
            self._forget(now)

    def tick(self, now: float) -> None:
        """Lets time pass: sends PING when one is due. Deliver what has arrived first.

        Raises:
            TransportError: no consumer has been heard for the time limit.
        """
        # What nobody takes must not pile up: a realtime consumer that wakes asks for it again.
        self._is_muted = self._wire.mode == "realtime" and not self.is_alive(now)
        if not self._end_acknowledged:
            self._require_company(now)
        if self._consumer is not None and now - self._last_ping >= self._wire.heartbeat_s:
            self._last_ping = now
            self._tell(self._said.ping())

    def _require_company(self, now: float) -> None:
        limit = self._wire.connect_timeout_s
        which = f" for lane {self._lane}" if self._wire.lanes > 1 else ""
        if self._consumer is None and now - self._alone_since > limit:
            raise TransportError(
                f"no consumer{which} at {self._wire.address} for {limit:g} s: start "
                "one with the same address, or raise wire.connect_timeout_s"
            )
        if self._consumer is not None and now - self._consumer.last_heard > limit:
            raise TransportError(
                f"consumer {self._consumer.name!r}{which} has been silent for {limit:g} s: it "
                "hangs or its machine is gone; start it again with --resume, then this producer"
            )

    def _forget(self, now: float) -> None:
        self._consumer = None
        self._alone_since = now

    def _tell(self, message: FromProducer) -> None:
        # While the stream is about to go back, what it would say of its position is outdated.
        if self._consumer is not None and self.rewind is None:
            self._send(self._consumer.peer, message)

    def _send(self, peer: bytes, message: FromProducer) -> None:
        self.outbox.append((peer, [encode(message)]))


def _taken(name: str) -> Refusal:
    return Refusal(
        "taken",
        f"another consumer named {name!r} has taken this one's place: give each its own run.name",
    )
