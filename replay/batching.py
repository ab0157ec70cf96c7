"""Cuts a source into pieces that can be sent: batches of good events, and gaps between them."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from streams.batch import Batch, Truth
from streams.errors import InputError
from streams.messages import Reason
from streams.source import Events, Source, Status

REASONS: dict[int, Reason] = {
    Status.NOT_SELECTED: "not_selected",
    Status.BAD_INPUT: "bad_input",
}

SLOW_READ_S = 0.2
QUICK_READ_S = 0.02
LARGEST_READ_BATCHES = 64
"""Reads are doubled while quick and halved when slow, so that the daemon never stops listening
for long; what is read at an index doesn't depend on it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive event indices of one lumisection, all to be sent or all withheld.

    Args:
        first_event, end_event: half-open range of event indices.
        lumisection: where they belong.
        batch: the events, if they can be sent.
        truth: their labels, where the source has them.
        reason: why they can't be sent; None for a batch.
    """

    first_event: int
    end_event: int
    lumisection: int
    batch: Batch | None = None
    truth: Truth | None = None
    reason: Reason | None = None


class Batcher:
    """Reads a source in chunks and cuts it.

    Batches end at multiples of `batch_events`, at the end of a lumisection and before an event
    that isn't good, so that without pacing the cuts are a function of the event index alone: a
    stream that is read again, from anywhere, is cut the same way.

    Args:
        source: where the events come from; the batcher doesn't close it.
        run: the run's number.
        batch_events: largest number of events in a batch.
        lumisection_events: event indices per lumisection.
        clock: for choosing the size of reads.
    """

    def __init__(
        self,
        source: Source,
        *,
        run: int,
        batch_events: int,
        lumisection_events: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._run = run
        self._batch_events = batch_events
        self._lumisection_events = lumisection_events
        self._clock = clock
        self._read_events = batch_events
        self._is_drained = False
        self._next_event = 0
        self._chunk: Events | None = None
        self._cuts = np.zeros(0, dtype=np.int64)

    @property
    def next_event(self) -> int:
        """Index of the next event."""
        return self._next_event

    @property
    def is_exhausted(self) -> bool:
        """Whether the stream is at its end."""
        return self._is_drained and self._next_event >= self._chunk_end

    @property
    def has_truth(self) -> bool:
        """Whether the source has truth labels; reads its first events if need be.

        Raises:
            InputError: the source can't be read.
        """
        self._fill(self._next_event + 1)
        return self._chunk is not None and self._chunk.label is not None

    def lumisection_of(self, event: int) -> int:
        """Returns the lumisection of an event index, counted from 1."""
        return event // self._lumisection_events + 1

    def seek(self, index: int) -> None:
        """Makes the event with this index the next one.

        Raises:
            InputError: the index lies outside the stream.
        """
        self._source.seek(index)
        self._next_event = index
        self._chunk = None
        self._is_drained = False

    def next(self, limit: int, *, flush: bool = False) -> Piece | None:
        """Returns the next piece, or None where there is none yet or no more.

        Args:
            limit: one past the last event index that is due.
            flush: whether to return a batch that is incomplete because of the limit.

        Raises:
            InputError: the source can't be read on.
        """
        first = self._next_event
        if limit <= first:
            return None
        n = self._lumisection_events
        lumisection_end = (first // n + 1) * n
        b = self._batch_events
        cell_end = min((first // b + 1) * b, lumisection_end)
        self._fill(cell_end)
        chunk = self._chunk
        if chunk is None or first >= self._chunk_end:
            return None
        offset = first - chunk.first_event
        next_cut = int(np.searchsorted(self._cuts, offset, side="right"))
        same_end = (
            chunk.first_event + int(self._cuts[next_cut])
            if next_cut < len(self._cuts)
            else self._chunk_end
        )
        lumisection = self.lumisection_of(first)
        status = int(chunk.status[offset])
        if status != Status.GOOD:
            end = min(same_end, lumisection_end, limit)
            self._next_event = end
            return Piece(first, end, lumisection, reason=REASONS[status])
        end = min(same_end, cell_end)
        if end > limit:
            if not flush:
                return None
            end = limit
        self._next_event = end
        rows = slice(offset, offset + end - first)
        truth = None if chunk.label is None else Truth(chunk.label[rows], first)
        batch = Batch(chunk.x[rows], first, self._run, lumisection)
        return Piece(first, end, lumisection, batch=batch, truth=truth)

    @property
    def _chunk_end(self) -> int:
        if self._chunk is None:
            return self._next_event
        return self._chunk.first_event + len(self._chunk)

    def _fill(self, until: int) -> None:
        """Reads until the chunk reaches an event index or the stream ends."""
        while self._chunk_end < until and not self._is_drained:
            at = self._chunk_end
            began = self._clock()
            events = self._source.read(max(self._read_events, until - at))
            self._choose_read_size(self._clock() - began)
            if len(events) == 0:
                self._is_drained = True
                return
            if events.first_event != at or events.x.shape[1] != self._source.schema.n_features:
                raise InputError(
                    f"expected events from {at} on with {self._source.schema.n_features} features; "
                    f"the source returned {events.first_event} on with {events.x.shape[1]}"
                )
            self._append(_with_bad_rows_marked(events))

    def _choose_read_size(self, took_s: float) -> None:
        if took_s > SLOW_READ_S:
            self._read_events = max(1, self._read_events // 2)
        elif took_s < QUICK_READ_S:
            largest = LARGEST_READ_BATCHES * self._batch_events
            self._read_events = min(2 * self._read_events, largest)

    def _append(self, events: Events) -> None:
        chunk = self._chunk
        if chunk is not None and self._next_event < self._chunk_end:
            rest = slice(self._next_event - chunk.first_event, None)
            events = Events(
                self._next_event,
                np.concatenate([chunk.x[rest], events.x]),
                np.concatenate([chunk.status[rest], events.status]),
                None
                if chunk.label is None or events.label is None
                else np.concatenate([chunk.label[rest], events.label]),
            )
        self._chunk = events
        self._cuts = np.flatnonzero(np.diff(events.status)) + 1


def _with_bad_rows_marked(events: Events) -> Events:
    """Returns the events with those marked as bad that claim to be good and aren't numbers."""
    finite = np.isfinite(events.x)
    if finite.all():
        return events
    status = events.status.copy()
    status[(status == Status.GOOD) & ~finite.all(axis=1)] = Status.BAD_INPUT
    return Events(events.first_event, events.x, status, events.label)
