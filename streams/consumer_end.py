"""The consumer's end of the wire as a state machine: frames in, frames and decisions out.

It opens no socket and has no clock: whoever drives it passes ``now`` in seconds of any clock that
never goes back, delivers what arrives to `receive`, calls `tick` once it has, and sends what it
finds in `outbox`. The rules are in `streams.protocol`; where the consumer stands is kept by
`streams.account`, how much it may be sent by `streams.credit`.
"""

from collections import Counter, deque

from streams.account import Account
from streams.codec import Frames, decode_batch, decode_begin, decode_from_producer, encode
from streams.credit import Window
from streams.errors import MessageError, ProtocolError, RefusedError, SchemaError, TransportError
from streams.messages import (
    MAX_NAME_LENGTH,
    VERSION,
    Begin,
    Bye,
    Credit,
    Data,
    EndLumisection,
    EndRun,
    FromConsumer,
    FromProducer,
    Gap,
    Hello,
    Nack,
    Ping,
    Pong,
    Refusal,
    Welcome,
)
from streams.protocol import (
    SILENT_HEARTBEATS,
    BatchReceived,
    EventsLost,
    GapReceived,
    Incoming,
    LumisectionEnded,
    Position,
    RunBegan,
    RunEnded,
)
from streams.schema import EventSchema
from streams.settings import WireConfig

CREDIT_DELAY_S = 0.005
"""How long less than half of a window may be free before the producer is told."""


class ConsumerEnd:
    """One consumer's side of one epoch.

    Args:
        wire: window, heartbeat and time limit.
        name: the consumer's name; one that comes back under it takes the earlier one's place.
        resume: where its checkpoint stands; None to begin at the beginning.
        expect: the schema that it can learn from; None for any.
        now: the time.

    Raises:
        ProtocolError: the name is empty or too long.

    Attributes:
        outbox: frames to be sent, in order.
        malformed: messages that could not be understood, by reason, so far.
        n_duplicates: batches that came again and were dropped.
        n_ahead: batches that came too early, behind a missing one, and were dropped.
    """

    def __init__(
        self,
        wire: WireConfig,
        *,
        name: str,
        resume: Position | None,
        expect: EventSchema | None,
        now: float,
    ) -> None:
        if not 1 <= len(name) <= MAX_NAME_LENGTH:
            raise ProtocolError(
                f"expected a consumer's name of 1 to {MAX_NAME_LENGTH} characters; got {name!r}"
            )
        self.outbox: deque[Frames] = deque()
        self.malformed: Counter[str] = Counter()
        self.n_duplicates = 0
        self.n_ahead = 0
        self._wire = wire
        self._name = name
        self._expect = expect
        self._run: RunBegan | None = None
        self._ended: RunEnded | None = None
        self._account = Account(resume)
        self._window = Window(wire)
        self._acknowledged = self._account.next_batch
        self._end_acknowledged = False
        self._trained = 0
        self._credit_is_due = False
        self._has_room_untold = False
        self._untold_since = float("inf")
        self._told_up_to = 0
        self._last_heard = now
        self._was_heard = False
        self._last_pong = now
        self._last_nack = -float("inf")
        self._nacked: tuple[int, int, int] | None = None
        self._stuck_since: float | None = None
        self._last_hello = -float("inf")
        self._say_hello(now)

    @property
    def n_malformed(self) -> int:
        """Messages that could not be understood, so far."""
        return self.malformed.total()

    # --- what the program says -------------------------------------------------------------

    @property
    def position(self) -> Position:
        """Where this consumer stands, everything delivered so far included."""
        return self._account.position

    @property
    def _up_to(self) -> int:
        """Number of the first batch for which there is no room."""
        return self._account.next_batch + self._window.n_free

    @property
    def window(self) -> tuple[int, int]:
        """Batches that were delivered and not consumed, and how many may be."""
        n = self._window.n_batches
        return n - self._window.n_free, n

    def consumed(self, batch_number: int) -> None:
        """Says that this batch and all before it need no room any more: extends the credit.

        CREDIT goes out once half of the window is free, so that batches keep coming while
        the program works on those that it has, and otherwise a moment later: one for each batch
        would cost both sides as much as the batch itself.
        """
        self._has_room_untold |= self._window.consume(batch_number)
        if self._up_to - self._told_up_to >= max(1, self._window.n_batches // 2):
            self._credit_is_due = True
            self.flush_credit()

    def acknowledge(self, position: Position) -> None:
        """Says that everything before a position is inside a durable checkpoint."""
        self._acknowledged = max(self._acknowledged, position.next_batch)
        if self._ended is not None and position == self._ended.position:
            self._end_acknowledged = True
        self._credit_is_due = True

    def report_progress(self, n_trained: int) -> None:
        """Says how many events the training loop has finished; travels with the heartbeat."""
        self._trained = max(self._trained, n_trained)

    def leave(self, text: str = "", *, refused: bool = False) -> None:
        """Says good-bye to the producer: done after an acknowledged end of run, or stopped."""
        done = self._end_acknowledged
        self._send(
            Bye(code="refused" if refused else "done" if done else "stopped", text=text[:512])
        )

    @property
    def patience_s(self) -> float:
        """How long one may wait before `tick` has something to do again."""
        if self._has_room_untold:
            return CREDIT_DELAY_S
        return self._wire.heartbeat_s if self._run is not None else self._wire.heartbeat_s / 10

    # --- time ------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Lets time pass: greets, extends credit, shows life. Deliver what has arrived first.

        Raises:
            TransportError: no producer has been heard for the time limit.
            ProtocolError: the producer could not deliver what is missing for as long.
        """
        limit = self._wire.connect_timeout_s
        silent_s = now - self._last_heard
        if silent_s > limit and not self._end_acknowledged:
            where = f"at {self._wire.address} for {limit:g} s"
            if self._was_heard:
                raise TransportError(
                    f"nothing heard from the producer {where}: it hangs, was killed or its "
                    "machine is gone; start it again, then this consumer with --resume"
                )
            raise TransportError(
                f"no producer {where}: start one with the same address, or raise "
                "wire.connect_timeout_s"
            )
        if self._stuck_since is not None and now - self._stuck_since > limit:
            raise ProtocolError(
                f"event {self._account.next_event} could not be delivered in {limit:g} s, "
                f"though the producer lives ({self.n_malformed} damaged messages)"
            )
        is_lost = self._run is None or silent_s > SILENT_HEARTBEATS * self._wire.heartbeat_s
        if is_lost and now - self._last_hello >= self.patience_s:
            self._say_hello(now)
        if self._has_room_untold:
            self._untold_since = min(self._untold_since, now)
            self._credit_is_due |= now - self._untold_since >= CREDIT_DELAY_S
        self.flush_credit()
        pong_is_due = now - self._last_pong >= self._wire.heartbeat_s
        if pong_is_due and self._run is not None and self._account.epoch is not None:
            self._last_pong = now
            self._send(Pong(epoch=self._account.epoch, trained=self._trained))

    def flush_credit(self) -> None:
        """Puts a due CREDIT into the outbox."""
        if self._credit_is_due and self._run is not None and self._account.epoch is not None:
            self._credit_is_due = self._has_room_untold = False
            self._untold_since = float("inf")
            self._told_up_to = self._up_to
            self._send(
                Credit(
                    epoch=self._account.epoch,
                    up_to=self._up_to,
                    acknowledged=self._acknowledged,
                    ended=self._end_acknowledged,
                )
            )

    # --- what arrives ----------------------------------------------------------------------

    def receive(self, frames: Frames, now: float) -> list[Incoming]:
        """Takes one message and returns what the program must be told of it.

        Raises:
            RefusedError: the producer refuses this consumer, or is another run's.
            SchemaError: the run's events are not the expected ones; the producer is told.
        """
        try:
            message = decode_from_producer(frames)
            return self._heed(message, frames, now)
        except MessageError as error:
            self.malformed[error.reason] += 1
            return []

    def _heed(self, message: FromProducer, frames: Frames, now: float) -> list[Incoming]:
        if isinstance(message, Refusal):
            self._hear(now)
            return self._on_refusal(message, now)
        if isinstance(message, (Welcome, Begin)):
            self._hear(now)
            return self._on_introduction(message, frames)
        run = self._run
        if run is None or message.epoch != self._account.epoch:
            return []
        self._hear(now)
        if isinstance(message, Ping):
            return self._on_ping(message, now)
        if self._ended is not None:
            return []
        match message:
            case Data():
                return self._on_data(message, frames, run.schema.n_features, now)
            case Gap():
                return self._on_gap(message, now)
            case EndLumisection():
                return self._on_end_lumisection(message, now)
            case EndRun():
                return self._on_end_run(message, now)

    def _hear(self, now: float) -> None:
        self._last_heard = now
        self._was_heard = True

    def _on_refusal(self, refusal: Refusal, now: float) -> list[Incoming]:
        if refusal.code != "greet":
            raise RefusedError(f"the producer at {self._wire.address} refuses: {refusal.text}")
        if now - self._last_hello >= self._wire.heartbeat_s / 4:
            self._say_hello(now)
        return []

    def _on_introduction(self, message: Welcome | Begin, frames: Frames) -> list[Incoming]:
        if message.version != VERSION:
            text = f"expected protocol {VERSION}; the producer speaks {message.version}"
            self.leave(text, refused=True)
            raise RefusedError(text)
        epoch = self._account.epoch
        if epoch is not None and message.epoch != epoch:
            text = (
                f"expected epoch {epoch.hex()}; the producer at {self._wire.address} now "
                f"runs {message.epoch.hex()}: other files, seed or configuration"
            )
            self.leave(text, refused=True)
            raise RefusedError(text)
        self._credit_is_due = True
        if isinstance(message, Welcome) or self._run is not None:
            return []
        run = decode_begin(message, frames)
        if self._expect is not None:
            try:
                self._expect.require_equal(run.schema, where=f"producer at {self._wire.address}")
            except SchemaError as error:
                self.leave(str(error), refused=True)
                raise
        self._account.epoch = message.epoch
        self._window.begin(run)
        self._run = run
        return [run]

    def _on_ping(self, ping: Ping, now: float) -> list[Incoming]:
        self._credit_is_due = True
        self._last_pong = -float("inf")
        if self._ended is not None:
            return []
        there = (ping.next_batch, ping.next_event, ping.closed_event)
        found = self._catch_up(*there, now)
        if ping.next_event < self._account.next_event:
            self._nack(now)  # a producer that was started again may stop before it comes here
        if ping.ended and self._account.here == there:
            self._nack(now)
        return found or []

    def _on_data(self, data: Data, frames: Frames, n_features: int, now: float) -> list[Incoming]:
        if data.first_event < self._account.next_event:
            self.n_duplicates += 1
            return []
        found = self._catch_up(data.batch, data.first_event, data.closed_event, now)
        if found is None:
            self.n_ahead += 1
            return []
        try:
            batch, truth = decode_batch(data, frames, n_features)
        except MessageError as error:
            self.malformed[error.reason] += 1
            self._nack(now)
            return found
        self._account.take_batch(data)
        self._window.deliver(data.batch, len(batch))
        found.append(
            BatchReceived(
                batch, data.batch, data.counts, truth, data.sent_ns, self._account.position
            )
        )
        return found

    def _on_gap(self, gap: Gap, now: float) -> list[Incoming]:
        if gap.first_event < self._account.next_event:
            return []
        found = self._catch_up(gap.next_batch, gap.first_event, gap.closed_event, now)
        if found is None:
            return []
        self._account.take_gap(gap)
        received = GapReceived(
            gap.first_event, gap.end_event, gap.counts, gap.lumisection, self._account.position
        )
        return [*found, received]

    def _on_end_lumisection(self, end: EndLumisection, now: float) -> list[Incoming]:
        if end.end_event <= self._account.closed_event:
            return []
        if self._is_realtime:
            # Repeated after an absence; what came in between may be gone.
            found = self._declare_lost(end.next_batch, end.end_event)
        else:
            caught_up = self._catch_up(end.next_batch, end.end_event, end.first_event, now)
            if caught_up is None:
                return []
            found = caught_up
        self._account.close(end)
        found.append(
            LumisectionEnded(
                lumisection=end.lumisection,
                first_event=end.first_event,
                end_event=end.end_event,
                counts=end.counts,
                live_ns=end.live_ns,
                dead_ns=end.dead_ns,
                position=self.position,
            )
        )
        return found

    def _on_end_run(self, end: EndRun, now: float) -> list[Incoming]:
        found = self._catch_up(end.n_batches, end.end_event, end.end_event, now)
        if found is None:
            return []
        if self._account.closed_event != end.end_event:
            return found
        account = self._account
        self._ended = RunEnded(
            totals=end.counts,
            condition=end.condition,
            text=end.text,
            n_batches=end.n_batches,
            end_event=end.end_event,
            live_ns=end.live_ns,
            dead_ns=end.dead_ns,
            digest_agrees=account.digest == end.digest if account.is_whole else None,
            position=self.position,
            bad=end.bad,
        )
        found.append(self._ended)
        return found

    # --- missing messages ------------------------------------------------------------------

    @property
    def _is_realtime(self) -> bool:
        return self._run is not None and self._run.mode == "realtime"

    def _catch_up(self, batch: int, event: int, closed: int, now: float) -> list[Incoming] | None:
        """Compares this consumer's position with the one that a message stands at.

        Returns:
            What the program must be told before the message itself; None where the message
            can't be used because something before it is missing, which has been asked for.
        """
        account = self._account
        if account.here == (batch, event, closed):
            self._stuck_since = None
            return []
        if (event, closed) < (account.next_event, account.closed_event):
            return None
        if not self._is_realtime:
            self._nack(now)
            return None
        if closed > account.closed_event:
            self._nack(now)
        return self._declare_lost(batch, event)

    def _declare_lost(self, next_batch: int, next_event: int) -> list[Incoming]:
        """Gives up the events before next_event, in realtime mode only."""
        first_event = self._account.next_event
        if next_event <= first_event:
            return []
        self._account.lose(next_batch, next_event)
        self._credit_is_due = True
        return [EventsLost(first_event, next_event, self._account.position)]

    def _nack(self, now: float) -> None:
        """Asks for what is missing: once, and again when a heartbeat has brought nothing."""
        if self._stuck_since is None:
            self._stuck_since = now
        here = self._account.here
        is_repeated = here == self._nacked and now - self._last_nack < self._wire.heartbeat_s
        if self._account.epoch is not None and not is_repeated:
            self._last_nack, self._nacked = now, here
            self._send(Nack(epoch=self._account.epoch, stand=self.position.stand))

    def _say_hello(self, now: float) -> None:
        self._last_hello = now
        self._send(
            Hello(
                versions=(VERSION,),
                name=self._name,
                epoch=self._account.epoch,
                stand=self.position.stand,
                window_batches=self._window.n_batches,
                window_nbytes=self._wire.window_nbytes,
                truth=self._wire.truth,
                lane=self._wire.lane,
                lanes=self._wire.lanes,
            )
        )

    def _send(self, message: FromConsumer) -> None:
        self.outbox.append([encode(message)])
