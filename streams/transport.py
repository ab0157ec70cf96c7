"""Sockets around the two state machines: ROUTER on the producer's side, DEALER on the consumer's.

Single-threaded: everything happens inside the calls of the program that owns the socket; only
ZeroMQ's I/O thread runs beside it. TCP addresses are recommended: over ipc a closing sender can
lose its tail (libzmq issue 4660), which the acknowledged end of run would turn into a time-out.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import zmq

from streams import sockets
from streams.batch import Batch, Truth
from streams.consumer_end import ConsumerEnd
from streams.errors import SecurityError, TransportError
from streams.lanes import ONE_LUMISECTION, Ending, Lanes
from streams.ledger import Balance, ProducerLedger
from streams.messages import Condition, Counts
from streams.protocol import Incoming, Position, RunBegan
from streams.schema import EventSchema
from streams.security import Guard, Knock
from streams.settings import WireConfig

MESSAGES_PER_POLL = 256
"""Upper bound on what one poll takes in, so that a flood can't hold the loop."""

SENDS_PER_LOOK = 8
"""A busy producer looks for messages after so many batches: a look costs as much as a batch."""

Clock = Callable[[], float]


class Sender:
    """The producer's socket: binds, serves the consumer of each lane, sends what credit allows.

    Args:
        config: the wire.
        begin: the run to announce.
        clock: seconds, never going back.
        wall_ns: Unix time in nanoseconds, written into each batch.
        lumisection_events: event indices per lumisection.

    Raises:
        TransportError: the address can't be bound.
        SecurityError: a key or the allow-list is missing or can't be used.
    """

    def __init__(
        self,
        config: WireConfig,
        begin: RunBegan,
        *,
        clock: Clock = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
        lumisection_events: int = ONE_LUMISECTION,
    ) -> None:
        sockets.require_address(config.address)
        self._clock = clock
        self._wall_ns = wall_ns
        self._end = Lanes(config, begin, clock(), lumisection_events=lumisection_events)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        sockets.set_heartbeats(self._socket, config)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        # What may queue is bounded by credit; a mark would only turn into lost control messages.
        self._socket.setsockopt(zmq.SNDHWM, 0)
        try:
            self._guard = Guard(self._context, self._socket, config, clock())
        except SecurityError:
            sockets.close(self._socket, self._context)
            raise
        try:
            self._socket.bind(config.address)
        except zmq.ZMQError as error:
            self.close()
            raise TransportError(sockets.why_not_bound(config.address, error)) from error
        self._poller = zmq.Poller()
        for socket in (self._socket, *self._guard.sockets):
            self._poller.register(socket, zmq.POLLIN)
        self._has_sent = False
        self._sends_unlooked = 0
        self.address: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def is_connected(self) -> bool:
        """Whether a consumer has been accepted in every lane and has not left."""
        return self._end.is_connected

    def can_send(self, first_event: int) -> bool:
        """Returns whether the batch that begins with this event may be sent now."""
        return self._end.can_send(first_event, self._clock())

    @property
    def is_alive(self) -> bool:
        """Whether a consumer gave a sign of life within five heartbeats."""
        return self._end.is_alive(self._clock())

    @property
    def is_acknowledged(self) -> bool:
        """Whether the consumers hold everything durably, the end of the run included."""
        return self._end.is_acknowledged

    @property
    def ledger(self) -> ProducerLedger:
        """What became of every event of the stream so far."""
        return self._end.ledger

    @property
    def ledgers(self) -> tuple[ProducerLedger, ...]:
        """The same from each lane's point of view."""
        return self._end.ledgers

    def balance(self) -> Balance:
        """Returns whether every event is accounted for, in each lane and in all."""
        return self._end.balance()

    @property
    def rewind_to(self) -> Position | None:
        """The position that a consumer asks the stream to go back to; None for none.

        Call `rewound`, then move the source to its `next_event`.
        """
        return self._end.rewind

    @property
    def stops(self) -> tuple[int, ...]:
        """Event indices ahead that no batch may reach across: there are lanes that stand there."""
        return self._end.stops

    @property
    def ending(self) -> Ending | None:
        """Where the run must end, because some consumers were told so already."""
        return self._end.ending

    @property
    def n_malformed(self) -> int:
        """Messages that could not be understood, so far."""
        return self._end.n_malformed

    @property
    def refusals(self) -> Mapping[str, int]:
        """What was refused so far, by reason: connections, messages of revoked keys, junk."""
        return {**self._guard.refusals, **self._end.malformed}

    @property
    def progress(self) -> tuple[int, int]:
        """Batches that the consumers hold durably, and events that they have trained on."""
        return self._end.progress

    @property
    def credit(self) -> int:
        """Batches that may be sent now, in all lanes together."""
        return self._end.credit

    @property
    def wall_s(self) -> float:
        """The time of day, Unix seconds."""
        return self._wall_ns() / 1e9

    def poll(self, timeout_s: float = 0.0) -> None:
        """Takes in what has arrived, waiting for the first message up to a time; heartbeats.

        Without a time to wait, and right after a batch, it only looks after every few.

        Raises:
            RefusedError: the consumer refuses this run.
            TransportError: nobody has been there for the time limit.
        """
        # Where nothing was sent, as for want of credit, only a look can tell why.
        has_sent, self._has_sent = self._has_sent, False
        if timeout_s <= 0 and has_sent and self._sends_unlooked < SENDS_PER_LOOK:
            return
        self._sends_unlooked = 0
        if timeout_s > 0:
            self._poller.poll(max(1, round(1000 * timeout_s)))
            self._guard.hurry()
        try:
            self._guard.attend(self._clock())
            for _ in range(MESSAGES_PER_POLL):
                message = sockets.receive(self._socket)
                if not message:
                    break
                peer, *frames = [frame.bytes for frame in message]
                if self._guard.admits(message, self._clock()):
                    self._end.receive(peer, frames, self._clock())
                else:
                    self._end.unreachable(peer, self._clock())
            self._end.tick(self._clock())
        finally:
            self._flush()

    def send(self, batch: Batch, counts: Counts, truth: Truth | None = None) -> None:
        """Sends the next batch; ask `can_send` first.

        Args:
            batch: the events that are sent of a range.
            counts: what became of the range.
            truth: their labels; left out unless the consumer wants them.

        Raises:
            ProtocolError: it isn't the next one, its counts don't add up, or there is no credit.
        """
        self._has_sent = True
        self._sends_unlooked += 1
        now = self._clock()
        now_ns = max(0, round(1e9 * now))
        self._end.batch(batch, counts, truth, now=now, sent_ns=self._wall_ns(), monotonic_ns=now_ns)
        self._flush()

    def gap(self, first_event: int, end_event: int, counts: Counts, lumisection: int) -> None:
        """Says that nothing is sent of a range of events of one lumisection."""
        self._end.gap(first_event, end_event, counts, lumisection)
        self._flush()

    def end_lumisection(self, lumisection: int, *, live_ns: int = 0, dead_ns: int = 0) -> None:
        """Closes a lumisection at the present position."""
        self._end.end_lumisection(lumisection, live_ns=live_ns, dead_ns=dead_ns)
        self._flush()

    def end_run(
        self,
        condition: Condition,
        *,
        live_ns: int = 0,
        dead_ns: int = 0,
        text: str = "",
        bad: Mapping[str, int] | None = None,
    ) -> None:
        """Ends the run at the present position; then poll until `is_acknowledged`."""
        self._end.end_run(condition, live_ns=live_ns, dead_ns=dead_ns, text=text, bad=bad)
        self._flush()

    def rewound(self) -> None:
        """Takes back everything behind `rewind_to`; the stream goes on from there."""
        self._end.rewound()

    def close(self) -> None:
        """Closes the socket, last words delivered within two seconds; safe to call twice."""
        self._guard.close(self._socket)
        sockets.close(self._socket, self._context)

    def _flush(self) -> None:
        outbox = self._end.outbox
        while outbox:
            peer, frames = outbox.popleft()
            try:
                sockets.send(self._socket, [peer, *frames])
            except zmq.Again:
                continue  # the consumer will see that something is missing
            except zmq.ZMQError as error:
                if error.errno != zmq.EHOSTUNREACH:
                    raise
                self._end.unreachable(peer, self._clock())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Receiver:
    """The consumer's socket: connects, extends credit, hands over what the producer says.

    Args:
        config: the wire.
        name: this consumer's name; one that comes back takes its own place again.
        resume: where its checkpoint stands; None to begin at the beginning.
        expect: the schema that it can learn from; None for any.
        clock: seconds, never going back.

    Raises:
        TransportError: the address is malformed.
        SecurityError: a key is missing or can't be used.
    """

    def __init__(
        self,
        config: WireConfig,
        *,
        name: str,
        resume: Position | None = None,
        expect: EventSchema | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        sockets.require_address(config.address)
        self._clock = clock
        self._end = ConsumerEnd(config, name=name, resume=resume, expect=expect, now=clock())
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        sockets.set_heartbeats(self._socket, config)
        self._socket.setsockopt(zmq.ROUTING_ID, _routing_id(name, config))
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.MAXMSGSIZE, max(config.window_nbytes, 2 << 20))
        self._socket.setsockopt(zmq.RCVHWM, config.window_batches + 1000)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        try:
            self._knock = Knock(self._context, self._socket, config)
        except SecurityError:
            sockets.close(self._socket, self._context)
            raise
        try:
            self._socket.connect(config.address)
        except zmq.ZMQError as error:
            self.close()
            raise TransportError(sockets.no_address(config.address, str(error))) from error
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)

    @property
    def position(self) -> Position:
        """Where this consumer stands, everything that `poll` has returned included."""
        return self._end.position

    @property
    def n_duplicates(self) -> int:
        """Batches that came again and were dropped."""
        return self._end.n_duplicates

    @property
    def window(self) -> tuple[int, int]:
        """Batches that were handed over and not consumed, and how many may be."""
        return self._end.window

    @property
    def n_malformed(self) -> int:
        """Messages that could not be understood, so far."""
        return self._end.n_malformed

    @property
    def refusals(self) -> Mapping[str, int]:
        """Messages that could not be understood, by reason, so far."""
        return dict(self._end.malformed)

    def poll(self, timeout_s: float = 0.0) -> list[Incoming]:
        """Returns what has arrived, waiting up to a time for something; heartbeats.

        Call it every few seconds even while training: a silent consumer is taken for dead.

        Raises:
            RefusedError: the producer refuses this consumer, or runs something else now.
            SchemaError: the run's events are not the expected ones.
            TransportError: no producer has been there for the time limit.
            ProtocolError: the producer can't deliver what is missing.
        """
        incoming: list[Incoming] = []
        self._end.flush_credit()
        self._flush()
        while True:
            wait_s = min(timeout_s, self._end.patience_s)
            if wait_s > 0:
                self._poller.poll(max(1, round(1000 * wait_s)))
            self._take_in(incoming)
            timeout_s -= wait_s
            if incoming or timeout_s <= 0:
                return incoming

    def _take_in(self, incoming: list[Incoming]) -> None:
        self._knock.attend(self._socket, self._clock())
        try:
            for _ in range(MESSAGES_PER_POLL):
                message = sockets.receive(self._socket)
                if not message:
                    break
                frames = [frame.bytes for frame in message]
                incoming += self._end.receive(frames, self._clock())
            self._end.tick(self._clock())
        except TransportError as error:
            raise TransportError("; ".join(filter(None, (str(error), self._knock.hint)))) from error
        finally:
            self._flush()

    def consumed(self, batch_number: int) -> None:
        """Says that this batch and all before it need no room any more: extends the credit."""
        self._end.consumed(batch_number)
        self._flush()

    def acknowledge(self, position: Position) -> None:
        """Says that everything before a position is inside a durable checkpoint."""
        self._end.acknowledge(position)

    def report_progress(self, n_trained: int) -> None:
        """Says how many events the training loop has finished; travels with the heartbeat."""
        self._end.report_progress(n_trained)

    def refuse(self, reason: str) -> None:
        """Tells the producer that its run can't be learnt from; close afterwards."""
        self._end.leave(reason, refused=True)
        self._flush()

    def close(self) -> None:
        """Says good-bye and closes the socket; safe to call twice."""
        if not self._socket.closed:
            self._end.flush_credit()
            self._end.leave()
            self._flush()
        self._knock.close(self._socket)
        sockets.close(self._socket, self._context)

    def _flush(self) -> None:
        outbox = self._end.outbox
        while outbox:
            try:
                sockets.send(self._socket, outbox.popleft())
            except zmq.Again:
                continue  # no connection now; everything that a consumer says is said again

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _routing_id(name: str, config: WireConfig) -> bytes:
    """Returns an identity that no other socket has: a consumer that was started again is told from
    its predecessor, should that one still live.
    """
    return f"{name}/{config.lane}/".encode() + secrets.token_hex(4).encode()
