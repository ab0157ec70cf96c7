"""What became of every event: one ledger on each side, which must balance at the end of a run.

::

    generated = sent + elsewhere + not_selected + prescaled + busy + bad + operator   (producer)
    sent      = trained + skipped (by reason) + lost                                  (consumer)

``elsewhere`` is what went to the other lanes; in the account of the whole stream it is zero.
``lost`` is what was sent and never arrived: its number follows from the producer's count, its
place was named when the consumer noticed. ``unaccounted`` is whatever fails to balance; it must
be zero. Lumisections that are closed and accounted for collapse into counters, so that memory
stays bounded over any run. The consumer's ledger is in `streams.consumer_ledger`.
"""

from dataclasses import dataclass
from typing import Any

from streams.errors import LedgerError
from streams.messages import Condition, Counts
from streams.protocol import Position, counts_to_dict
from streams.rows import Row, Rows

WITHHELD = ("not_selected", "prescaled", "busy", "bad", "operator")
"""Counts of what keeps the producer from sending an event to anybody: the same in all lanes."""

UNRECORDED = "unrecorded"
"""Reason of bad events that another process has counted: only their number is known."""


@dataclass(frozen=True, slots=True)
class Balance:
    """Whether a ledger balances.

    Args:
        unaccounted: events that fail to balance.
        problems: each imbalance in words, the first few.
    """

    unaccounted: int
    problems: tuple[str, ...]

    @property
    def is_balanced(self) -> bool:
        """Whether every event is accounted for."""
        return self.unaccounted == 0 and not self.problems

    def require(self) -> None:
        """Raises LedgerError, naming what is wrong, unless every event is accounted for."""
        if not self.is_balanced:
            raise LedgerError(
                f"the ledger does not balance: {self.unaccounted} events unaccounted for; "
                + "; ".join(self.problems)
            )


class ProducerLedger:
    """What the producer did with each event index, in order.

    A rewind takes back everything from a position on; of what lies before it, the consumer's
    account is adopted, which is the only one that survives a restart of the producer.
    """

    def __init__(self) -> None:
        self.rows = Rows()
        self.next_event = 0
        self.n_batches = 0
        self._closed = Counts()
        self._closed_event = 0
        self._open = Counts()

    @property
    def totals(self) -> Counts:
        """Counts of all events so far."""
        return self._closed + self._open

    @property
    def open_counts(self) -> Counts:
        """Counts of the lumisection that is not closed yet."""
        return self._open

    @property
    def closed_event(self) -> int:
        """Event index up to which lumisections are closed."""
        return self._closed_event

    def record(self, first_event: int, end_event: int, counts: Counts) -> None:
        """Records a range of events: a batch where some of them were sent, otherwise a gap.

        Raises:
            LedgerError: the range isn't the next one, or its counts don't add up to it.
        """
        if first_event != self.next_event or end_event <= first_event:
            raise LedgerError(
                f"expected events from {self.next_event} on; got [{first_event}, {end_event})"
            )
        if not counts.cover(first_event, end_event):
            raise LedgerError(
                f"expected counts that add up to events [{first_event}, {end_event}); got {counts}"
            )
        self.next_event = end_event
        self._open += counts
        self.n_batches += counts.sent > 0

    def close(self, lumisection: int, *, live_ns: int = 0, dead_ns: int = 0) -> Counts:
        """Closes a lumisection at the present position and returns its counts."""
        counts = self._open
        self.rows.add(Row(lumisection, lumisection, counts, live_ns=live_ns, dead_ns=dead_ns))
        self._closed += counts
        self._closed_event = self.next_event
        self._open = Counts()
        return counts

    def rewind(self, position: Position, lumisection: int) -> None:
        """Takes back everything from a position on.

        Args:
            position: where the consumer stands.
            lumisection: the lumisection that its closed_event lies in; rows from there on go.
        """
        self.rows.drop_from(lumisection)
        self.next_event = position.next_event
        self.n_batches = position.next_batch
        self._closed_event = position.closed_event
        self._closed = position.run - position.open
        self._open = position.open

    def balance(self) -> Balance:
        """Returns whether every event index up to the present one is accounted for."""
        totals = self.totals
        problems = []
        if totals.generated != self.next_event:
            problems.append(f"{self.next_event} events passed by, {totals.generated} counted")
        if totals.discrepancy:
            problems.append(f"the counts do not add up: {totals}")
        missing = abs(self.next_event - totals.generated) + abs(totals.discrepancy)
        return Balance(missing, tuple(problems))

    def document(self, condition: Condition) -> dict[str, Any]:
        """Returns the producer's account as plain JSON types."""
        total = self.rows.total()
        return {
            "condition": condition,
            **counts_to_dict(self.totals),
            "n_batches": self.n_batches,
            "live_s": total.live_ns / 1e9,
            "dead_s": total.dead_ns / 1e9,
            "unaccounted": self.balance().unaccounted,
            "lumisections": self.rows.to_dict(),
        }
