"""The messages of the wire, version 2: typed headers that forbid what they do not know.

Each message is one MessagePack header of at most 4 KiB; DATA is followed by its raw frames and
BOR by a document. Epochs and hashes are raw bytes, event and batch numbers 63-bit integers.
Ranges of event indices are half-open; whatever covers one says what became of it in `Counts`.

==========  ==========  ===================================================================
message     sent by     says
==========  ==========  ===================================================================
HELLO       consumer    who I am, where I stand, how much I can hold
WELCOME     producer    you are accepted; the stream goes on from here
BOR         producer    begin of run: schema, configuration, sources, seed, mode
DATA        producer    one batch: the events that are sent of a range
GAP         producer    of this range nothing is sent
EOLS        producer    end of lumisection, with its counters
EOR         producer    end of run, with the run's counters, digest and condition
PING        producer    I live and stand here
PONG        consumer    I live and have trained on so many events
CREDIT      consumer    send up to this batch; everything before that one is durable here
NACK        consumer    something is missing; I stand here
BYE         consumer    I leave, for this reason
ERROR       producer    you are refused, for this reason
==========  ==========  ===================================================================
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from streams.settings import Mode

VERSION = 2
"""Version of the protocol; two sides with different versions refuse each other."""

MAX_HEADER_NBYTES = 4096
MAX_DOCUMENT_NBYTES = 1 << 20
MAX_NAME_LENGTH = 60

Condition = Literal["GOOD", "TAINTED", "INCOMPLETE", "INTERRUPTED", "ABORTED"]
"""How a run ended: as planned; with doubtful data; with data missing; stopped on purpose;
ended by a failure."""

RefusalCode = Literal[
    "version", "lane", "epoch", "occupied", "taken", "window", "accounts", "greet"
]

Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**63 - 1)]
EpochBytes = Annotated[bytes, Meta(min_length=16, max_length=16)]
Hash = Annotated[bytes, Meta(min_length=8, max_length=8)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
Text = Annotated[str, Meta(max_length=512)]


class Counts(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What became of the event indices of a range, from the producer's point of view.

    generated = sent + elsewhere + not_selected + prescaled + busy + bad + operator, always.

    Args:
        generated: all of them.
        sent: those that went out.
        not_selected: failed the trigger's selection.
        prescaled: selected, and left out by the prescale.
        busy: would have been sent, but no consumer had room (realtime mode only).
        bad: could not be used.
        operator: withheld because an operator said so.
        elsewhere: sent to the consumers of other lanes; zero where the whole stream is meant.
    """

    generated: Whole = 0
    sent: Whole = 0
    not_selected: Whole = 0
    prescaled: Whole = 0
    busy: Whole = 0
    bad: Whole = 0
    operator: Whole = 0
    elsewhere: Whole = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.generated + other.generated,
            self.sent + other.sent,
            self.not_selected + other.not_selected,
            self.prescaled + other.prescaled,
            self.busy + other.busy,
            self.bad + other.bad,
            self.operator + other.operator,
            self.elsewhere + other.elsewhere,
        )

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(
            self.generated - other.generated,
            self.sent - other.sent,
            self.not_selected - other.not_selected,
            self.prescaled - other.prescaled,
            self.busy - other.busy,
            self.bad - other.bad,
            self.operator - other.operator,
            self.elsewhere - other.elsewhere,
        )

    @property
    def withheld(self) -> int:
        """Events that were generated and not sent here, for whatever reason."""
        dropped = self.not_selected + self.prescaled + self.busy + self.bad + self.operator
        return dropped + self.elsewhere

    @property
    def discrepancy(self) -> int:
        """Generated minus everything that is accounted for; zero where the counts balance."""
        return self.generated - self.sent - self.withheld

    def seen_elsewhere(self) -> "Counts":
        """Returns the counts of the same events for a lane that they are not sent to.

        Example:
            >>> Counts(5, 3, bad=2).seen_elsewhere() == Counts(generated=5, elsewhere=3, bad=2)
            True
        """
        return self + Counts(elsewhere=self.sent) - Counts(sent=self.sent)

    def of_all_lanes(self) -> "Counts":
        """Returns the counts of the same events for the whole stream.

        Example:
            >>> Counts(5, 1, elsewhere=2, bad=2).of_all_lanes() == Counts(5, 3, bad=2)
            True
        """
        return self + Counts(sent=self.elsewhere) - Counts(elsewhere=self.elsewhere)

    def dropped(self) -> "Counts":
        """Returns the counts of the same events where those to be sent found no room.

        Example:
            >>> Counts(generated=5, sent=3, bad=2).dropped() == Counts(generated=5, busy=3, bad=2)
            True
        """
        return self + Counts(busy=self.sent) - Counts(sent=self.sent)

    def cover(self, first_event: int, end_event: int) -> bool:
        """Returns whether they add up to a range of event indices, each counted once.

        Example:
            >>> Counts(generated=5, sent=3, bad=2).cover(10, 15)
            True
        """
        # Written out: this is asked several times for each batch.
        n = self.sent + self.elsewhere + self.not_selected + self.prescaled
        n += self.busy + self.bad + self.operator
        return self.generated == end_event - first_event == n


class Stand(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a consumer stands: what it has received in an unbroken row, and its accounts of it.

    Args:
        next_batch: number of the batch that it expects.
        next_event: index of the event that it expects.
        closed_event: event index up to which lumisections are closed.
        run: counts of the events before next_event.
        open: counts of the events from closed_event to next_event.
        digest: running digest of all batches before next_batch.
    """

    next_batch: Whole
    next_event: Whole
    closed_event: Whole
    run: Counts
    open: Counts
    digest: Hash


class Hello(Struct, tag="HELLO", frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A consumer introduces itself, at first contact and whenever it has lost the producer.

    `lane` of `lanes` is the share of the stream that it is there for, counted from 0.
    """

    versions: Annotated[tuple[Whole, ...], Meta(min_length=1, max_length=16)]
    name: Name
    epoch: EpochBytes | None
    stand: Stand
    window_batches: Positive
    window_nbytes: Positive
    truth: bool
    lane: Whole = 0
    lanes: Positive = 1


class Credit(Struct, tag="CREDIT", frozen=True, forbid_unknown_fields=True):
    """Absolute permission: batches below `up_to` may be sent. Repeating or losing one is harmless.

    Args:
        acknowledged: every batch below this number is inside a durable checkpoint.
        ended: the end of the run is durable as well.
    """

    epoch: EpochBytes
    up_to: Whole
    acknowledged: Whole
    ended: bool


class Nack(Struct, tag="NACK", frozen=True, forbid_unknown_fields=True):
    """Something is missing: go back to where I stand."""

    epoch: EpochBytes
    stand: Stand


class Pong(Struct, tag="PONG", frozen=True, forbid_unknown_fields=True):
    """A consumer lives; `trained` is how many events its training loop has finished."""

    epoch: EpochBytes
    trained: Whole


class Bye(Struct, tag="BYE", frozen=True, forbid_unknown_fields=True):
    """A consumer leaves: it is done, was stopped, or refuses this producer."""

    code: Literal["done", "stopped", "refused"]
    text: Text


class Welcome(Struct, tag="WELCOME", frozen=True, forbid_unknown_fields=True):
    """A consumer is accepted; the stream goes on from this batch and event."""

    version: Whole
    epoch: EpochBytes
    next_batch: Whole
    next_event: Whole


class Begin(Struct, tag="BOR", frozen=True, forbid_unknown_fields=True):
    """Begin of run; schema, configuration and sources are in the document that follows."""

    version: Whole
    epoch: EpochBytes
    run: Whole
    mode: Mode
    seed: Whole
    batch_events: Positive
    n_events: Whole | None
    has_truth: bool
    document_hash: Hash


class Data(Struct, tag="DATA", frozen=True, forbid_unknown_fields=True):
    """One batch: of the event indices of a range, those that are sent.

    Frames that follow: the features of the events sent; `present`, one bit per event index of
    the range, where not all were sent; their truth labels, where the consumer wants them.

    Args:
        batch: the batch's number in the epoch, from 0.
        first_event, end_event: the range; it lies in one lumisection.
        closed_event: event index up to which the producer has closed lumisections.
        counts: what became of the range; at least one event of it is sent.
        sent_ns: wall-clock time of sending, Unix nanoseconds.
        sent_monotonic_ns: time of sending on the producer's monotonic clock.
        payload_hash: XXH3-64 of the features' frame; `encode_batch` fills in the hashes.
        present_hash: XXH3-64 of the bits, where they follow.
        truth_hash: XXH3-64 of the truth frame, where one follows.
    """

    epoch: EpochBytes
    batch: Whole
    first_event: Whole
    end_event: Positive
    closed_event: Whole
    counts: Counts
    run: Whole
    lumisection: Positive
    sent_ns: Whole
    sent_monotonic_ns: Whole
    payload_hash: Hash = bytes(8)
    present_hash: Hash | None = None
    truth_hash: Hash | None = None


class Gap(Struct, tag="GAP", frozen=True, forbid_unknown_fields=True):
    """Event indices of one lumisection that were generated, and of which none is sent."""

    epoch: EpochBytes
    next_batch: Whole
    first_event: Whole
    end_event: Positive
    closed_event: Whole
    lumisection: Positive
    counts: Counts


class EndLumisection(Struct, tag="EOLS", frozen=True, forbid_unknown_fields=True):
    """A lumisection, or the rest of one after an interruption, is complete."""

    epoch: EpochBytes
    next_batch: Whole
    lumisection: Positive
    first_event: Whole
    end_event: Whole
    counts: Counts
    live_ns: Whole
    dead_ns: Whole


class EndRun(Struct, tag="EOR", frozen=True, forbid_unknown_fields=True):
    """The run is over: nothing follows. `bad` says why the bad ones of its events were bad."""

    epoch: EpochBytes
    n_batches: Whole
    end_event: Whole
    counts: Counts
    live_ns: Whole
    dead_ns: Whole
    digest: Hash
    condition: Condition
    text: Text
    bad: Annotated[dict[Name, Whole], Meta(max_length=16)] = {}


class Ping(Struct, tag="PING", frozen=True, forbid_unknown_fields=True):
    """The producer lives and stands here; a consumer that stands earlier has lost something."""

    epoch: EpochBytes
    next_batch: Whole
    next_event: Whole
    closed_event: Whole
    ended: bool


class Refusal(Struct, tag="ERROR", frozen=True, forbid_unknown_fields=True):
    """The producer can't serve this consumer; `greet` asks it to say HELLO again."""

    code: RefusalCode
    text: Text


FromProducer = Welcome | Begin | Data | Gap | EndLumisection | EndRun | Ping | Refusal
FromConsumer = Hello | Credit | Nack | Pong | Bye
