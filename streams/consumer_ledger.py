"""The consumer's ledger: what was received, what became of it, and whether that is everything."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from streams.batch import Batch
from streams.errors import LedgerError
from streams.intervals import IntervalSet
from streams.ledger import UNRECORDED, Balance
from streams.messages import Condition, Counts
from streams.protocol import (
    BatchReceived,
    EventsLost,
    GapReceived,
    Incoming,
    LumisectionEnded,
    RunBegan,
    RunEnded,
    counts_from_dict,
    counts_to_dict,
)
from streams.rows import Row, Rows, add_reasons

NO_END = 1 << 63

KEPT_PROBLEMS = 20
"""Imbalances that are kept in words; all of them count."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A batch that was received and is not accounted for yet."""

    n: int
    lumisection: int


@dataclass(slots=True)
class _Tally:
    """What became of the events of a lumisection that is not settled yet.

    Args:
        seen: the producer's counts of the batches and gaps that came.
        trained, skipped: what the learner said of the events received.
    """

    seen: Counts = field(default_factory=Counts)
    trained: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def n_pending(self) -> int:
        return self.seen.sent - self.trained - sum(self.skipped.values())


@dataclass(frozen=True, slots=True)
class _Claim:
    """The producer's account of a lumisection."""

    first_event: int
    end_event: int
    counts: Counts
    live_ns: int
    dead_ns: int

    def __add__(self, other: Self) -> "_Claim":
        return _Claim(
            min(self.first_event, other.first_event),
            max(self.end_event, other.end_event),
            self.counts + other.counts,
            self.live_ns + other.live_ns,
            self.dead_ns + other.dead_ns,
        )


class ConsumerLedger:
    """What the consumer received and what became of it; part of the checkpoint.

    Show it everything that the receiver hands over (`observe`), say of every batch what became
    of its events (`account`), and ask for the `balance` once the run has ended.

    Example:
        >>> ledger = ConsumerLedger()
        >>> ledger.balance().problems
        ('no end of run was received',)
        >>> ConsumerLedger.from_dict(ledger.to_dict()).to_dict() == ledger.to_dict()
        True
    """

    def __init__(self) -> None:
        self._epoch = ""
        self._run = 0
        self._mode = ""
        self._rows = Rows()
        self._covered = IntervalSet()
        self._lost = IntervalSet()
        self._pending: dict[int, _Pending] = {}
        self._tallies: dict[int, _Tally] = {}
        self._claims: dict[int, _Claim] = {}
        self._closed_event = 0
        self._totals: Counts | None = None
        self._condition: Condition = "INCOMPLETE"
        self._text = ""
        self._bad: dict[str, int] = {}
        self._n_batches = 0
        self._problems: list[str] = []

    @property
    def has_ended(self) -> bool:
        """Whether the end of the run was received."""
        return self._totals is not None

    @property
    def n_pending(self) -> int:
        """Events that were received and are not accounted for yet."""
        return sum(batch.n for batch in self._pending.values())

    # --- what the wire says ----------------------------------------------------------------

    def observe(self, incoming: Incoming) -> None:
        """Records one thing that the receiver handed over.

        Raises:
            LedgerError: an event arrives for a second time.
        """
        match incoming:
            case RunBegan():
                self._epoch, self._run, self._mode = incoming.epoch, incoming.run, incoming.mode
            case BatchReceived():
                self._receive(incoming)
            case GapReceived():
                self._cover(incoming, incoming.lumisection, incoming.counts)
            case EventsLost():
                self._lost.add(incoming.first_event, incoming.end_event)
            case LumisectionEnded():
                self._close(incoming)
            case RunEnded():
                self._end(incoming)

    def _receive(self, received: BatchReceived) -> None:
        batch = received.batch
        self._cover(batch, batch.lumisection, received.counts)
        self._pending[received.batch_number] = _Pending(len(batch), batch.lumisection)
        self._n_batches += 1

    def _cover(self, events: Batch | GapReceived, lumisection: int, counts: Counts) -> None:
        first, end = events.first_event, events.end_event
        if self._covered.add(first, end) != end - first:
            raise LedgerError(f"some of the events [{first}, {end}) were told of before")
        self._tallies.setdefault(lumisection, _Tally()).seen += counts

    def _close(self, end: LumisectionEnded) -> None:
        if end.end_event <= self._closed_event:
            return  # repeated after a resume
        self._closed_event = end.end_event
        claim = _Claim(end.first_event, end.end_event, end.counts, end.live_ns, end.dead_ns)
        known = self._claims.get(end.lumisection)
        self._claims[end.lumisection] = claim if known is None else known + claim
        self._settle(end.lumisection)

    def _end(self, end: RunEnded) -> None:
        self._totals = end.totals
        self._condition = end.condition
        self._text = end.text
        self._bad = dict(end.bad)
        if end.digest_agrees is False:
            self._problems.append("the digest of the batches received isn't that of those sent")

    # --- what the learner says -------------------------------------------------------------

    def account(
        self, batches: Iterable[int], *, trained: int, skipped: Mapping[str, int] | None = None
    ) -> None:
        """Says what became of all events of these batches.

        Args:
            batches: batch numbers, for example a range; of one lumisection if any event was
                skipped.
            trained: how many events were trained on.
            skipped: how many were not, by reason.

        Raises:
            LedgerError: a batch is unknown or accounted for already, or the numbers don't add up.
        """
        skipped = {reason: n for reason, n in (skipped or {}).items() if n}
        numbers = list(batches)
        unknown = [n for n in numbers if n not in self._pending]
        if unknown:
            raise LedgerError(f"batch {unknown[0]} is not pending: unknown, or accounted for twice")
        by_lumisection: dict[int, int] = {}
        for number in numbers:
            batch = self._pending[number]
            by_lumisection[batch.lumisection] = by_lumisection.get(batch.lumisection, 0) + batch.n
        n_events = sum(by_lumisection.values())
        if trained < 0 or min(skipped.values(), default=0) < 0:
            raise LedgerError(f"expected counts; got {trained} trained and skipped {skipped}")
        if trained + sum(skipped.values()) != n_events:
            raise LedgerError(
                f"expected {n_events} events of batches {_brief(numbers)} to be accounted for; got "
                f"{trained} trained and skipped {skipped}"
            )
        if skipped and len(by_lumisection) > 1:
            raise LedgerError(
                f"batches {_brief(numbers)} lie in lumisections {sorted(by_lumisection)}: account "
                "for each lumisection apart where events were skipped"
            )
        for number in numbers:
            del self._pending[number]
        for lumisection, n in by_lumisection.items():
            tally = self._tallies[lumisection]
            tally.trained += trained if skipped else n
            tally.skipped = add_reasons(tally.skipped, skipped)
            self._settle(lumisection)

    # --- the accounts ----------------------------------------------------------------------

    def _settle(self, lumisection: int) -> None:
        """Turns a lumisection that is closed and accounted for into a row of counters."""
        claim = self._claims.get(lumisection)
        tally = self._tallies.get(lumisection, _Tally())
        if claim is None or tally.n_pending:
            return
        row, problems = self._row(lumisection, claim, tally)
        self._rows.add(row)
        self._problems += problems[: KEPT_PROBLEMS - len(self._problems)]
        for intervals in (self._covered, self._lost):
            intervals.remove(claim.first_event, claim.end_event)
        del self._claims[lumisection]
        self._tallies.pop(lumisection, None)

    def _row(self, lumisection: int, claim: _Claim, tally: _Tally) -> tuple[Row, list[str]]:
        """Compares the producer's account of a lumisection with what was seen of it."""
        first, end, counts = claim.first_event, claim.end_event, claim.counts
        n_lost = self._lost.count(first, end)
        unseen = counts - tally.seen  # what became of the lost events, if all is well
        lost = min(max(unseen.sent, 0), n_lost)
        off = [
            (counts.discrepancy, f"the producer's counts do not add up: {counts}"),
            (end - first - counts.generated, f"{end - first} events, but counts {counts}"),
            (unseen.generated - n_lost, f"events {self._untold(first, end)} were never told of"),
            (
                unseen.sent - lost,
                f"{counts.sent} events sent; {tally.seen.sent} received, {lost} lost",
            ),
            (
                min(0, *counts_to_dict(unseen).values()),
                f"counts of batches and gaps {tally.seen}, but of the whole {counts}",
            ),
        ]
        problems = [f"lumisection {lumisection}: {words}" for n, words in off if n]
        if lost and self._mode == "lossless":
            problems.append(f"lumisection {lumisection}: {lost} events lost in lossless mode")
        row = Row(
            lumisection=lumisection,
            last_lumisection=lumisection,
            counts=counts,
            trained=tally.trained,
            skipped=tally.skipped,
            lost=lost,
            unaccounted=max(abs(n) for n, _ in off) + tally.n_pending,
            live_ns=claim.live_ns,
            dead_ns=claim.dead_ns,
        )
        return row, problems

    def _untold(self, first: int, end: int) -> str:
        known = self._covered.union(self._lost)
        gaps = [f"{a}..{b - 1}" for a, b in known.missing(first, end)]
        return ", ".join(gaps[:5]) + (" and more" if len(gaps) > 5 else "")

    def _unclosed(self) -> Counts:
        """Counts of what was seen after the last closed lumisection; lost counts as sent."""
        unclosed = Counts()
        for lumisection, tally in self._tallies.items():
            if lumisection not in self._claims:
                unclosed += tally.seen
        n_lost = self._lost.count(self._closed_event, NO_END)
        return unclosed + Counts(generated=n_lost, sent=n_lost)

    def _summary(self) -> tuple[Row, list[str]]:
        """Returns the run's row and its problems, what is still open included."""
        total = self._rows.total()
        problems = list(self._problems)
        n_lost = len(self._lost)
        for lumisection, claim in self._claims.items():
            tally = self._tallies.get(lumisection, _Tally())
            row, more = self._row(lumisection, claim, tally)
            n_lost -= self._lost.count(claim.first_event, claim.end_event)
            total += row
            problems += more
        unclosed = [t for n, t in self._tallies.items() if n not in self._claims]
        for tally in unclosed:
            total += Row(
                1, 1, trained=tally.trained, skipped=tally.skipped, unaccounted=tally.n_pending
            )
        if self._pending:
            problems.append(
                f"batches {_brief(list(self._pending))} ({self.n_pending} events) were received "
                "and never accounted for"
            )
        if self._totals is None:
            problems.append("no end of run was received")
            rest = self._unclosed()
        else:
            rest = self._totals - total.counts
        # Whole lumisections can be missing only in realtime mode, after a long absence.
        sent_unseen = rest.sent - sum(tally.seen.sent for tally in unclosed)
        lost = min(max(sent_unseen, 0), n_lost)
        off = abs(sent_unseen - lost) + max(0, -min(counts_to_dict(rest).values()))
        if off:
            problems.append(f"the run's counts differ from its lumisections' by {off}")
        return total + Row(1, 1, rest, lost=lost, unaccounted=off), problems

    def balance(self) -> Balance:
        """Returns whether every event of the run is accounted for, and names every gap."""
        total, problems = self._summary()
        return Balance(total.unaccounted, tuple(problems[:KEPT_PROBLEMS]))

    def document(self, condition: Condition | None = None) -> dict[str, Any]:
        """Returns the account of the run, of both sides, as plain JSON types.

        Args:
            condition: how the run ended, where the consumer knows worse than the producer.
        """
        total, problems = self._summary()
        return {
            "epoch": self._epoch,
            "run": self._run,
            "mode": self._mode,
            "condition": condition or self._condition,
            "text": self._text,
            **counts_to_dict(total.counts),
            "bad_by_reason": self._bad_by_reason(total.counts.bad),
            "trained": total.trained,
            "skipped": dict(total.skipped),
            "lost": total.lost,
            "unaccounted": total.unaccounted,
            "problems": problems[:KEPT_PROBLEMS],
            "n_batches": self._n_batches,
            "live_s": total.live_ns / 1e9,
            "dead_s": total.dead_ns / 1e9,
            "lumisections": [row.to_dict() for row in self._rows],
        }

    def _bad_by_reason(self, n_bad: int) -> dict[str, int]:
        """What the producer said, completed: of an unfinished run only the number is known."""
        rest = n_bad - sum(self._bad.values())
        if rest < 0:
            return {UNRECORDED: n_bad}
        return {**self._bad, UNRECORDED: self._bad.get(UNRECORDED, 0) + rest} if rest else self._bad

    # --- the checkpoint --------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Returns the ledger as plain JSON types."""
        return {
            "epoch": self._epoch,
            "run": self._run,
            "mode": self._mode,
            "rows": self._rows.to_dict(),
            "covered": list(self._covered),
            "lost": list(self._lost),
            "pending": [[number, b.n, b.lumisection] for number, b in self._pending.items()],
            "tallies": [
                [n, counts_to_dict(t.seen), t.trained, dict(t.skipped)]
                for n, t in self._tallies.items()
            ],
            "claims": [
                [n, c.first_event, c.end_event, counts_to_dict(c.counts), c.live_ns, c.dead_ns]
                for n, c in self._claims.items()
            ],
            "closed_event": self._closed_event,
            "totals": None if self._totals is None else counts_to_dict(self._totals),
            "condition": self._condition,
            "text": self._text,
            "bad": dict(self._bad),
            "n_batches": self._n_batches,
            "problems": list(self._problems),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Returns the ledger that `to_dict` described.

        Raises:
            LedgerError: the document isn't a ledger.
        """
        ledger = cls()
        try:
            ledger._epoch, ledger._run = document["epoch"], document["run"]
            ledger._mode = document["mode"]
            ledger._rows = Rows.from_dict(document["rows"])
            ledger._covered = IntervalSet(map(tuple, document["covered"]))
            ledger._lost = IntervalSet(map(tuple, document["lost"]))
            ledger._pending = {number: _Pending(n, ls) for number, n, ls in document["pending"]}
            ledger._tallies = {
                n: _Tally(counts_from_dict(seen), trained, dict(skipped))
                for n, seen, trained, skipped in document["tallies"]
            }
            ledger._claims = {
                n: _Claim(first, end, counts_from_dict(counts), live_ns, dead_ns)
                for n, first, end, counts, live_ns, dead_ns in document["claims"]
            }
            ledger._closed_event = document["closed_event"]
            totals = document["totals"]
            ledger._totals = None if totals is None else counts_from_dict(totals)
            ledger._condition, ledger._text = document["condition"], document["text"]
            ledger._bad = dict(document["bad"])
            ledger._n_batches = document["n_batches"]
            ledger._problems = list(document["problems"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise LedgerError(f"expected a ledger as to_dict wrote it; got {error!r}") from error
        return ledger


def _brief(numbers: list[int]) -> str:
    return f"{min(numbers)}..{max(numbers)}" if len(numbers) > 1 else "".join(map(str, numbers))
