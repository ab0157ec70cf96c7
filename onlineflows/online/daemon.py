"""The consumer daemon: one loop that listens, learns and writes, until the run ends."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from onlineflows.errors import CheckpointError, ConfigError, DivergedError, SnapshotError
from onlineflows.online.checkpoint import delete_checkpoints
from onlineflows.online.consumer import Consumer, ConsumerConfig, ConsumerReport, Progress
from onlineflows.online.operator import Operator
from onlineflows.online.rundir import RunDirectory
from streams.console import Console
from streams.transport import Receiver

GO_ON = "the end of the run was not acknowledged: once it can be written, go on with --resume"

POLL_S = 0.1
"""Longest wait for a message before stop requests and heartbeats are looked at."""


def run_consumer(
    config: ConsumerConfig,
    directory: RunDirectory,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[Progress], None] = lambda _: None,
    console: Console | None = None,
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
        watch: told where the consumer stands after each message, and ten times a second while
            there is none: whoever isn't told any more watches a loop that hangs.
        console: where an operator asks and watches; None for nobody.
        clock: seconds that never go back.
        now: the time of day, in UTC.

    Raises:
        CheckpointError: there is nothing to resume from, or it is of another configuration.
        SchemaError, RefusedError, TransportError, ProtocolError: see `streams.transport`.
        DivergedError: the loss or its gradient isn't finite; the accounts are written, the last
            snapshot and checkpoint are as they were.
        ConfigError: what the stream holds doesn't fit what is to be learned, or no manifest.
        SnapshotError: the disk refused what a run must end with; the last snapshot and checkpoint
            are as they were, and nothing was acknowledged.
    """
    consumer = Consumer(config, directory, clock=clock, now=now)
    if resume:
        consumer.restore()
    operator = Operator(console, clock=clock, wall=lambda: now().timestamp())
    with Receiver(
        config.wire, name=config.name, resume=consumer.position, expect=consumer.schema
    ) as receiver:
        while not (consumer.has_ended or operator.wants_stop or stop()):
            watch(consumer.progress)
            operator.attend(consumer, receiver)
            for incoming in receiver.poll(POLL_S):
                try:
                    consumer.handle(incoming, receiver)
                except DivergedError:
                    consumer.abandon()
                    operator.publish(consumer, receiver)
                    raise
                except ConfigError as error:
                    receiver.refuse(str(error))  # otherwise the producer would wait in vain
                    raise
                except (CheckpointError, SnapshotError) as error:
                    error.add_note(GO_ON)
                    raise
                watch(consumer.progress)
                operator.attend(consumer, receiver)
        if not consumer.has_ended:
            consumer.interrupt(receiver)
        operator.publish(consumer, receiver)
    if consumer.has_ended and not consumer.can_resume:
        # A run that has ended well keeps no events on disk; not before the producer has been told,
        # because a kill in between would leave nothing to resume from.
        delete_checkpoints(directory.checkpoints)
    return consumer.report()
