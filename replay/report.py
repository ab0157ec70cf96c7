"""What a producer says of itself: where it stands, and how its run went."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.errors import InputError
from streams.ledger import ProducerLedger
from streams.messages import Condition, Counts
from streams.protocol import counts_to_dict


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the producer stands, for whoever watches.

    Args:
        next_event: events that have passed.
        n_events: events that there are; None for an endless stream.
        counts: what became of those that have passed.
        n_trained: events that the consumer says it has trained on.
        elapsed_s: time since the first consumer came.
        is_connected: whether there is one.
        is_stalled: whether it makes no progress, though there is something to do.
        n_stalls: how often that was so.
    """

    next_event: int
    n_events: int | None
    counts: Counts
    n_trained: int
    elapsed_s: float
    is_connected: bool = True
    is_stalled: bool = False
    n_stalls: int = 0


@dataclass(frozen=True, slots=True)
class ProducerReport:
    """How a run of the producer went.

    Args:
        ledger: what became of every event.
        lanes: the same from each lane's point of view.
        problems: where the ledgers do not balance, in words.
        bad: how many events could not be used, by reason.
        condition: how the run ended.
        text: why, where it did not end as planned.
        error: what the source failed with, where the run was ABORTED.
        epoch: the run's epoch.
        is_acknowledged: whether the consumer holds everything durably.
        elapsed_s: time from the first consumer's coming to the end of the run.
        live_s, dead_s, paused_s: its parts; in lossless mode none is dead.
        n_rewinds: how often a consumer asked the stream to go back.
        n_stalls, stalled_s: how often and how long the learner made no progress, though it could.
        prescales: what passed and what was kept of each selection (`PrescaleCounts.document`).
    """

    ledger: ProducerLedger
    lanes: tuple[ProducerLedger, ...]
    problems: tuple[str, ...]
    bad: Mapping[str, int]
    condition: Condition
    text: str
    error: InputError | None
    epoch: str
    is_acknowledged: bool
    elapsed_s: float
    live_s: float
    dead_s: float
    n_rewinds: int
    paused_s: float = 0.0
    n_stalls: int = 0
    stalled_s: float = 0.0
    prescales: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Returns the report as plain JSON types."""
        return {
            "epoch": self.epoch,
            **self.ledger.document(self.condition),
            "bad_by_reason": dict(self.bad),
            "prescales": dict(self.prescales),
            "text": self.text,
            "is_acknowledged": self.is_acknowledged,
            "elapsed_s": self.elapsed_s,
            "live_s": self.live_s,
            "dead_s": self.dead_s,
            "paused_s": self.paused_s,
            "n_rewinds": self.n_rewinds,
            "n_stalls": self.n_stalls,
            "stalled_s": self.stalled_s,
            "problems": list(self.problems),
            "lanes": [
                {**counts_to_dict(lane.totals), "n_batches": lane.n_batches} for lane in self.lanes
            ],
        }
