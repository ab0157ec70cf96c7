"""One lane of a producer: its end, its ledger, and what it still has to say of other lanes."""

from collections.abc import Mapping
from dataclasses import dataclass

from streams.batch import Batch, Truth
from streams.errors import ProtocolError
from streams.ledger import ProducerLedger
from streams.messages import Condition, Counts
from streams.producer_end import ProducerEnd
from streams.protocol import Position


@dataclass(slots=True)
class _Untold:
    """A range of event indices of which nothing is sent in this lane."""

    first_event: int
    end_event: int
    counts: Counts
    lumisection: int


class Lane:
    """Keeps the account of a lane; where there are others, adjacent gaps are told as one.

    Args:
        end: the lane's end of the wire.
        lumisection_events: event indices per lumisection.
        is_alone: whether there are no other lanes.

    Attributes:
        end: the lane's end of the wire.
        ledger: what became of every event in this lane.
    """

    def __init__(self, end: ProducerEnd, lumisection_events: int, *, is_alone: bool) -> None:
        self.end = end
        self.ledger = ProducerLedger()
        self._lumisection_events = lumisection_events
        self._is_alone = is_alone
        self._untold: _Untold | None = None

    @property
    def next_event(self) -> int:
        """Index of the event that comes next in this lane."""
        return self.ledger.next_event

    @property
    def target(self) -> Position:
        """Where the lane asks the stream to be: where its consumer stands, or where it is."""
        if self.end.rewind is not None:
            return self.end.rewind
        ledger = self.ledger
        return Position(
            epoch=self.end.epoch,
            next_batch=ledger.n_batches,
            next_event=ledger.next_event,
            closed_event=ledger.closed_event,
            run=ledger.totals,
            open=ledger.open_counts,
        )

    def is_behind(self, first_event: int, end_event: int) -> bool:
        """Returns whether a range is next in this lane, False where it has the range already.

        Raises:
            ProtocolError: the lane has a part of the range, or lacks something before it.
        """
        if self.next_event >= end_event:
            return False
        if self.next_event != first_event:
            raise ProtocolError(
                f"expected event {self.next_event} next; got [{first_event}, {end_event})"
            )
        return True

    def send(
        self, batch: Batch, counts: Counts, truth: Truth | None, sent_ns: int, monotonic_ns: int
    ) -> None:
        """Sends a batch in this lane."""
        self._tell()
        self.end.batch(batch, counts, truth, sent_ns, monotonic_ns)
        self.ledger.record(batch.first_event, batch.end_event, counts)

    def withhold(self, first_event: int, end_event: int, counts: Counts, lumisection: int) -> None:
        """Accounts for a range of which nothing is sent here; tells it now or soon."""
        if self._is_alone:
            self.end.gap(first_event, end_event, counts, lumisection)
        elif self._untold is not None and self._untold.lumisection == lumisection:
            self._untold.end_event = end_event
            self._untold.counts += counts
        else:
            self._tell()
            self._untold = _Untold(first_event, end_event, counts, lumisection)
        self.ledger.record(first_event, end_event, counts)

    def _tell(self) -> None:
        untold, self._untold = self._untold, None
        if untold is not None:
            self.end.gap(untold.first_event, untold.end_event, untold.counts, untold.lumisection)

    def close(self, lumisection: int, *, live_ns: int, dead_ns: int) -> None:
        """Closes a lumisection where the lane stands."""
        self._tell()
        counts = self.ledger.close(lumisection, live_ns=live_ns, dead_ns=dead_ns)
        self.end.end_lumisection(lumisection, counts, live_ns=live_ns, dead_ns=dead_ns)

    def end_run(
        self,
        condition: Condition,
        *,
        live_ns: int,
        dead_ns: int,
        text: str,
        bad: Mapping[str, int],
    ) -> None:
        """Ends the run where the lane stands, unless that was said already."""
        if self.end.has_ended:
            return
        if self.ledger.open_counts.generated:
            # Only a run that fails while this lane is ahead of the stream ends like this.
            self.close(self._lumisection_of(self.next_event - 1), live_ns=0, dead_ns=0)
        self.end.end_run(
            condition, self.ledger.totals, live_ns=live_ns, dead_ns=dead_ns, text=text, bad=bad
        )

    def rewound(self) -> None:
        """Goes to where the consumer stands and adopts its account of everything before."""
        position = self.target
        self.ledger.rewind(position, self._lumisection_of(position.closed_event))
        self.end.rewound()
        self._untold = None

    def _lumisection_of(self, event: int) -> int:
        return event // self._lumisection_events + 1
