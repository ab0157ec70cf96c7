"""The producer daemon: source -> cut -> pace -> send, until the consumer has acknowledged the end.

One thread, one loop. Never imports torch.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Protocol

from replay.bad_events import BadEvents, Located, Quarantine
from replay.batching import Batcher, Piece
from replay.epoch import epoch_of
from replay.operator import Operator, mean_rate_hz
from replay.pacing import NO_LIMIT, TICK_S, LiveTime, make_pacer
from replay.prescales import PrescaleCounts, Prescaler
from replay.report import ProducerReport, Progress
from replay.settings import PacingConfig, PrescaleConfig, QuarantineConfig, ReplayConfig
from replay.sources.integrity import Verifiable
from replay.stalls import StallWatch
from streams.console import Console
from streams.errors import InputError
from streams.lanes import block_events
from streams.ledger import ProducerLedger
from streams.messages import Condition, Counts
from streams.protocol import RunBegan
from streams.settings import WireConfig
from streams.source import Source
from streams.telemetry import ProducerTelemetry
from streams.transport import Sender

log = logging.getLogger(__name__)

WAIT_S = 0.1
"""Longest wait without looking at the stop flag."""

REST_S = 0.02
"""How often a paused producer looks for messages and requests."""

PROGRESS_S = 0.5
"""Shortest time between two progress reports."""


class StopFlag(Protocol):
    """Set by whoever handles signals."""

    @property
    def requested(self) -> bool:
        """Whether the run should end cleanly now."""
        ...

    @property
    def aborted(self) -> bool:
        """Whether to leave at once, whatever the consumer still has to say."""
        ...


class NeverStop:
    """Runs to the end of the stream."""

    requested = False
    aborted = False


def run_producer(
    source: Source,
    *,
    wire: WireConfig,
    pacing: PacingConfig,
    replay: ReplayConfig,
    prescales: Sequence[PrescaleConfig] = (),
    quarantine: QuarantineConfig | None = None,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    clock: Callable[[], float] = time.monotonic,
    stop: StopFlag | None = None,
    stall_s: float = 0.0,
    console: Console | None = None,
    on_listening: Callable[[str], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> ProducerReport:
    """Serves one run to the consumer of each lane; returns once all have acknowledged its end.

    A source that fails ends the run as ABORTED, with everything before the damage sent; a stop
    request ends it as INTERRUPTED. In both cases the consumer is told, and acknowledges; an abort
    doesn't wait.

    Args:
        source: the events; not closed here.
        wire: address, mode, batches.
        pacing: when events are due.
        replay: run number and lumisections.
        prescales: of which events only some are sent.
        quarantine: where bad events are kept; None for nowhere.
        seed: recorded in the begin of run.
        config: recorded in the begin of run and part of the epoch; plain JSON types.
        clock: seconds, never going back.
        stop: asked at least every tenth of a second.
        stall_s: time without progress after which a learner is reported as hanging; 0 for never.
        console: where an operator asks and watches; None for nobody.
        on_listening: told the address once it is bound.
        on_progress: told about twice a second.

    Raises:
        InputError: the source can't even be begun, doesn't know the times that the pacing asks
            for, or lacks features that a prescale asks for.
        TransportError: the address is taken, or no consumer comes or remains.
        RefusedError: the consumer refuses the run.
    """
    has_blocks = wire.lanes > 1 and wire.mode == "lossless"
    batcher = Batcher(
        source,
        run=replay.run,
        batch_events=wire.batch_events,
        lumisection_events=replay.lumisection_events,
        block_events=block_events(wire.batch_events) if has_blocks else 0,
        prescaler=Prescaler(prescales, source.schema, seed=seed) if prescales else None,
        clock=clock,
    )
    if pacing.arrivals == "recorded" and not batcher.has_times:
        raise InputError(
            "pacing.arrivals: expected a source that knows when its events were recorded; got one "
            'without times for "recorded"; say with source.time where they are, or choose another'
        )
    document = dict(config or {})
    if prescales:
        document["prescales"] = [asdict(prescale) for prescale in prescales]
    if wire.lanes > 1:
        document["lanes"] = wire.lanes
    begin = RunBegan(
        epoch=epoch_of(source, seed=seed, replay=replay, config=document),
        run=replay.run,
        schema=source.schema,
        mode=wire.mode,
        seed=seed,
        batch_events=wire.batch_events,
        n_events=source.n_events,
        has_truth=batcher.has_truth,
        sources=source.files,
        config=document,
    )
    kept = _quarantine(quarantine, source, begin.epoch)
    if kept is not None:
        batcher.on_read = kept.take
        batcher.seek(0)  # the first events were read already, for their labels
    with Sender(wire, begin, clock=clock, lumisection_events=replay.lumisection_events) as sender:
        log.info("listening at %s, epoch %s, %s", sender.address, begin.epoch, wire.mode)
        if on_listening is not None:
            on_listening(sender.address)
        operator = Operator(console, pacing, clock)
        loop = _Loop(
            sender, batcher, begin, wire, operator, clock, stop or NeverStop(), on_progress
        )
        loop.watch_for_stalls(stall_s)
        loop.prescaled = PrescaleCounts(prescales)
        if replay.verify and isinstance(source, Verifiable):
            loop.verify = source.verify
        if kept is not None:
            loop.save_bad = kept.save
        return loop.run()


def _quarantine(config: QuarantineConfig | None, source: Source, epoch: str) -> Quarantine | None:
    if config is None or not config.path:
        return None
    locate = source.locate if isinstance(source, Located) else None
    return Quarantine(config, source.schema, epoch=epoch, locate=locate)


class _Loop:
    """The state of one run."""

    def __init__(
        self,
        sender: Sender,
        batcher: Batcher,
        begin: RunBegan,
        wire: WireConfig,
        operator: Operator,
        clock: Callable[[], float],
        stop: StopFlag,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._sender = sender
        self._batcher = batcher
        self._begin = begin
        self._is_realtime = wire.mode == "realtime"
        self._max_delay_s = wire.max_delay_ms / 1000
        self._operator = operator
        self._skipped: list[tuple[int, int]] = []
        """Ranges that an operator left out: a stream that goes back leaves them out again."""
        self._is_resting = False
        self._clock = clock
        self._stop = stop
        self._on_progress = on_progress
        self._held: Piece | None = None
        self._busy: Piece | None = None
        self._condition: Condition | None = None
        self._has_ended = False
        self._text = ""
        self._error: InputError | None = None
        self._n_rewinds = 0
        self._stalls = StallWatch(0.0)
        self._is_starved = False
        """Whether the last batch found no credit."""
        self._bad = BadEvents()
        self.prescaled = PrescaleCounts(())
        """What passed and what was kept of each prescaled selection."""
        self.save_bad: Callable[[], None] = lambda: None
        """Writes the bad events that were kept for inspection."""
        self.verify: Callable[[], Iterator[None]] = lambda: iter(())
        """Looks whether the source is still what it was; asked at the end of the stream."""
        self._verification: Iterator[None] | None = None
        self._began_s = self._ended_s = self._last_progress_s = clock()
        self._live = LiveTime(self._began_s)
        self._start_pacer()

    @property
    def _ledger(self) -> ProducerLedger:
        """The account of the whole stream, which the sender keeps."""
        return self._sender.ledger

    @property
    def _next_event(self) -> int:
        """The first event that was neither sent nor withheld: the ledger hears of a dead stretch
        when that is over.
        """
        return self._ledger.next_event if self._busy is None else self._busy.end_event

    @property
    def _totals(self) -> Counts:
        """What became of the events before `_next_event`."""
        totals = self._ledger.totals
        return totals if self._busy is None else totals + self._busy.counts

    def _start_pacer(self) -> None:
        first = self._batcher.next_event
        self._pacer = make_pacer(self._operator.pacing, self._batcher, first_event=first)
        self._operator.has_new_pacing = False
        self._pacer_start_s = self._clock()
        self._pacer_first_event = self._batcher.next_event
        self._waiting_since_s: float | None = None

    def watch_for_stalls(self, limit_s: float) -> None:
        """Reports a learner that makes no progress for so long."""
        self._stalls = StallWatch(limit_s)

    # --- the loop --------------------------------------------------------------------------

    def run(self) -> ProducerReport:
        if not self._wait_for_consumer():
            return self._report("INTERRUPTED")
        while not self._is_over():
            self._sender.poll(0.0)
            self._tell_progress()
            self._operator.attend(self._telemetry)
            if self._stop.aborted:
                return self._abort()
            if self._sender.rewind_to is not None:
                self._go_back()
            elif self._condition is not None:
                self._sender.poll(WAIT_S)
            elif self._ends_here():
                pass
            elif self._operator.seek_to is not None:
                self._seek(self._operator.seek_to)
            elif self._operator.holds(self._next_event):
                self._rest()
            elif self._held is not None:
                self._dispatch(self._held)
            else:
                self._advance()
        return self._report(self._condition or "INTERRUPTED")

    def _wait_for_consumer(self) -> bool:
        """Returns whether a consumer came before a stop was requested; starts the clocks."""
        while not self._sender.is_connected:
            if self._wants_stop:
                return False
            self._sender.poll(WAIT_S)
            self._tell_progress()
            self._operator.attend(self._telemetry)
        self._began_s = self._ended_s = self._clock()
        self._live = LiveTime(self._began_s)
        self._start_pacer()
        return True

    def _is_over(self) -> bool:
        if self._condition is None or self._sender.rewind_to is not None:
            return False
        return self._sender.is_acknowledged or (self._wants_stop and not self._sender.is_alive)

    @property
    def _wants_stop(self) -> bool:
        return self._stop.requested or self._operator.wants_stop

    def _ends_here(self) -> bool:
        """Ends the run where that was asked for; all lanes must have come to the same event."""
        ending = self._sender.ending
        if ending is not None:
            if ending.event <= self._ledger.next_event:
                self._finish(ending.condition, ending.text)
        elif self._wants_stop and not self._sender.stops:
            self._finish("INTERRUPTED", "the producer was stopped")
        return self._condition is not None

    def _advance(self) -> None:
        """Takes the next piece that is due and sends it, or waits for one."""
        self._is_resting = False
        if self._operator.has_new_pacing:
            self._start_pacer()
        if self._skips_here():
            return
        now = self._clock()
        is_paced = self._operator.pacing.arrivals != "asap"
        limit = NO_LIMIT
        if self._operator.hurries(self._batcher.next_event):
            if self._operator.is_paused and not self._sender.can_send(self._batcher.next_event):
                self._sender.poll(TICK_S)  # a step waits for credit, in realtime mode as well
                return
            is_paced = False
        elif is_paced:
            limit = self._pacer_first_event + self._pacer.due(now - self._pacer_start_s)
        before = self._batcher.next_event
        try:
            piece = self._batcher.next(limit, flush=is_paced and self._has_waited(now, limit))
            if piece is None and self._batcher.read(limit):
                return
        except InputError as error:
            self._fail(error)
            return
        if piece is not None:
            self._waiting_since_s = None
            if limit == NO_LIMIT and self._operator.pacing.arrivals != "recorded":
                # What an operator hurried comes on top of what is due.
                self._pacer_first_event += piece.end_event - before
            self._dispatch(piece)
        elif self._batcher.is_exhausted:
            self._conclude()
        else:
            self._sender.poll(TICK_S)

    def _conclude(self) -> None:
        """Ends the run once the source has proved to be what it was, a piece of it at a time."""
        if self._verification is None:
            self._verification = self.verify()
        try:
            next(self._verification)
        except StopIteration:
            self._finish("GOOD", "")
        except InputError as error:
            self._fail(error)

    def _fail(self, error: InputError) -> None:
        """Ends the run where the source can't be read on, or isn't what it was."""
        log.error("the source failed at event %d: %s", self._batcher.next_event, error)
        self._error = error
        self._finish("ABORTED", f"at event {self._batcher.next_event}: {error}")

    def _has_waited(self, now: float, limit: int) -> bool:
        """Returns whether an event that is due has waited for the rest of its piece too long."""
        if limit <= self._batcher.next_event:
            self._waiting_since_s = None
            if not self._is_starved:  # a quiet stretch isn't dead, whatever comes after it
                self._live.advance(now, dead=False)
            return False
        if self._waiting_since_s is None:
            self._waiting_since_s = now
        return now - self._waiting_since_s >= self._max_delay_s

    # --- sending ---------------------------------------------------------------------------

    def _dispatch(self, piece: Piece) -> None:
        """Sends a piece, drops it for want of credit (realtime) or holds it (lossless)."""
        self._held = None
        if piece.batch is None:
            self._flush_busy()
            self._withhold(piece)
        elif self._can_send(piece.first_event):
            self._is_starved = False
            self._sender.send(piece.batch, piece.counts, piece.truth)
            self._operator.stepped()
            self._live.advance(self._clock(), dead=False)
        elif self._is_realtime:
            self._drop(piece)
        else:
            self._is_starved = True
            self._held = piece
            self._sender.poll(WAIT_S)
            return
        self._bad.record(piece.first_event, piece.reasons)
        self.prescaled.record(piece.first_event, piece.lumisection, piece.selected)
        if self._batcher.lumisection_of(piece.end_event) != piece.lumisection:
            self._close_lumisection(piece.lumisection)
            self.save_bad()

    def _can_send(self, first_event: int) -> bool:
        """Returns whether a batch may be sent, once what comes before it was told."""
        if self._busy is not None and self._sender.can_send(first_event):
            self._flush_busy()  # which may show that the consumer is gone
        return self._sender.can_send(first_event)

    def _withhold(self, piece: Piece) -> None:
        self._sender.gap(piece.first_event, piece.end_event, piece.counts, piece.lumisection)

    def _drop(self, piece: Piece) -> None:
        """Adds a piece to the dead stretch, which is told as one when it is over."""
        self._is_starved = True
        self._live.advance(self._clock(), dead=True)
        first, counts = piece.first_event, piece.counts.dropped()
        if self._busy is not None:
            first, counts = self._busy.first_event, self._busy.counts + counts
        self._busy = Piece(first, piece.end_event, piece.lumisection, counts)

    def _flush_busy(self) -> None:
        if self._busy is not None:
            self._withhold(self._busy)
            self._busy = None

    def _close_lumisection(self, lumisection: int) -> None:
        self._flush_busy()
        live_ns, dead_ns = self._live.take_ns()
        self._sender.end_lumisection(lumisection, live_ns=live_ns, dead_ns=dead_ns)

    def _finish(self, condition: Condition, text: str) -> None:
        self._held = None
        self._flush_busy()
        self._ended_s = self._clock()
        if self._is_resting:
            self._live.pause(self._ended_s)
        self._live.advance(self._ended_s, dead=False)
        if self._ledger.open_counts.generated:
            self._close_lumisection(self._batcher.lumisection_of(self._ledger.next_event - 1))
        live_ns, dead_ns = self._live.totals_ns
        bad = self._bad.document(self._ledger.totals.bad)
        self._sender.end_run(condition, live_ns=live_ns, dead_ns=dead_ns, text=text, bad=bad)
        self._condition = condition
        self._text = text
        self.save_bad()
        log.info("end of run: %s after %d events", condition, self._ledger.next_event)

    def _abort(self) -> ProducerReport:
        """Leaves; the consumer is told where it can be."""
        if self._condition is None and self._sender.rewind_to is None:
            self._finish("ABORTED", "the producer was aborted")
        return self._report("ABORTED")

    def _go_back(self) -> None:
        """Moves the stream to where the consumer stands."""
        position = self._sender.rewind_to
        if position is None:
            return
        log.warning("going back from event %d to %d", self._ledger.next_event, position.next_event)
        self._n_rewinds += 1
        self._condition = None
        self._error = self._verification = None
        self._held = self._busy = None
        self._bad.rewind(position.next_event)
        self.prescaled.rewind(position.next_event)
        self._sender.rewound()
        self._operator.forget_hurry()
        if not self._move_to(position.next_event):
            return
        if self._ledger.open_counts.generated:
            lumisection = self._batcher.lumisection_of(position.closed_event)
            if self._batcher.lumisection_of(position.next_event) != lumisection:
                self._close_lumisection(lumisection)

    def _move_to(self, event: int) -> bool:
        """Makes this event the next one; returns whether the source could."""
        stops = {*self._sender.stops, *(first for first, _ in self._skipped if first > event)}
        try:
            self._batcher.seek(event, stops=tuple(sorted(stops)))
        except InputError as error:
            self._fail(error)
            return False
        self._start_pacer()
        return True

    # --- what an operator asks for ---------------------------------------------------------

    def _rest(self) -> None:
        """Lets time pass that is neither live nor dead, and in which no event becomes due."""
        if not self._is_resting:
            self._is_resting = True
            self._live.advance(self._clock(), dead=False)
        self._sender.poll(REST_S)
        self._pacer_start_s += self._live.pause(self._clock())

    def _seek(self, event: int) -> None:
        """Leaves out everything before an event, for good."""
        self._operator.seek_to = None
        self._held = None
        self._flush_busy()
        here = self._ledger.next_event
        if event > here:
            log.warning("an operator leaves out events [%d, %d)", here, event)
            self._skipped.append((here, event))
            if self._move_to(here):
                self._skips_here()

    def _skips_here(self) -> bool:
        """Leaves out what an operator wants to be left out here; returns whether there was any."""
        here = self._batcher.next_event
        ends = [end for first, end in self._skipped if first <= here < end]
        if not ends:
            return False
        self._flush_busy()
        end = max(ends)
        while here < end:
            lumisection = self._batcher.lumisection_of(here)
            cuts = (end, self._batcher.first_event_of(lumisection + 1), *self._sender.stops)
            cut = min(cut for cut in cuts if cut > here)
            counts = Counts(generated=cut - here, operator=cut - here)
            self._sender.gap(here, cut, counts, lumisection)
            here = cut
            if self._batcher.lumisection_of(here) != lumisection:
                self._close_lumisection(lumisection)
        self._move_to(end)
        return True

    # --- reporting -------------------------------------------------------------------------

    def _tell_progress(self) -> None:
        now = self._clock()
        if now - self._last_progress_s < PROGRESS_S:
            return
        self._last_progress_s = now
        _, n_trained = self._sender.progress
        self._look_for_stall(now, n_trained)
        self._show_progress(now)

    def _show_progress(self, now: float) -> None:
        if self._on_progress is None:
            return
        self._on_progress(
            Progress(
                next_event=self._next_event,
                n_events=self._begin.n_events,
                counts=self._totals,
                n_trained=self._sender.progress[1],
                elapsed_s=now - self._began_s,
                is_connected=self._sender.is_connected,
                is_stalled=self._stalls.is_stalled,
                n_stalls=self._stalls.n_stalls,
            )
        )

    def _telemetry(self, sequence: int) -> ProducerTelemetry:
        """Returns where the producer stands, for an operator and for whoever watches."""
        live_ns, dead_ns = self._live.totals_ns
        return ProducerTelemetry(
            sequence=sequence,
            unix_s=self._sender.wall_s,
            pid=os.getpid(),
            state=self._state(),
            run=self._begin.run,
            epoch=self._begin.epoch,
            mode=self._begin.mode,
            lanes=len(self._sender.ledgers),
            next_event=self._next_event,
            n_events=self._begin.n_events,
            counts=self._totals,
            n_batches=self._ledger.n_batches,
            credit=self._sender.credit,
            n_trained=self._sender.progress[1],
            arrivals=self._operator.pacing.arrivals,
            rate_hz=mean_rate_hz(self._operator.pacing),
            elapsed_s=(live_ns + dead_ns + self._live.paused_ns) / 1e9,
            live_s=live_ns / 1e9,
            dead_s=dead_ns / 1e9,
            paused_s=self._live.paused_ns / 1e9,
            lumisection=self._batcher.lumisection_of(self._next_event),
            bad=self._bad.document(self._totals.bad),
            prescales=self.prescaled.in_brief(),
            refusals=dict(self._sender.refusals),
            n_rewinds=self._n_rewinds,
            n_stalls=self._stalls.n_stalls,
            condition=self._condition or "",
            text=self._text[:512],
        )

    def _state(self) -> str:
        if self._has_ended:
            return "ended"
        if self._condition is not None:
            return "ending"
        if not self._sender.is_connected:
            return "waiting"
        if self._operator.is_paused:
            return "paused"
        return "stalled" if self._stalls.is_stalled else "running"

    def _look_for_stall(self, now: float, n_trained: int) -> None:
        """Says when a learner stops making progress with what it has, and when it goes on."""
        ledger = self._ledger
        is_owed = self._is_starved or self._condition is not None
        stall = self._stalls.update(now, (n_trained, ledger.n_batches), is_owed=is_owed)
        if stall is None:
            return
        log.warning(
            stall.text(
                n_sent=ledger.totals.sent,
                n_trained=n_trained,
                is_alive=self._sender.is_alive,
                now=datetime.now(UTC),
            )
        )

    def _report(self, condition: Condition) -> ProducerReport:
        self._condition = condition
        self._has_ended = True
        self._operator.publish(self._telemetry)
        self._show_progress(self._clock())
        live_ns, dead_ns = self._live.totals_ns
        return ProducerReport(
            ledger=self._sender.ledger,
            lanes=self._sender.ledgers,
            problems=self._sender.balance().problems,
            bad=self._bad.document(self._ledger.totals.bad),
            prescales=self.prescaled.document(self._ledger.totals.prescaled),
            condition=condition,
            text=self._text,
            error=self._error,
            epoch=self._begin.epoch,
            is_acknowledged=self._sender.is_acknowledged,
            elapsed_s=self._ended_s - self._began_s,
            live_s=live_ns / 1e9,
            dead_s=dead_ns / 1e9,
            paused_s=self._live.paused_ns / 1e9,
            n_rewinds=self._n_rewinds,
            n_stalls=self._stalls.n_stalls,
            stalled_s=self._stalls.stalled_s,
        )
