"""The consumer: turns what the wire hands over into a model, snapshots and accounts."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from onlineflows.errors import CheckpointError, SnapshotError
from onlineflows.online.learner import Learner
from onlineflows.online.publisher import About
from onlineflows.online.records import Records, describe
from onlineflows.online.resume import Stand, load
from onlineflows.online.rundir import RunDirectory
from onlineflows.online.telemetry import Marginals, alarms_of, history_of
from onlineflows.settings import CheckpointConfig, LearnerConfig, SnapshotConfig
from streams import EventSchema
from streams.consumer_ledger import ConsumerLedger
from streams.messages import Condition
from streams.protocol import (
    BatchReceived,
    Incoming,
    Position,
    RunBegan,
    RunEnded,
)
from streams.settings import WireConfig
from streams.telemetry import ConsumerTelemetry, Marginal
from streams.transport import Receiver

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConsumerConfig:
    """What a consumer daemon needs to know.

    Args:
        name: the run's name.
        wire, learner, snapshot, checkpoint: sections of the configuration.
        document: the whole configuration as plain JSON types, for the manifest.
    """

    name: str
    wire: WireConfig = field(default_factory=WireConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    snapshot: SnapshotConfig = field(default_factory=SnapshotConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    document: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a consumer stands; given to whoever watches.

    Args:
        n_seen: events received.
        n_trained: events trained on.
        n_events: events in the whole run; None where that isn't known.
        nll: mean NLL of the newest events in nats; None before there is one.
        n_write_failures: snapshots and checkpoints that the disk refused so far.
        has_begun: whether the begin of the run was received.
    """

    n_seen: int
    n_trained: int
    n_events: int | None
    nll: float | None
    n_write_failures: int = 0
    has_begun: bool = False


@dataclass(frozen=True, slots=True)
class ConsumerReport:
    """How a run ended.

    Args:
        condition: GOOD, or what was wrong.
        ledger: the accounts of both ends, as written to ledger.json.
        snapshot: the last snapshot; None if nothing was learned.
        problems: every imbalance in words.
        is_complete: whether the end of the run was reached; otherwise it can be resumed.
    """

    condition: Condition
    ledger: dict[str, Any]
    snapshot: Path | None
    problems: tuple[str, ...]
    is_complete: bool


class Consumer:
    """Turns what the wire hands over into a model and an account of every event.

    Args:
        config: what to learn and how.
        directory: where to leave it; prepared.
        clock: seconds that never go back.
        now: the time of day, in UTC.
    """

    def __init__(
        self,
        config: ConsumerConfig,
        directory: RunDirectory,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._config = config
        self._directory = directory
        self._records = Records(
            directory,
            config.snapshot,
            config.checkpoint,
            about=lambda stream: About(config.name, stream, config.document),
            clock=clock,
            now=now,
        )
        self._ledger = ConsumerLedger()
        self._learner: Learner | None = None
        self._stream: dict[str, Any] = {}
        self._n_events: int | None = None
        self._lumisection = 0
        self._marginals: Marginals | None = None
        self.position: Position | None = None
        """Where the consumer stands; None before the run has begun."""
        self.has_ended = False
        self._ended_as: Condition | Literal[""] = ""
        self.can_resume = True
        """Whether a checkpoint is worth keeping: not once a run has ended as it should."""

    @property
    def schema(self) -> EventSchema | None:
        """The schema that is being learned; None before the run has begun."""
        return self._learner.schema if self._learner else None

    @property
    def progress(self) -> Progress:
        """Where the consumer stands."""
        learner = self._learner
        newest = learner.history.newest() if learner else None
        return Progress(
            n_seen=learner.n_seen if learner else 0,
            n_trained=learner.n_trained if learner else 0,
            n_events=self._n_events,
            nll=newest.nll if newest else None,
            n_write_failures=sum(self._records.failures.values()),
            has_begun=learner is not None,
        )

    def telemetry(self, receiver: Receiver, *, sequence: int, unix_s: float) -> ConsumerTelemetry:
        """Returns where the consumer stands, in full.

        Args:
            receiver: the wire.
            sequence: number of the document.
            unix_s: the time of day.
        """
        progress, learner = self.progress, self._learner
        skipped, lost = self._ledger.in_brief()
        unread, window = receiver.window
        return ConsumerTelemetry(
            sequence=sequence,
            unix_s=unix_s,
            pid=os.getpid(),
            state="ended" if self._ended_as else "running" if learner else "waiting",
            name=self._config.name,
            lane=self._config.wire.lane,
            n_seen=progress.n_seen,
            n_trained=progress.n_trained,
            n_events=progress.n_events,
            n_uses=learner.n_uses if learner else 0,
            n_steps=learner.n_steps if learner else 0,
            train_s=learner.train_seconds if learner else 0.0,
            skipped=skipped,
            lost=lost,
            unread_batches=unread,
            window_batches=window,
            buffer_fill=learner.buffer_fill if learner else 0.0,
            buffer_nbytes=learner.buffer_nbytes if learner else 0,
            lumisection=self._lumisection,
            history=history_of(learner) if learner else [],
            alarms=alarms_of(learner) if learner else [],
            n_alarms=learner.drift.n_alarms if learner else 0,
            marginals=self._newest_marginals(),
            n_windowed=learner.gate.n_remembered if learner else 0,
            snapshot=self._records.snapshot.name if self._records.snapshot else "",
            n_write_failures=progress.n_write_failures,
            refusals=dict(receiver.refusals),
            condition=self._ended_as,
        )

    def _newest_marginals(self) -> list[Marginal]:
        if self._learner is None:
            return []
        self._marginals = self._marginals or Marginals(self._learner.schema)
        return self._marginals.of(self._learner.gate.newest)

    def publish_now(self) -> Path | None:
        """Publishes a snapshot although none is due; returns its path, None before any density.

        Raises:
            SnapshotError: the disk refused; older snapshots are as they were.
        """
        if self._learner is None or not self._learner.is_fitted:
            return None
        self._records.publish(self._stand(), final=False)
        return self._records.snapshot

    def handle(self, incoming: Incoming, receiver: Receiver) -> None:
        """Acts on one thing that the wire handed over.

        Raises:
            CheckpointError, SnapshotError: the disk refused what a run must end with.
        """
        if isinstance(incoming, RunEnded):
            self._end(incoming)
            receiver.acknowledge(incoming.position)
            return
        self._ledger.observe(incoming)
        if isinstance(incoming, RunBegan):
            self._begin(incoming, receiver)
            return
        if isinstance(incoming, BatchReceived):
            self._learn(incoming, receiver)
        self.position = incoming.position
        if self._records.write_due(self._stand()):
            receiver.acknowledge(incoming.position)

    def restore(self) -> None:
        """Goes on from the newest undamaged checkpoint.

        Raises:
            CheckpointError: there is none, or it is of another configuration.
        """
        stand = load(self._directory.checkpoints, self._config.learner)
        self._learner, self._ledger = stand.learner, stand.ledger
        self.position, self._stream = stand.position, dict(stand.stream)
        self._records.resume_from(stand)
        learner = stand.learner
        logger.info("resumed", extra={"n_trained": learner.n_trained, "n_seen": learner.n_seen})

    def interrupt(self, receiver: Receiver) -> None:
        """Leaves the run before its end: a checkpoint, a snapshot and the accounts so far.

        Raises:
            CheckpointError, SnapshotError: the disk refused one of them; the others were tried.
        """
        self._ended_as = "INTERRUPTED"
        refused: Exception | None = None
        if self._learner is not None and self.position is not None:
            stand = self._stand()
            try:
                self._records.save(stand)
                receiver.acknowledge(stand.position)
            except CheckpointError as error:
                refused = error
            try:
                self._records.publish(stand, final=False)
            except SnapshotError as error:
                refused = refused or error
        self._write_ledger("INTERRUPTED", must_balance=False)
        if refused is not None:
            raise refused

    def abandon(self) -> None:
        """Leaves the accounts of a run that failed; what was in flight is unaccounted for."""
        self._ended_as = "ABORTED"
        self._write_ledger("ABORTED", must_balance=True)

    def report(self) -> ConsumerReport:
        """Returns how the run ended."""
        document = json.loads(self._directory.ledger.read_text())
        return ConsumerReport(
            condition=document["condition"],
            ledger=document,
            snapshot=self._records.snapshot,
            problems=tuple(document["problems"]),
            is_complete=self.has_ended,
        )

    def _begin(self, began: RunBegan, receiver: Receiver) -> None:
        self._n_events = began.n_events
        if self._learner is None:
            self._learner = Learner(began.schema, self._config.learner)
            self._stream = describe(began)
            self.position = receiver.position
        self._records.require_room(self._stream, self._learner)
        logger.info(
            "run began",
            extra={"run": began.run, "mode": began.mode, "features": list(began.schema.names)},
        )

    def _learn(self, received: BatchReceived, receiver: Receiver) -> None:
        learner = self._running()
        batch = received.batch
        self._lumisection = batch.lumisection
        outcome = learner.learn(
            batch.x, lumisection=batch.lumisection, indices=batch.event_indices()
        )
        self._ledger.account(
            [received.batch_number], trained=outcome.n_accepted, skipped=outcome.skipped
        )
        if outcome.alarm is not None:
            logger.warning("drift", extra=asdict(outcome.alarm))
        receiver.consumed(received.batch_number)
        receiver.report_progress(learner.n_trained)

    def _end(self, ended: RunEnded) -> None:
        """Trains on what is owed and makes everything durable; the caller then acknowledges.

        A run that its producer had to abort keeps a checkpoint from before its end: with the
        input mended, both daemons go on from there.
        """
        self.position = ended.position
        self.can_resume = ended.condition == "ABORTED" and self._learner is not None
        if self.can_resume:
            self._records.save(self._stand())
        self._ledger.observe(ended)
        if self._learner is not None:
            self._learner.finish()
            for reason in self._learner.tainted:
                logger.warning("tainted", extra={"reason": reason})
            self._records.publish(self._stand(), final=True)
        self.has_ended = True
        condition = self._ended_as = self._condition(ended)
        self._write_ledger(condition, must_balance=True)

    def _condition(self, ended: RunEnded) -> Condition:
        is_tainted = self._learner is not None and bool(self._learner.tainted)
        return "TAINTED" if is_tainted and ended.condition == "GOOD" else ended.condition

    def _write_ledger(self, condition: Condition, *, must_balance: bool) -> None:
        self._records.write_ledger(
            self._ledger, self._learner, condition, must_balance=must_balance
        )

    def _stand(self) -> Stand:
        if self.position is None:
            raise CheckpointError("expected a begin of run before the first batch; got none")
        return Stand(self._running(), self._ledger, self.position, self._stream)

    def _running(self) -> Learner:
        if self._learner is None:
            raise CheckpointError("expected a begin of run before the first batch; got none")
        return self._learner
