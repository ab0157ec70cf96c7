"""The rules of the wire, and the words in which both ends speak to their programs.

**Numbering.** Event indices are the sequence numbers. DATA and GAP together cover every index
once and in order, so a missing message shows as a jump of the event index; batches are numbered
as well, because credit is counted in batches. A DATA message covers a range of indices, sends
some of their events, and counts the others by the reason why they are withheld; where not all
are sent, one bit per index says which. GAP covers a range of which nothing is sent.

**Credit.** A consumer permits batches below an absolute number; a repeated or lost CREDIT does
no harm. GAP, EOLS, EOR and PING need no credit: they are small and few.

**Acknowledged** means: inside a durable checkpoint. A consumer that starts again says in its HELLO
where its checkpoint stands. In ``lossless`` mode the producer then moves its seekable source back
to that event and adopts the consumer's accounts of everything before, so that no buffer of sent
batches is needed and a restarted producer can go on where its predecessor died. In ``realtime``
mode the producer's clock never goes back: what the consumer has missed is lost, and counted.

**Missing messages.** In lossless mode a consumer answers a jump with NACK and drops what follows
until the stream has come back; what it already has is dropped and counted. In realtime mode it
declares the events lost and goes on. PING carries the producer's position, so a lost tail is seen.

**Lanes.** Several consumers share a stream, each with numbers, credit and accounts of its own;
each event goes to exactly one, and is ``elsewhere`` for all others (`streams.lanes`). A lane that
goes back takes the stream with it; the others are told of nothing before it is where they stand.

**End.** The producer leaves when the consumer has acknowledged EOR, or says BYE after it. An end
that was said stands: a stream that goes back after it comes to the same end again.

**Names.** A consumer is known by its name, its socket by an identity of its own. One that greets
under the name of the consumer that is served takes its place, whether that one still lives or not:
it may have been started again. The other is told, and can't come back.

**Heartbeats.** Anything received counts as a sign of life. After five silent intervals a consumer
says HELLO again, and a realtime producer treats the consumer as having no credit; after
``connect_timeout_s`` either side gives up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from streams.batch import Batch, Truth
from streams.errors import ProtocolError
from streams.messages import Condition, Counts, Stand
from streams.schema import EventSchema
from streams.settings import Mode
from streams.source import SourceFile

SILENT_HEARTBEATS = 5
"""Heartbeat intervals without a sign of life after which a peer is not waited for."""

NO_DIGEST = bytes(8)

NO_EPOCH = bytes(16)
"""Epoch of a position that was taken before any run began."""


class Position(NamedTuple):
    """Where a consumer stands in an epoch; lives in its checkpoint.

    A tuple, as is `BatchReceived`: there is one for each batch, and a frozen dataclass is made
    half as fast.

    Args:
        epoch: the epoch, 32 hexadecimal digits; all zero before a run began.
        next_batch: number of the next batch.
        next_event: index of the next event.
        closed_event: event index up to which lumisections are closed.
        run: counts of all events before next_event.
        open: counts of the events from closed_event to next_event.
        digest: running digest of the batches received, 16 hexadecimal digits.

    Example:
        >>> position = Position("00" * 16, next_batch=0, next_event=0)
        >>> position == Position.from_dict(position.to_dict())
        True
    """

    epoch: str
    next_batch: int
    next_event: int
    closed_event: int = 0
    run: Counts = Counts()
    open: Counts = Counts()
    digest: str = NO_DIGEST.hex()

    def to_dict(self) -> dict[str, Any]:
        """Returns the position as plain JSON types."""
        return {
            "epoch": self.epoch,
            "next_batch": self.next_batch,
            "next_event": self.next_event,
            "closed_event": self.closed_event,
            "run": counts_to_dict(self.run),
            "open": counts_to_dict(self.open),
            "digest": self.digest,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Returns the position that `to_dict` described.

        Raises:
            ProtocolError: the document isn't a position.
        """
        try:
            position = cls(
                epoch=str(document["epoch"]),
                next_batch=int(document["next_batch"]),
                next_event=int(document["next_event"]),
                closed_event=int(document["closed_event"]),
                run=counts_from_dict(document["run"]),
                open=counts_from_dict(document["open"]),
                digest=str(document["digest"]),
            )
            position.stand  # noqa: B018 - a position that can't be sent is refused here
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ProtocolError(
                f"expected a position with epoch, next_batch, next_event, closed_event, run, "
                f"open, digest; got {error!r}"
            ) from error
        return position

    def of_all_lanes(self) -> Self:
        """Returns the position as seen by the whole stream: what went elsewhere was sent."""
        return self._replace(run=self.run.of_all_lanes(), open=self.open.of_all_lanes())

    @property
    def stand(self) -> Stand:
        """The position as it travels in HELLO and NACK."""
        return Stand(
            next_batch=self.next_batch,
            next_event=self.next_event,
            closed_event=self.closed_event,
            run=self.run,
            open=self.open,
            digest=bytes.fromhex(self.digest),
        )

    @classmethod
    def of(cls, epoch: bytes, stand: Stand) -> Self:
        """Returns the position that a message described."""
        return cls(
            epoch=epoch.hex(),
            next_batch=stand.next_batch,
            next_event=stand.next_event,
            closed_event=stand.closed_event,
            run=stand.run,
            open=stand.open,
            digest=stand.digest.hex(),
        )


def counts_to_dict(counts: Counts) -> dict[str, int]:
    """Returns counts as plain JSON types, in the order of their definition."""
    return {name: getattr(counts, name) for name in counts.__struct_fields__}


def counts_from_dict(document: dict[str, int]) -> Counts:
    """Returns the counts that `counts_to_dict` described."""
    return Counts(**{name: int(document[name]) for name in Counts.__struct_fields__})


@dataclass(frozen=True, slots=True)
class RunBegan:
    """A run as announced: everything that a learner may know of its events beforehand.

    Args:
        epoch: 32 hexadecimal digits; the same for every attempt at the same run.
        run: the run's number.
        schema: what the events are.
        mode: whether the producer waits for credit.
        seed: seed of the replay.
        batch_events: largest number of events in a batch.
        n_events: how many event indices there will be; None where it is not known.
        has_truth: whether truth labels can be had.
        sources: the files that the events come from.
        config: the producer's configuration, plain JSON types.
    """

    epoch: str
    run: int
    schema: EventSchema
    mode: Mode
    seed: int = 0
    batch_events: int = 1024
    n_events: int | None = None
    has_truth: bool = False
    sources: tuple[SourceFile, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)


class BatchReceived(NamedTuple):
    """A batch, checked.

    Args:
        batch: the events.
        batch_number: its number, for `consumed` and the ledger.
        counts: what became of the range that it covers, as the producer says.
        truth: its labels, where they were asked for and exist.
        sent_ns: when it was sent, Unix nanoseconds.
        position: where the consumer stands once it has this batch.
    """

    batch: Batch
    batch_number: int
    counts: Counts
    truth: Truth | None
    sent_ns: int
    position: Position


@dataclass(frozen=True, slots=True)
class GapReceived:
    """Event indices of which nothing is sent.

    Args:
        first_event, end_event: half-open range of event indices.
        counts: why, as the producer says.
        lumisection: where they belong.
        position: where the consumer stands now.
    """

    first_event: int
    end_event: int
    counts: Counts
    lumisection: int
    position: Position


@dataclass(frozen=True, slots=True)
class EventsLost:
    """Event indices that were on their way, or told of while nobody listened (realtime mode).

    What became of them is told by the next end of a lumisection, as numbers.

    Args:
        first_event, end_event: half-open range of event indices.
        position: where the consumer stands now.
    """

    first_event: int
    end_event: int
    position: Position


@dataclass(frozen=True, slots=True)
class LumisectionEnded:
    """A lumisection is complete, with the producer's account of it."""

    lumisection: int
    first_event: int
    end_event: int
    counts: Counts
    live_ns: int
    dead_ns: int
    position: Position


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run is complete, with the producer's account of it.

    Args:
        totals: the producer's counts.
        condition: how the run ended, as the producer says.
        text: why, where it did not end as planned.
        n_batches: how many batches were sent in all.
        end_event: one past the last event index.
        live_ns, dead_ns: the producer's live and dead time.
        digest_agrees: whether the batches received have the digest of the batches sent; None
            where some were lost.
        position: where the consumer stands now; acknowledge it once everything is durable.
        bad: how many events the producer could not use, by reason.
    """

    totals: Counts
    condition: Condition
    text: str
    n_batches: int
    end_event: int
    live_ns: int
    dead_ns: int
    digest_agrees: bool | None
    position: Position
    bad: Mapping[str, int] = field(default_factory=dict)


Incoming = RunBegan | BatchReceived | GapReceived | EventsLost | LumisectionEnded | RunEnded
"""What a consumer's program is told."""
