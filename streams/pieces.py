"""Pieces of lumisections: what the consumer saw of each, against what the producer says of it.

A lumisection is one piece, unless its run ended in the middle of it and went on later: then it is
closed twice, each time with the counts of its events since the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from streams.intervals import IntervalSet
from streams.messages import Counts
from streams.protocol import LumisectionEnded, counts_from_dict, counts_to_dict
from streams.rows import Row, add_reasons


@dataclass(frozen=True, slots=True)
class Claim:
    """The producer's account of a piece."""

    first_event: int
    end_event: int
    counts: Counts
    live_ns: int
    dead_ns: int

    @classmethod
    def of(cls, end: LumisectionEnded) -> Self:
        """Returns what the end of a lumisection says."""
        return cls(end.first_event, end.end_event, end.counts, end.live_ns, end.dead_ns)


@dataclass(slots=True)
class Piece:
    """What became of the events of a piece that is not settled yet.

    Args:
        lumisection: where it belongs.
        seen: the producer's counts of the batches and gaps that came.
        trained, skipped: what the learner said of the events received.
        claim: the producer's account of the whole piece, once it has come.
    """

    lumisection: int
    seen: Counts = field(default_factory=Counts)
    trained: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    claim: Claim | None = None

    @property
    def n_pending(self) -> int:
        """Events that were received and are not accounted for yet."""
        return self.seen.sent - self.trained - sum(self.skipped.values())

    def account(self, trained: int, skipped: Mapping[str, int]) -> None:
        """Adds what became of some of its events."""
        self.trained += trained
        if skipped:
            self.skipped = add_reasons(self.skipped, skipped)

    def to_list(self) -> list[Any]:
        """Returns the piece as plain JSON types."""
        claim = self.claim
        return [
            self.lumisection,
            counts_to_dict(self.seen),
            self.trained,
            dict(self.skipped),
            claim
            and [
                claim.first_event,
                claim.end_event,
                counts_to_dict(claim.counts),
                claim.live_ns,
                claim.dead_ns,
            ],
        ]

    @classmethod
    def from_list(cls, document: list[Any]) -> Self:
        """Returns the piece that `to_list` described."""
        lumisection, seen, trained, skipped, claim = document
        if claim is not None:
            first, end, counts, live_ns, dead_ns = claim
            claim = Claim(first, end, counts_from_dict(counts), live_ns, dead_ns)
        return cls(lumisection, counts_from_dict(seen), trained, dict(skipped), claim)


def compare(
    piece: Piece, claim: Claim, covered: IntervalSet, lost: IntervalSet
) -> tuple[Row, list[str]]:
    """Compares the producer's account of a piece with what was seen of it.

    Args:
        piece: what was seen.
        claim: the producer's account.
        covered: event indices that batches and gaps told of.
        lost: event indices that were given up.

    Returns:
        The row of counters and each imbalance in words.
    """
    first, end, counts = claim.first_event, claim.end_event, claim.counts
    n_lost = lost.count(first, end)
    unseen = counts - piece.seen  # what became of the lost events, if all is well
    n_lost_sent = min(max(unseen.sent, 0), n_lost)
    off = [
        (counts.discrepancy, f"the producer's counts do not add up: {counts}"),
        (end - first - counts.generated, f"{end - first} events, but counts {counts}"),
        (
            unseen.generated - n_lost,
            f"events {_untold(first, end, covered, lost)} were never told of",
        ),
        (
            unseen.sent - n_lost_sent,
            f"{counts.sent} events sent; {piece.seen.sent} received, {n_lost_sent} lost",
        ),
        (
            min(0, *counts_to_dict(unseen).values()),
            f"counts of batches and gaps {piece.seen}, but of the whole {counts}",
        ),
    ]
    row = Row(
        lumisection=piece.lumisection,
        last_lumisection=piece.lumisection,
        counts=counts,
        trained=piece.trained,
        skipped=piece.skipped,
        lost=n_lost_sent,
        unaccounted=max(abs(n) for n, _ in off) + piece.n_pending,
        live_ns=claim.live_ns,
        dead_ns=claim.dead_ns,
    )
    return row, [f"lumisection {piece.lumisection}: {words}" for n, words in off if n]


def _untold(first: int, end: int, covered: IntervalSet, lost: IntervalSet) -> str:
    gaps = [f"{a}..{b - 1}" for a, b in covered.union(lost).missing(first, end)]
    return ", ".join(gaps[:5]) + (" and more" if len(gaps) > 5 else "")
