"""The consumer's ledger: what was received, what became of it, and whether that is everything."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

from streams.batch import Batch
from streams.errors import LedgerError
from streams.intervals import IntervalSet
from streams.ledger import UNRECORDED, Balance
from streams.messages import Condition, Counts
from streams.pieces import Claim, Piece, compare
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


class _Pending(NamedTuple):
    """A batch that was received and is not accounted for yet.

    Args:
        n: its events.
        piece: number of the piece that it belongs to.
    """

    n: int
    piece: int


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
        self._pieces: dict[int, Piece] = {}
        self._n_pieces = 0
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

    def in_brief(self) -> tuple[dict[str, int], int]:
        """Returns the events that were skipped so far, by reason, and the number of lost ones."""
        total = self._rows.total()
        skipped = dict(total.skipped)
        for piece in self._pieces.values():
            skipped = add_reasons(skipped, piece.skipped)
        return skipped, total.lost + len(self._lost)

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
        piece = self._cover(batch, batch.lumisection, received.counts)
        self._pending[received.batch_number] = _Pending(len(batch), piece)
        self._n_batches += 1

    def _cover(self, events: Batch | GapReceived, lumisection: int, counts: Counts) -> int:
        first, end = events.first_event, events.end_event
        if self._covered.add(first, end) != end - first:
            raise LedgerError(f"some of the events [{first}, {end}) were told of before")
        number = self._open_piece(lumisection)
        self._pieces[number].seen += counts
        return number

    def _open_piece(self, lumisection: int) -> int:
        """Returns the number of a lumisection's piece that is not closed; begins one if need be."""
        for number, piece in self._pieces.items():
            if piece.lumisection == lumisection and piece.claim is None:
                return number
        self._pieces[self._n_pieces] = Piece(lumisection)
        self._n_pieces += 1
        return self._n_pieces - 1

    def _close(self, end: LumisectionEnded) -> None:
        if end.end_event <= self._closed_event:
            return  # repeated after a resume
        self._closed_event = end.end_event
        number = self._open_piece(end.lumisection)
        self._pieces[number].claim = Claim.of(end)
        self._settle(number)

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
        skipped = {reason: n for reason, n in skipped.items() if n} if skipped else {}
        numbers = list(batches)
        by_piece: dict[int, int] = {}
        for number in numbers:
            batch = self._pending.get(number)
            if batch is None:
                raise LedgerError(f"batch {number} is not pending: unknown, or accounted for twice")
            by_piece[batch.piece] = by_piece.get(batch.piece, 0) + batch.n
        n_events, n_skipped = sum(by_piece.values()), sum(skipped.values())
        if trained < 0 or (skipped and min(skipped.values()) < 0):
            raise LedgerError(f"expected counts; got {trained} trained and skipped {skipped}")
        if trained + n_skipped != n_events:
            raise LedgerError(
                f"expected {n_events} events of batches {_brief(numbers)} to be accounted for; got "
                f"{trained} trained and skipped {skipped}"
            )
        if skipped and len(by_piece) > 1:
            lumisections = sorted(self._pieces[piece].lumisection for piece in by_piece)
            raise LedgerError(
                f"batches {_brief(numbers)} lie in lumisections {lumisections}: account "
                "for each lumisection apart where events were skipped"
            )
        for number in numbers:
            del self._pending[number]
        for piece, n in by_piece.items():
            self._pieces[piece].account(trained if skipped else n, skipped)
            self._settle(piece)

    # --- the accounts ----------------------------------------------------------------------

    def _settle(self, number: int) -> None:
        """Turns a piece that is closed and accounted for into a row of counters."""
        piece = self._pieces[number]
        claim = piece.claim
        if claim is None or piece.n_pending:
            return
        row, problems = self._row(piece, claim)
        self._rows.add(row)
        self._problems += problems[: KEPT_PROBLEMS - len(self._problems)]
        for intervals in (self._covered, self._lost):
            intervals.remove(claim.first_event, claim.end_event)
        del self._pieces[number]

    def _row(self, piece: Piece, claim: Claim) -> tuple[Row, list[str]]:
        row, problems = compare(piece, claim, self._covered, self._lost)
        if row.lost and self._mode == "lossless":
            problems.append(
                f"lumisection {row.lumisection}: {row.lost} events lost in lossless mode"
            )
        return row, problems

    def _unclosed(self) -> Counts:
        """Counts of what was seen after the last closed lumisection; lost counts as sent."""
        unclosed = Counts()
        for piece in self._pieces.values():
            if piece.claim is None:
                unclosed += piece.seen
        n_lost = self._lost.count(self._closed_event, NO_END)
        return unclosed + Counts(generated=n_lost, sent=n_lost)

    def _summary(self) -> tuple[Row, list[str]]:
        """Returns the run's row and its problems, what is still open included."""
        total = self._rows.total()
        problems = list(self._problems)
        n_lost = len(self._lost)
        unclosed = []
        for piece in self._pieces.values():
            claim = piece.claim
            if claim is None:
                unclosed.append(piece)
                n = piece.n_pending
                row = Row(1, 1, trained=piece.trained, skipped=piece.skipped, unaccounted=n)
                more: list[str] = []
            else:
                row, more = self._row(piece, claim)
                n_lost -= self._lost.count(claim.first_event, claim.end_event)
            total += row
            problems += more
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
        sent_unseen = rest.sent - sum(piece.seen.sent for piece in unclosed)
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
            "pending": [[number, b.n, b.piece] for number, b in self._pending.items()],
            "pieces": [[number, *piece.to_list()] for number, piece in self._pieces.items()],
            "n_pieces": self._n_pieces,
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
            ledger._pieces = {n: Piece.from_list(piece) for n, *piece in document["pieces"]}
            ledger._n_pieces = document["n_pieces"]
            ledger._pending = {number: _Pending(n, p) for number, n, p in document["pending"]}
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
