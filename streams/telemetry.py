"""What daemons say of themselves while they run: small typed documents, lossy by intent.

A daemon publishes one about once a second, for whoever listens. Nothing depends on them: one that
is lost is replaced by the next, and nobody who listens can be told apart from nobody.
"""

from typing import Annotated

from msgspec import Meta, Struct

from streams.messages import Counts, Name, Text, Whole

VERSION = 1
"""Version of these documents and of `streams.control`; a reader ignores others."""

Version = Annotated[int, Meta(ge=1, le=1)]
State = Annotated[str, Meta(max_length=20)]


class ProducerTelemetry(Struct, frozen=True, forbid_unknown_fields=True, tag="producer"):
    """Where a producer stands.

    Args:
        sequence: number of the document, from 0.
        unix_s: wall-clock time.
        pid: of the process.
        state: "waiting" (for a consumer), "running", "paused", "stalled" (the consumer makes no
            progress), "ending" (the end isn't acknowledged yet) or "ended".
        run: the run's number.
        epoch: of the run, 32 hexadecimal digits.
        mode: "lossless" or "realtime".
        lanes: how many consumers share the stream.
        next_event: events that have passed.
        n_events: events in the whole run; None where that isn't known.
        counts: what became of those that have passed.
        n_batches: batches sent.
        credit: batches that may be sent now; in several lanes, of all together.
        n_trained: events that the consumers say they have trained on.
        arrivals: the kind of pacing.
        rate_hz: mean rate that was asked for, events/s, of a profile before its changes; None where
            the stream goes as fast as credit allows or as it was recorded.
        elapsed_s: time since the first consumer came; the sum of the next three.
        live_s, dead_s, paused_s: its parts.
        lumisection: of the next event.
        bad: events that could not be used, by reason.
        prescales: of each prescaled selection the events that passed it and those that were kept.
        refusals: what was refused at the socket, by reason.
        n_rewinds: how often a consumer asked the stream to go back.
        n_stalls: how often a learner made no progress, though it could.
        condition: how the run ended; empty before.
        text: why, where it did not end as planned.
    """

    sequence: Whole
    unix_s: float
    pid: Whole
    state: State
    run: Whole
    epoch: Annotated[str, Meta(max_length=32)]
    mode: State
    lanes: Whole
    next_event: Whole
    n_events: Whole | None
    counts: Counts
    n_batches: Whole
    credit: Whole
    n_trained: Whole
    arrivals: State
    rate_hz: float | None
    elapsed_s: float
    live_s: float
    dead_s: float
    paused_s: float
    lumisection: Whole
    bad: dict[str, Whole] = {}
    prescales: dict[str, tuple[Whole, Whole]] = {}
    refusals: dict[str, Whole] = {}
    n_rewinds: Whole = 0
    n_stalls: Whole = 0
    condition: State = ""
    text: Text = ""
    version: Version = VERSION


class Marginal(Struct, frozen=True, forbid_unknown_fields=True):
    """A histogram of the newest events in one feature.

    Args:
        name: of the feature.
        unit: of the feature; empty for a pure number.
        low, high: ends of the histogram; its bins are of equal width.
        counts: events in each bin.
        n: events in the window, those outside the histogram included.
    """

    name: Name
    unit: str
    low: float
    high: float
    counts: list[Whole]
    n: Whole


class HistoryPoint(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Mean NLL of new events over a stretch of the stream, nats per event.

    Args:
        n_seen: events seen at its end.
        nll: mean negative log-likelihood under the model before it saw them.
    """

    n_seen: Whole
    nll: float


class DriftAlarm(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """New events have become less likely.

    Args:
        n_seen: events seen when it was raised.
        lumisection: of the newest event.
        before, after: mean NLL before the change and of the newest events, nats.
    """

    n_seen: Whole
    lumisection: Whole
    before: float
    after: float


class ConsumerTelemetry(Struct, frozen=True, forbid_unknown_fields=True, tag="consumer"):
    """Where a consumer stands.

    Args:
        sequence: number of the document, from 0.
        unix_s: wall-clock time.
        pid: of the process.
        state: "waiting" (for a producer), "running" or "ended".
        name: of the run.
        lane: which of the consumers this is, from 0.
        n_seen: events received.
        n_trained: events trained on.
        n_events: events in the whole run; None where that isn't known.
        n_uses: events in all mini-batches, repeats included.
        n_steps: gradient steps.
        train_s: time spent learning.
        skipped: events received and not used, by reason.
        lost: events that were sent and never came.
        unread_batches: batches that have come and aren't learned from yet.
        window_batches: batches that may be on their way or unread.
        buffer_fill: share of the buffers that holds events, from 0 to 1.
        buffer_nbytes: their size, which never changes.
        lumisection: of the newest event; 0 before there is one.
        history: NLL against events seen, over the whole run.
        alarms: the newest drift alarms.
        n_alarms: all of them.
        marginals: of the newest events, in the order of the schema; empty where none are kept.
        n_windowed: events that have been in the marginals' window so far; those that it never holds
            (skipped, of another region or share) don't count. Windows of which this has grown by
            less than they hold have events in common.
        snapshot: name of the newest snapshot; empty before there is one.
        n_write_failures: snapshots and checkpoints that the disk refused.
        refusals: what was refused at the socket, by reason.
        condition: how the run ended; empty before.
    """

    sequence: Whole
    unix_s: float
    pid: Whole
    state: State
    name: Name
    lane: Whole
    n_seen: Whole
    n_trained: Whole
    n_events: Whole | None
    n_uses: Whole
    n_steps: Whole
    train_s: float
    skipped: dict[str, Whole]
    lost: Whole
    unread_batches: Whole
    window_batches: Whole
    buffer_fill: float
    buffer_nbytes: Whole
    lumisection: Whole
    history: list[HistoryPoint]
    alarms: list[DriftAlarm]
    n_alarms: Whole
    marginals: list[Marginal]
    n_windowed: Whole = 0
    snapshot: str = ""
    n_write_failures: Whole = 0
    refusals: dict[str, Whole] = {}
    condition: State = ""
    version: Version = VERSION


Telemetry = ProducerTelemetry | ConsumerTelemetry
"""What a daemon publishes; the tag tells which."""
