"""The consumer daemon: receives, learns, publishes snapshots, keeps the accounts."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from onlineflows.errors import CheckpointError, DivergedError
from onlineflows.online.checkpoint import (
    Checkpoint,
    delete_checkpoints,
    read_checkpoint,
    write_checkpoint,
)
from onlineflows.online.durable import sha256, write_file
from onlineflows.online.learner import Learner
from onlineflows.online.publisher import LISTED, About, Publisher
from onlineflows.online.rundir import RunDirectory
from onlineflows.settings import CheckpointConfig, LearnerConfig, SnapshotConfig
from streams import EventSchema, SchemaError
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
from streams.transport import Receiver

logger = logging.getLogger(__name__)

POLL_S = 0.1
"""Longest wait for a message before stop requests and heartbeats are looked at."""


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
        nll: newest mean NLL of new events in nats; None before there is one.
    """

    n_seen: int
    n_trained: int
    n_events: int | None
    nll: float | None


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


def run_consumer(
    config: ConsumerConfig,
    directory: RunDirectory,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[Progress], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ConsumerReport:
    """Learns from one producer until its run ends or a stop is requested.

    Everything is durable before it is acknowledged: the checkpoint before its position, and the
    last snapshot and the ledger before the end of the run. A stop leaves a checkpoint and a
    snapshot; the run can be resumed.

    Args:
        config: what to learn and how.
        directory: where to leave it; prepared.
        resume: whether to go on from the newest checkpoint.
        stop: whether to stop; asked between batches.
        watch: told after each batch where the consumer stands.
        clock: seconds that never go back.
        now: the time of day, in UTC.

    Raises:
        CheckpointError: there is nothing to resume from, or it is of another configuration.
        SchemaError, RefusedError, TransportError, ProtocolError: see `streams.transport`.
        DivergedError: the loss or its gradient isn't finite; the accounts are written, the last
            snapshot and checkpoint are as they were.
        ConfigError: what the stream holds doesn't fit what is to be learned, or no manifest.
        SnapshotError: the disk refused; the last snapshot and checkpoint are as they were.
    """
    consumer = Consumer(config, directory, clock=clock, now=now)
    if resume:
        consumer.restore()
    with Receiver(
        config.wire, name=config.name, resume=consumer.position, expect=consumer.schema
    ) as receiver:
        while not consumer.has_ended and not stop():
            for incoming in receiver.poll(POLL_S):
                try:
                    consumer.handle(incoming, receiver)
                except DivergedError:
                    consumer.abandon()
                    raise
                if isinstance(incoming, BatchReceived):
                    watch(consumer.progress)
        if not consumer.has_ended:
            consumer.interrupt(receiver)
    if consumer.has_ended:
        # A run that has ended well keeps no events on disk; not before the producer has been told,
        # because a kill in between would leave nothing to resume from.
        delete_checkpoints(directory.checkpoints)
    return consumer.report()


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
        self._clock = clock
        self._publisher = Publisher(directory.snapshots, config.snapshot, now=now)
        self._ledger = ConsumerLedger()
        self._learner: Learner | None = None
        self._run: dict[str, Any] = {}
        self._n_events: int | None = None
        self._snapshot: Path | None = None
        self._snapshot_due = _Due(config.snapshot.every_events, config.snapshot.every_s, clock())
        self._checkpoint_due = _Due(config.checkpoint.every_events, 0.0, clock())
        self.position: Position | None = None
        """Where the consumer stands; None before the run has begun."""
        self.has_ended = False

    @property
    def schema(self) -> EventSchema | None:
        """The schema that is being learned; None before the run has begun."""
        return self._learner.schema if self._learner else None

    @property
    def progress(self) -> Progress:
        """Where the consumer stands."""
        learner = self._learner
        points = learner.history.points() if learner else ()
        return Progress(
            n_seen=learner.n_seen if learner else 0,
            n_trained=learner.n_trained if learner else 0,
            n_events=self._n_events,
            nll=points[-1].nll if points else None,
        )

    def handle(self, incoming: Incoming, receiver: Receiver) -> None:
        """Acts on one thing that the wire handed over."""
        self._ledger.observe(incoming)
        match incoming:
            case RunBegan():
                self._begin(incoming, receiver)
                return
            case BatchReceived():
                self._learn(incoming, receiver)
            case RunEnded():
                self._end(incoming)
                receiver.acknowledge(incoming.position)
                return
            case _:
                pass
        self.position = incoming.position
        self._write_what_is_due(receiver)

    def restore(self) -> None:
        """Goes on from the newest undamaged checkpoint.

        Raises:
            CheckpointError: there is none, or it is of another configuration.
        """
        checkpoint, damaged = read_checkpoint(self._directory.checkpoints)
        for problem in damaged:
            logger.warning("damaged checkpoint passed over", extra={"problem": problem})
        document = checkpoint.document
        try:
            learned_with, schema = document["learner_config"], document["run"]["schema"]
            if learned_with != _plain(self._config.learner):
                raise CheckpointError(
                    f"{self._directory.checkpoints}: expected a checkpoint of this configuration; "
                    f"got one of another: {_difference(learned_with, _plain(self._config.learner))}"
                )
            learner = Learner(EventSchema.from_dict(schema), self._config.learner)
            learner.load(Checkpoint(document["learner"], checkpoint.arrays))
            self._ledger = ConsumerLedger.from_dict(document["ledger"])
            self.position = Position.from_dict(document["position"])
            self._run = document["run"]
        except (KeyError, TypeError, SchemaError) as error:
            raise CheckpointError(
                f"{self._directory.checkpoints}: expected a consumer's checkpoint; got {error!r}"
            ) from error
        self._learner = learner
        self._snapshot_due.done(learner.n_trained, self._clock())
        self._checkpoint_due.done(learner.n_trained, self._clock())
        logger.info("resumed", extra={"n_trained": learner.n_trained, "n_seen": learner.n_seen})

    def interrupt(self, receiver: Receiver) -> None:
        """Leaves the run before its end: a checkpoint, a snapshot and the accounts so far."""
        if self._learner is not None and self.position is not None:
            self._checkpoint(receiver)
            self._publish(final=False)
        self._write_ledger("INTERRUPTED")

    def abandon(self) -> None:
        """Leaves the accounts of a run that failed; what was in flight is unaccounted for."""
        self._write_ledger("ABORTED")

    def report(self) -> ConsumerReport:
        """Returns how the run ended."""
        document = json.loads(self._directory.ledger.read_text())
        return ConsumerReport(
            condition=document["condition"],
            ledger=document,
            snapshot=self._snapshot,
            problems=tuple(document["problems"]),
            is_complete=self.has_ended,
        )

    def _begin(self, began: RunBegan, receiver: Receiver) -> None:
        self._n_events = began.n_events
        if self._learner is None:
            self._learner = Learner(began.schema, self._config.learner)
            self._run = _describe(began)
            self.position = receiver.position
        self._publisher.require_room(self._about(), self._learner)
        logger.info(
            "run began",
            extra={"run": began.run, "mode": began.mode, "features": list(began.schema.names)},
        )

    def _learn(self, received: BatchReceived, receiver: Receiver) -> None:
        learner = self._running()
        batch = received.batch
        outcome = learner.learn(batch.x, lumisection=batch.lumisection)
        self._ledger.account(
            [received.batch_number], trained=outcome.n_accepted, skipped=outcome.skipped
        )
        if outcome.alarm is not None:
            logger.warning("drift", extra=asdict(outcome.alarm))
        receiver.consumed(received.batch_number)
        receiver.report_progress(learner.n_trained)

    def _end(self, ended: RunEnded) -> None:
        """Trains on what is owed and makes everything durable; the caller then acknowledges."""
        self.position = ended.position
        if self._learner is not None:
            self._learner.finish()
            for reason in self._learner.tainted:
                logger.warning("tainted", extra={"reason": reason})
            self._publish(final=True)
        self.has_ended = True
        self._write_ledger(self._condition(ended))

    def _condition(self, ended: RunEnded) -> Condition:
        is_tainted = self._learner is not None and bool(self._learner.tainted)
        return "TAINTED" if is_tainted and ended.condition == "GOOD" else ended.condition

    def _write_what_is_due(self, receiver: Receiver) -> None:
        learner = self._running()
        now = self._clock()
        if self._snapshot_due.is_due(learner.n_trained, now):
            self._publish(final=False)
            self._snapshot_due.done(learner.n_trained, now)
        if self._checkpoint_due.is_due(learner.n_trained, now):
            self._checkpoint(receiver)
            self._checkpoint_due.done(learner.n_trained, now)

    def _checkpoint(self, receiver: Receiver) -> None:
        if self.position is None:
            return
        learned = self._running().state()
        document = {
            "position": self.position.to_dict(),
            "ledger": self._ledger.to_dict(),
            "learner": learned.document,
            "learner_config": _plain(self._config.learner),
            "run": self._run,
        }
        write_checkpoint(
            self._directory.checkpoints,
            Checkpoint(document, learned.arrays),
            serial=self.position.next_event,
        )
        receiver.acknowledge(self.position)

    def _publish(self, *, final: bool) -> None:
        """Writes a snapshot, unless the marginal map isn't fitted yet."""
        written = self._publisher.publish(
            self._about(), self._running(), ledger=self._ledger.document(), final=final
        )
        self._snapshot = written or self._snapshot

    def _about(self) -> About:
        return About(self._config.name, self._run, self._config.document)

    def _write_ledger(self, condition: Condition) -> None:
        document = self._ledger.document(condition)
        trained = self._learner.n_trained if self._learner else 0
        if self.has_ended or condition != "INTERRUPTED":
            # The learner's own count must agree with the accounts: nothing accepted is left over.
            missing = document["trained"] - trained
            if missing:
                document["unaccounted"] += abs(missing)
                document["problems"].append(
                    f"{document['trained']} events were accepted, {trained} were trained on"
                )
        document["uses"] = self._learner.n_uses if self._learner else 0
        write_file(self._directory.ledger, json.dumps(document, indent=1).encode())

    def _running(self) -> Learner:
        if self._learner is None:
            raise CheckpointError("expected a begin of run before the first batch; got none")
        return self._learner


class _Due:
    """Whether something is due again, after so many events or seconds; 0 for never."""

    def __init__(self, every_events: int, every_s: float, now: float) -> None:
        self._every_events = every_events
        self._every_s = every_s
        self._n_events = 0
        self._when = now

    def is_due(self, n_events: int, now: float) -> bool:
        by_events = self._every_events and n_events - self._n_events >= self._every_events
        by_time = self._every_s and now - self._when >= self._every_s
        return bool(by_events or by_time)

    def done(self, n_events: int, now: float) -> None:
        self._n_events = n_events
        self._when = now


def _describe(began: RunBegan) -> dict[str, Any]:
    """What a manifest and a checkpoint say of the stream; of many files, the first few by name and
    all by a common hash.
    """
    sources = [asdict(source) for source in began.sources]
    return {
        "run": began.run,
        "epoch": began.epoch,
        "mode": began.mode,
        "seed": began.seed,
        "n_events": began.n_events,
        "schema": began.schema.to_dict(),
        "n_sources": len(sources),
        "sources": sources[:LISTED],
        "sources_sha256": sha256(json.dumps(sources, sort_keys=True).encode()),
        "config": began.config,
    }


def _plain(config: LearnerConfig) -> dict[str, Any]:
    """A configuration as JSON would give it back."""
    document: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return document


def _difference(found: Any, expected: Any, name: str = "") -> str:
    """The first setting in which two configurations differ."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted({*found, *expected}):
            if found.get(key) != expected.get(key):
                return _difference(found.get(key), expected.get(key), f"{name}.{key}".strip("."))
    return f"{name} was {found!r} and is {expected!r} now"
