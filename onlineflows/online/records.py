"""What a consumer leaves behind: snapshots, checkpoints and accounts, and what a full disk costs.

In the middle of a run a write that the disk refuses is logged and counted, and tried again when
the next one is due: training goes on, older files are as they were, and nothing is acknowledged
that isn't durable. At the end of a run, and when it is stopped, such a failure is an error.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from onlineflows.errors import CheckpointError, SnapshotError
from onlineflows.online.durable import sha256, write_file
from onlineflows.online.learner import Learner
from onlineflows.online.publisher import LISTED, About, Publisher
from onlineflows.online.resume import Stand, save
from onlineflows.online.rundir import RunDirectory
from onlineflows.settings import CheckpointConfig, SnapshotConfig
from streams.consumer_ledger import ConsumerLedger
from streams.messages import Condition
from streams.protocol import RunBegan

logger = logging.getLogger(__name__)


class Records:
    """Writes what is due and what a run ends with.

    Args:
        directory: where to; prepared.
        snapshot, checkpoint: when, and how many are kept.
        about: names and describes the run in manifests.
        clock: seconds that never go back.
        now: the time of day, in UTC.

    Attributes:
        snapshot: the newest snapshot; None before there is one.
        failures: writes that the disk refused in the middle of the run, by kind.
    """

    def __init__(
        self,
        directory: RunDirectory,
        snapshot: SnapshotConfig,
        checkpoint: CheckpointConfig,
        *,
        about: Callable[[Mapping[str, Any]], About],
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self.snapshot: Path | None = None
        self.failures: dict[str, int] = {}
        self._directory = directory
        self._about = about
        self._clock = clock
        self._publisher = Publisher(directory.snapshots, snapshot, now=now)
        self._snapshot_due = _Due(snapshot.every_events, snapshot.every_s, clock())
        self._checkpoint_due = _Due(checkpoint.every_events, 0.0, clock())

    def require_room(self, stream: Mapping[str, Any], learner: Learner) -> None:
        """Raises ConfigError if a manifest of this run could become too long."""
        self._publisher.require_room(self._about(stream), learner)

    def resume_from(self, stand: Stand) -> None:
        """Counts from a checkpoint on until something is due."""
        self._snapshot_due.done(stand.learner.n_trained, self._clock())
        self._checkpoint_due.done(stand.learner.n_trained, self._clock())

    def write_due(self, stand: Stand) -> bool:
        """Writes what is due; returns whether a checkpoint of this stand is durable now."""
        n_trained, now = stand.learner.n_trained, self._clock()
        if self._snapshot_due.is_due(n_trained, now):
            self._snapshot_due.done(n_trained, now)
            self._try("snapshot", lambda: self._publish(stand, final=False))
        if not self._checkpoint_due.is_due(n_trained, now):
            return False
        self._checkpoint_due.done(n_trained, now)
        return self._try("checkpoint", lambda: self.save(stand))

    def save(self, stand: Stand) -> None:
        """Writes a checkpoint; whoever asked may then acknowledge its position.

        Raises:
            CheckpointError: the disk refused; older checkpoints are as they were.
        """
        save(self._directory.checkpoints, stand)

    def publish(self, stand: Stand, *, final: bool) -> None:
        """Writes a snapshot, unless the marginal map isn't fitted yet.

        Raises:
            SnapshotError: the disk refused, which is counted; older snapshots are as they were.
        """
        try:
            self._publish(stand, final=final)
        except SnapshotError:
            self._count_failure("snapshot")
            raise

    def _publish(self, stand: Stand, *, final: bool) -> None:
        written = self._publisher.publish(
            self._about(stand.stream), stand.learner, ledger=stand.ledger.document(), final=final
        )
        self.snapshot = written or self.snapshot

    def write_ledger(
        self,
        ledger: ConsumerLedger,
        learner: Learner | None,
        condition: Condition,
        *,
        must_balance: bool,
    ) -> None:
        """Writes the accounts.

        Args:
            ledger: the accounts of the stream.
            learner: has counts of its own, which must agree with the accounts.
            condition: how the run ended.
            must_balance: whether nothing may be left over; an interrupted run still owes events.

        Raises:
            SnapshotError: the disk refused; an older ledger is as it was.
        """
        document = ledger.document(condition)
        missing = document["trained"] - (learner.n_trained if learner else 0)
        if must_balance and missing:
            document["unaccounted"] += abs(missing)
            document["problems"].append(
                f"{document['trained']} events were accepted, "
                f"{document['trained'] - missing} were trained on"
            )
        document["uses"] = learner.n_uses if learner else 0
        document["write_failures"] = dict(self.failures)
        try:
            write_file(self._directory.ledger, json.dumps(document, indent=1).encode())
        except OSError as error:
            raise SnapshotError(
                f"{self._directory.ledger}: expected to write the accounts there; got {error}; "
                "free space and go on with --resume"
            ) from error

    def _try(self, kind: str, write: Callable[[], None]) -> bool:
        """Returns whether a write in the middle of a run succeeded."""
        try:
            write()
        except (CheckpointError, SnapshotError) as error:
            self._count_failure(kind)
            logger.error(
                f"no {kind} could be written; training goes on, and it is tried again when the "
                "next one is due",
                extra={"problem": str(error), "failures": self.failures[kind]},
            )
            return False
        return True

    def _count_failure(self, kind: str) -> None:
        self.failures[kind] = self.failures.get(kind, 0) + 1


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


def describe(began: RunBegan) -> dict[str, Any]:
    """Returns what a manifest and a checkpoint say of the stream; of many files, the first few by
    name and all by a common hash.
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
