"""The ends of all lanes of one producer: who gets which batch, and whether the accounts add up.

A stream is shared by `wire.lanes` consumers, each with a lane of its own: a `ProducerEnd` and a
ledger. What is sent in one lane is ``elsewhere`` in all others, so that every lane accounts for
every event index, and the whole stream is ``sent + elsewhere`` of any of them.

In lossless mode the lane of an event is a function of its index alone (`lane_of`), whatever was
read, restarted or paced in between. A lane that goes back takes the stream with it; the others
keep what they have, and are told of nothing until the stream has come to where they stand. In
realtime mode a batch goes to the next lane with credit.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from streams.batch import Batch, Truth
from streams.codec import Frames, decode_from_consumer
from streams.errors import MessageError, ProtocolError
from streams.lane import Lane
from streams.ledger import Balance, ProducerLedger
from streams.messages import Condition, Counts, Hello
from streams.producer_end import ProducerEnd
from streams.protocol import Position, RunBegan
from streams.settings import WireConfig

BLOCK_BATCHES = 16
"""Full batches that go to one lane before the next lane's turn in lossless mode: few enough for
the default window, so that no lane waits for another; enough for the batches of a sparse stream
to stay large, although none may cross the end of a block."""

ONE_LUMISECTION = 1 << 62


def block_events(batch_events: int) -> int:
    """Returns how many consecutive event indices belong to one lane in lossless mode."""
    return BLOCK_BATCHES * batch_events


def lane_of(event: int, *, batch_events: int, lanes: int) -> int:
    """Returns the lane of an event index in lossless mode.

    Example:
        >>> [lane_of(event, batch_events=1, lanes=3) for event in (0, 15, 16, 47, 48)]
        [0, 0, 1, 2, 0]
    """
    return event // block_events(batch_events) % lanes


@dataclass(frozen=True, slots=True)
class Ending:
    """Where and how a run ended.

    Args:
        event: one past the last event index.
        condition: how it ended.
        text: why, where it did not end as planned.
    """

    event: int
    condition: Condition
    text: str


class Lanes:
    """The producer's side of all lanes of one epoch; as pure as the ends that it holds.

    Args:
        wire: mode, lanes, heartbeat and time limit.
        begin: the run to announce.
        now: the time.
        lumisection_events: event indices per lumisection.

    Raises:
        MessageError: see `ProducerEnd`.

    Attributes:
        outbox: (peer, frames) to be sent, in order.
        ledger: the account of the whole stream.
        malformed: messages that could not be understood, by reason, so far.
    """

    def __init__(
        self,
        wire: WireConfig,
        begin: RunBegan,
        now: float,
        *,
        lumisection_events: int = ONE_LUMISECTION,
    ) -> None:
        self.outbox: deque[tuple[bytes, Frames]] = deque()
        ends = [
            ProducerEnd(wire, begin, now, lane=number, outbox=self.outbox)
            for number in range(wire.lanes)
        ]
        is_alone = wire.lanes == 1
        self._lanes = [Lane(end, lumisection_events, is_alone=is_alone) for end in ends]
        self.ledger = self._lanes[0].ledger if is_alone else ProducerLedger()
        self._is_lossless = wire.mode == "lossless"
        self._batch_events = begin.batch_events
        self._lumisection_events = lumisection_events
        self._turn = 0
        self._ending: Ending | None = None
        self.malformed: Counter[str] = Counter()

    # --- decisions -------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether every lane has a consumer, or had one and needs none any more."""
        return all(lane.end.is_connected or lane.end.is_acknowledged for lane in self._lanes)

    @property
    def is_acknowledged(self) -> bool:
        """Whether the consumers have everything, the end of the run included."""
        return all(lane.end.is_acknowledged for lane in self._lanes)

    def is_alive(self, now: float) -> bool:
        """Returns whether a consumer that still needs something gave a sign of life lately."""
        return any(lane.end.is_alive(now) for lane in self._lanes if not lane.end.is_acknowledged)

    @property
    def n_malformed(self) -> int:
        """Messages that could not be understood, so far."""
        return self.malformed.total()

    @property
    def progress(self) -> tuple[int, int]:
        """Batches that the consumers hold durably, and events that they have trained on."""
        progress = [lane.end.progress for lane in self._lanes]
        return sum(batches for batches, _ in progress), sum(trained for _, trained in progress)

    @property
    def credit(self) -> int:
        """Batches that the consumers permit beyond those that were sent."""
        return sum(lane.end.credit for lane in self._lanes)

    @property
    def next_event(self) -> int:
        """Index of the event that the next record must begin with."""
        return self.ledger.next_event

    def can_send(self, first_event: int, now: float) -> bool:
        """Returns whether a batch may be sent now: there is credit, or its lane has it already."""
        lane = self._lane_for(first_event, now)
        return lane is not None and (lane.next_event > first_event or lane.end.has_credit(now))

    def _lane_for(self, first_event: int, now: float) -> Lane | None:
        n = len(self._lanes)
        if n == 1:
            return self._lanes[0]
        if self._is_lossless:
            return self._lanes[lane_of(first_event, batch_events=self._batch_events, lanes=n)]
        for number in range(self._turn, self._turn + n):
            lane = self._lanes[number % n]
            if lane.end.has_credit(now):
                return lane
        return None

    # --- the stream ------------------------------------------------------------------------

    def batch(
        self,
        batch: Batch,
        counts: Counts,
        truth: Truth | None,
        *,
        now: float,
        sent_ns: int,
        monotonic_ns: int,
    ) -> None:
        """Sends a batch to its lane and tells the others; ask `can_send` first.

        Args:
            batch: the events that are sent of the next range.
            counts: what became of the range.
            truth: their labels; left out unless the consumer wants them.
            now: the time.
            sent_ns: wall-clock time, Unix nanoseconds.
            monotonic_ns: the producer's monotonic clock.

        Raises:
            ProtocolError: the batch isn't the next one, its counts don't add up, or there is no
                credit.
        """
        first, end = batch.first_event, batch.end_event
        owner = self._lane_for(first, now)
        if owner is None:
            raise ProtocolError(f"no lane has credit for event {first}; ask can_send first")
        for number, lane in enumerate(self._lanes):
            if lane.is_behind(first, end):
                if lane is owner:
                    lane.send(batch, counts, truth, sent_ns, monotonic_ns)
                    self._turn = number + 1
                else:
                    lane.withhold(first, end, counts.seen_elsewhere(), batch.lumisection)
        self._record(first, end, counts)

    def gap(self, first_event: int, end_event: int, counts: Counts, lumisection: int) -> None:
        """Says in all lanes that nothing is sent of the next range of event indices.

        Raises:
            ProtocolError: the range isn't next in the stream, or its counts don't add up.
        """
        for lane in self._lanes:
            if lane.is_behind(first_event, end_event):
                lane.withhold(first_event, end_event, counts, lumisection)
        self._record(first_event, end_event, counts)

    def _record(self, first_event: int, end_event: int, counts: Counts) -> None:
        if len(self._lanes) > 1:
            self.ledger.record(first_event, end_event, counts)

    def end_lumisection(self, lumisection: int, *, live_ns: int = 0, dead_ns: int = 0) -> None:
        """Closes a lumisection at the present position in all lanes that have not closed it."""
        here = self.ledger.next_event
        for lane in self._lanes:
            if lane.next_event == here and lane.ledger.closed_event < here:
                lane.close(lumisection, live_ns=live_ns, dead_ns=dead_ns)
        if len(self._lanes) > 1:
            self.ledger.close(lumisection, live_ns=live_ns, dead_ns=dead_ns)

    def end_run(
        self,
        condition: Condition,
        *,
        live_ns: int = 0,
        dead_ns: int = 0,
        text: str = "",
        bad: Mapping[str, int] | None = None,
    ) -> None:
        """Ends the run: in each lane where it stands, which is the same for all if all is well."""
        for lane in self._lanes:
            lane.end_run(condition, live_ns=live_ns, dead_ns=dead_ns, text=text, bad=bad or {})
        if len(self._lanes) > 1:
            self.ledger.n_batches = sum(lane.ledger.n_batches for lane in self._lanes)
        if self._ending is None or self._ending.event < self.ledger.next_event:
            self._ending = Ending(self.ledger.next_event, condition, text)

    @property
    def ending(self) -> Ending | None:
        """Where the run must end, because consumers were told so; a rewind changes nothing."""
        return self._ending

    @property
    def stops(self) -> tuple[int, ...]:
        """Event indices ahead at which lanes stand; no batch may reach across any of them."""
        here = self.ledger.next_event
        return tuple(sorted({lane.next_event for lane in self._lanes if lane.next_event > here}))

    # --- going back ------------------------------------------------------------------------

    @property
    def rewind(self) -> Position | None:
        """Where the stream must be moved to, because a lane asks for it; None for nowhere."""
        for lane in self._lanes:
            if lane.end.rewind is not None:
                break
        else:
            return None
        positions = [lane.target for lane in self._lanes]
        return min(positions, key=lambda p: (p.next_event, p.closed_event))

    def rewound(self) -> None:
        """Says that the stream stands at `rewind` now and goes on from there."""
        position = self.rewind
        if position is None:
            raise ProtocolError("the stream was moved, but nobody had asked for it")
        for lane in self._lanes:
            if lane.end.rewind is not None:
                lane.rewound()
        if len(self._lanes) > 1:
            lumisection = position.closed_event // self._lumisection_events + 1
            self.ledger.rewind(position.of_all_lanes(), lumisection)

    # --- what arrives ----------------------------------------------------------------------

    def receive(self, peer: bytes, frames: Frames, now: float) -> None:
        """Takes one message as it arrived.

        Raises:
            RefusedError: a consumer refuses this producer, with its reason.
        """
        try:
            message = decode_from_consumer(frames)
        except MessageError as error:
            self.malformed[error.reason] += 1
            return
        ends = [lane.end for lane in self._lanes]
        if isinstance(message, Hello):
            asked_for = message.lane if message.lane < len(ends) else 0
            ends[asked_for].take(peer, message, now)
            return
        known = [end for end in ends if end.peer == peer]
        waiting = [end for end in ends if end.peer is None]
        for end in (known or waiting)[:1]:
            end.take(peer, message, now)

    def unreachable(self, peer: bytes, now: float) -> None:
        """Says that a message could not be delivered: the peer's connection is gone."""
        for lane in self._lanes:
            lane.end.unreachable(peer, now)

    def tick(self, now: float) -> None:
        """Lets time pass; see `ProducerEnd.tick`."""
        for lane in self._lanes:
            lane.end.tick(now)

    # --- the accounts ----------------------------------------------------------------------

    @property
    def ledgers(self) -> tuple[ProducerLedger, ...]:
        """The ledger of each lane."""
        return tuple(lane.ledger for lane in self._lanes)

    def balance(self) -> Balance:
        """Returns whether every event of the stream is accounted for, in each lane and in all."""
        whole = self.ledger.balance()
        if len(self._lanes) == 1:
            return whole
        problems, unaccounted = list(whole.problems), whole.unaccounted
        totals = self.ledger.totals
        for number, ledger in enumerate(self.ledgers):
            balance = ledger.balance()
            unaccounted += balance.unaccounted
            problems += [f"lane {number}: {problem}" for problem in balance.problems]
            if ledger.totals.of_all_lanes() != totals:
                unaccounted += max(1, abs(ledger.totals.generated - totals.generated))
                problems.append(f"lane {number}: {ledger.totals}, but the stream has {totals}")
        n_sent = sum(ledger.totals.sent for ledger in self.ledgers)
        if n_sent != totals.sent:
            unaccounted += abs(n_sent - totals.sent)
            problems.append(f"{totals.sent} events sent, but {n_sent} in the lanes together")
        return Balance(unaccounted, tuple(problems))
