"""Cuts a source into pieces that can be sent: batches, and gaps where there is nothing to send."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from replay.bad_events import reasons_of
from replay.prescales import Prescaler
from streams.batch import Batch, Truth, largest_range
from streams.errors import InputError
from streams.messages import Counts
from streams.source import Events, Source, Status, why_not_finite

# Comparing an array with a member of an enumeration would convert the array to int64.
GOOD, NOT_SELECTED, PRESCALED = (
    int(status) for status in (Status.GOOD, Status.NOT_SELECTED, Status.PRESCALED)
)
T = TypeVar("T", bound=np.generic)

WORST = max(int(status) for status in Status)

LEFT_OUT = 128
"""Larger than the number of any selection."""

SLOW_READ_S = 0.2
QUICK_READ_S = 0.02
LARGEST_READ_BATCHES = 64
"""Reads are doubled while quick and halved when slow, so that the daemon never stops listening
for long; what is read at an index doesn't depend on it."""


OnRead = Callable[[int, NDArray[np.float32], NDArray[np.uint8]], None]


NO_REASONS: Mapping[str, int] = MappingProxyType({})


class Piece(NamedTuple):
    """Consecutive event indices of one lumisection.

    Args:
        first_event, end_event: half-open range of event indices.
        lumisection: where they belong.
        counts: what becomes of them when the piece is sent.
        batch: the good ones; None where there are none.
        truth: their labels, where the source has them.
        reasons: why bad ones are bad, with their numbers.
        selected: of each prescaled selection the events that passed and those kept, shape (n, 2),
            int64; None where there are no prescales, or no event.
    """

    first_event: int
    end_event: int
    lumisection: int
    counts: Counts
    batch: Batch | None = None
    truth: Truth | None = None
    reasons: Mapping[str, int] = NO_REASONS
    selected: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Stretch:
    """Consecutive event indices as they were read, with rows for the good ones only.

    Args:
        first_event: index of the first one.
        status: one `Status` for each, shape (n,).
        good: indices of the good ones, ascending, shape (n_good,); None where all are good.
        x: their features, shape (n_good, d).
        label: their truth, shape (n_good,); None where the source has none.
        time_s: when each arrived, shape (n,); None where the source doesn't know.
        selection: number of the prescaled selection that each belongs to, from 1, or 0 for none,
            plus `LEFT_OUT` where it is left out, shape (n,); None where there are no prescales.
    """

    first_event: int
    status: NDArray[np.uint8]
    good: NDArray[np.int64] | None
    x: NDArray[np.float32]
    label: NDArray[np.uint8] | None
    time_s: NDArray[np.float64] | None = None
    selection: NDArray[np.uint8] | None = None

    @property
    def end_event(self) -> int:
        return self.first_event + len(self.status)

    def index_of(self, row: int) -> int:
        """Returns the index of a row's event."""
        return self.first_event + row if self.good is None else int(self.good[row])

    def part(self, first: int, end: int) -> "_Stretch":
        """Returns the events [first, end), as views."""
        low, high = first - self.first_event, end - self.first_event
        status = self.status[low:high]
        time_s = None if self.time_s is None else self.time_s[low:high]
        selection = None if self.selection is None else self.selection[low:high]
        if self.good is not None:
            low, high = self.good.searchsorted((first, end))
        return _Stretch(
            first,
            status,
            None if self.good is None else self.good[low:high],
            self.x[low:high],
            None if self.label is None else self.label[low:high],
            time_s,
            selection,
        )

    def with_next(self, other: "_Stretch") -> "_Stretch":
        """Returns this stretch and the one behind it as one."""
        good = None
        if self.good is not None or other.good is not None:
            good = np.concatenate([self.indices(), other.indices()])
        return _Stretch(
            self.first_event,
            np.concatenate([self.status, other.status]),
            good,
            np.concatenate([self.x, other.x]),
            _joined(self.label, other.label),
            _joined(self.time_s, other.time_s),
            _joined(self.selection, other.selection),
        )

    def indices(self) -> NDArray[np.int64]:
        """Returns the indices of the good ones, shape (n_good,)."""
        if self.good is not None:
            return self.good
        return np.arange(self.first_event, self.end_event, dtype=np.int64)

    def counts(self) -> Counts:
        n, n_good = len(self.status), len(self.x)
        if n == n_good:
            return Counts(generated=n, sent=n)
        not_selected = int(np.count_nonzero(self.status == NOT_SELECTED))
        prescaled = int(np.count_nonzero(self.status == PRESCALED))
        return Counts(
            generated=n,
            sent=n_good,
            not_selected=not_selected,
            prescaled=prescaled,
            bad=n - n_good - not_selected - prescaled,
        )

    def prescaled(self, prescaler: Prescaler) -> "_Stretch":
        """Returns the stretch without the rows of the good ones that a prescale leaves out."""
        good = self.indices()
        of_row, keep = prescaler.choose(good, self.x)
        left_out = ~keep
        of_row += np.uint8(LEFT_OUT) * left_out
        status, selection = left_out * np.uint8(PRESCALED), of_row
        if self.good is not None:
            places = good - self.first_event
            status, selection = self.status.copy(), np.zeros(len(self.status), dtype=np.uint8)
            status[places[left_out]] = PRESCALED
            selection[places] = of_row
        rows = np.flatnonzero(keep)
        if len(rows) == len(good):
            return dataclasses.replace(self, selection=selection)
        return _Stretch(
            self.first_event,
            status,
            good[rows],
            self.x.take(rows, axis=0),
            None if self.label is None else self.label[rows],
            self.time_s,
            selection,
        )

    def selected(self, n_selections: int) -> NDArray[np.int64] | None:
        """Returns of each prescaled selection the events that passed and those kept."""
        if self.selection is None:
            return None
        counts = np.bincount(self.selection, minlength=2 * LEFT_OUT).reshape(2, LEFT_OUT)
        kept, left_out = counts[:, 1 : n_selections + 1]
        return np.stack([kept + left_out, kept], axis=1)


def _joined(one: NDArray[T] | None, other: NDArray[T] | None) -> NDArray[T] | None:
    return None if one is None or other is None else np.concatenate([one, other])


class Batcher:
    """Reads a source and cuts what was read.

    A piece ends behind its `batch_events`-th good event, at the end of the lumisection or block,
    or when it covers `streams.batch.largest_range` indices; a piece without a good event is a gap.
    Where
    it ends depends on where it begins and on the source alone, and a stream is only ever read
    again from the beginning of a piece: without pacing it is cut the same way each time.

    Args:
        source: where the events come from; the batcher doesn't close it.
        run: the run's number.
        batch_events: largest number of good events in a piece.
        lumisection_events: event indices per lumisection.
        block_events: event indices per block that no piece may leave; 0 for no blocks.
        prescaler: which good events are left out; None for none.
        clock: for choosing the size of reads.

    Attributes:
        on_read: told the index of the first, features and statuses of all events that were read,
            where some can't be sent; again where they are read again.
    """

    def __init__(
        self,
        source: Source,
        *,
        run: int,
        batch_events: int,
        lumisection_events: int,
        block_events: int = 0,
        prescaler: Prescaler | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self.on_read: OnRead | None = None
        self._run = run
        self._batch_events = batch_events
        self._largest_range = largest_range(batch_events)
        self._lumisection_events = lumisection_events
        self._block_events = block_events
        self._prescaler = prescaler
        self._stops: tuple[int, ...] = ()
        self._clock = clock
        self._read_events = batch_events
        self._begin_at(0)

    def _begin_at(self, index: int) -> None:
        self._next_event = index
        self._read: _Stretch | None = None
        self._next_row = 0
        self._is_drained = False
        self._failure: InputError | None = None

    @property
    def next_event(self) -> int:
        """Index of the next event."""
        return self._next_event

    @property
    def is_exhausted(self) -> bool:
        """Whether the stream is at its end."""
        return self._is_drained and self._next_event >= self._read_end

    @property
    def has_truth(self) -> bool:
        """Whether the source has truth labels; reads its first events if need be.

        Raises:
            InputError: the source can't be read.
        """
        read = self._first_read()
        return read is not None and read.label is not None

    @property
    def has_times(self) -> bool:
        """Whether the source says when events arrived; reads its first events if need be.

        Raises:
            InputError: the source can't be read.
        """
        read = self._first_read()
        return read is None or read.time_s is not None

    def _first_read(self) -> _Stretch | None:
        """What was read last; None where the stream is at its end."""
        while self._read is None and self.read(self._next_event + 1):
            pass
        if self._read is None and self._failure is not None:
            raise self._failure
        return self._read

    @property
    def next_time_s(self) -> float | None:
        """When the next event arrived; None while it has not been read, or without times."""
        read, at = self._read, self._next_event
        if read is None or read.time_s is None or at >= read.end_event:
            return None
        return float(read.time_s[at - read.first_event])

    def end_at(self, time_s: float) -> int:
        """Returns one past the index of the last event that had arrived by then, as far as is
        known: one more where all that was read had, so that more is read.
        """
        read = self._read
        if read is None or read.time_s is None:
            return self._next_event + 1
        n = int(read.time_s.searchsorted(time_s, side="right"))
        return max(self._next_event, read.first_event + n + (n == len(read.time_s)))

    def lumisection_of(self, event: int) -> int:
        """Returns the lumisection of an event index, counted from 1."""
        return event // self._lumisection_events + 1

    def first_event_of(self, lumisection: int) -> int:
        """Returns the index of a lumisection's first event."""
        return (lumisection - 1) * self._lumisection_events

    def seek(self, index: int, *, stops: tuple[int, ...] = ()) -> None:
        """Makes the event with this index the next one.

        Args:
            index: where to go on.
            stops: indices behind it, ascending, that no piece may reach across.

        Raises:
            InputError: the index lies outside the stream.
        """
        self._source.seek(index)
        self._begin_at(index)
        self._stops = stops

    # --- cutting ---------------------------------------------------------------------------

    def next(self, limit: int, *, flush: bool = False) -> Piece | None:
        """Returns the next piece of what was read; None where it is not complete.

        Args:
            limit: one past the last event index that is due.
            flush: whether to return a piece that is incomplete.

        Raises:
            InputError: the source can't be read on, and everything before was returned.
        """
        first = self._next_event
        end = self._end_of_piece()
        if end is None or end > limit:
            end = min(self._read_end, limit) if flush else first
        read = self._read
        if read is None or end <= first:
            if self._failure is not None and first >= self._read_end:
                raise self._failure
            return None
        is_plain = read.good is None and read.selection is None
        return self._cut_good(read, end) if is_plain else self._cut(read.part(first, end))

    def _end_of_piece(self) -> int | None:
        """Returns where the next piece ends; None where that can't be told yet."""
        read, reach = self._read, self._reach
        if read is None:
            return None
        last_row = self._next_row + self._batch_events - 1
        if last_row < len(read.x):
            return min(read.index_of(last_row) + 1, reach)
        is_known = self._read_end >= reach or self._cannot_read
        return min(self._read_end, reach) if is_known else None

    @property
    def _reach(self) -> int:
        """One past the last event index that the next piece may cover."""
        first, lumisection_events = self._next_event, self._lumisection_events
        end_of_lumisection = first - first % lumisection_events + lumisection_events
        reach = min(first + self._largest_range, end_of_lumisection)
        if self._block_events:
            reach = min(reach, (first // self._block_events + 1) * self._block_events)
        if self._stops:
            reach = min([reach, *(stop for stop in self._stops if stop > first)])
        return reach

    def _cut_good(self, read: _Stretch, end: int) -> Piece:
        """Cuts at an index; the usual case, that all events are good, needs no look at each."""
        first, row, n = self._next_event, self._next_row, end - self._next_event
        lumisection = self.lumisection_of(first)
        self._next_event, self._next_row = end, row + n
        batch = Batch(read.x[row : row + n], first, end, self._run, lumisection)
        truth = None if read.label is None else Truth(read.label[row : row + n])
        return Piece(first, end, lumisection, Counts(n, n), batch, truth)

    def _cut(self, events: _Stretch) -> Piece:
        first, end = events.first_event, events.end_event
        lumisection, counts = self.lumisection_of(first), events.counts()
        self._next_event = end
        self._next_row += counts.sent
        reasons = reasons_of(events.status) if counts.bad else NO_REASONS
        selected = events.selected(self._prescaler.n_selections) if self._prescaler else None
        if not counts.sent:
            return Piece(first, end, lumisection, counts, reasons=reasons, selected=selected)
        present = None
        if counts.withheld:
            present = np.packbits(events.status == GOOD, bitorder="little")
        batch = Batch(events.x, first, end, self._run, lumisection, present)
        truth = None if events.label is None else Truth(events.label)
        return Piece(first, end, lumisection, counts, batch, truth, reasons, selected)

    # --- reading ---------------------------------------------------------------------------

    @property
    def _read_end(self) -> int:
        return self._next_event if self._read is None else self._read.end_event

    @property
    def _cannot_read(self) -> bool:
        return self._is_drained or self._failure is not None

    def read(self, limit: int) -> bool:
        """Reads the source once, if the next piece below a limit needs it; returns whether it did.

        Once, so that the caller can listen to the wire in between. A read that fails is tried
        again with half as many events: everything before the damage is kept.
        """
        is_complete = self._end_of_piece() is not None
        if is_complete or self._cannot_read or self._read_end >= limit:
            return False
        began = self._clock()
        try:
            events = self._source.read(self._n_to_read())
        except InputError as error:
            if self._read_events == 1:
                self._failure = error
            self._read_events = max(1, self._read_events // 2)
            return True
        self._choose_read_size(self._clock() - began)
        self._is_drained = len(events) == 0
        if not self._is_drained:
            self._append(events)
        return True

    def _n_to_read(self) -> int:
        """Returns how many events to read: not beyond the end of a lumisection where that is near.

        Where all events are good and reads end where pieces do, nothing has to be joined.
        """
        to_end = self._lumisection_events - self._read_end % self._lumisection_events
        is_near = to_end < self._read_events <= self._lumisection_events
        return to_end if is_near else self._read_events

    def _choose_read_size(self, took_s: float) -> None:
        if took_s > SLOW_READ_S:
            self._read_events = max(1, self._read_events // 2)
        elif took_s < QUICK_READ_S:
            largest = LARGEST_READ_BATCHES * self._batch_events
            self._read_events = min(2 * self._read_events, largest)

    def _append(self, events: Events) -> None:
        at, n_features = self._read_end, self._source.schema.n_features
        if events.first_event != at or events.x.shape[1] != n_features:
            raise InputError(
                f"expected events from {at} on with {n_features} features; "
                f"the source returned {events.first_event} on with {events.x.shape[1]}"
            )
        _require_times(events, self._read)
        read = _stretch_of(events)
        if self.on_read is not None and read.good is not None:
            self.on_read(events.first_event, events.x, read.status)
        if self._prescaler is not None:
            read = read.prescaled(self._prescaler)
        if self._read is not None and self._next_event < at:
            read = self._read.part(self._next_event, at).with_next(read)
        self._read = read
        self._next_row = 0


def _stretch_of(events: Events) -> _Stretch:
    """Returns the events with those marked as bad that claim to be good and aren't numbers."""
    status, x, label = events.status, events.x, events.label
    worst = int(status.max())
    if worst > WORST:
        raise InputError(
            f"expected statuses of streams.Status; the source returned {worst} "
            f"among the events from {events.first_event} on"
        )
    rows = None
    if worst != GOOD:  # which is the least of all
        rows = np.flatnonzero(status == GOOD)
        x = x.take(rows, axis=0)  # four times as fast as x[rows]
        label = None if label is None else label[rows]
    finite = np.isfinite(x)
    if not finite.all():
        is_finite = finite.all(axis=1)
        rows = np.arange(len(x)) if rows is None else rows
        status = status.copy()
        status[rows[~is_finite]] = why_not_finite(x[~is_finite])
        rows, x = rows[is_finite], x[is_finite]
        label = None if label is None else label[is_finite]
    good = None if rows is None else rows + events.first_event
    return _Stretch(events.first_event, status, good, x, label, events.time_s)


def _require_times(events: Events, before: _Stretch | None) -> None:
    """Refuses times that aren't those of a stream, which a source must never return."""
    time_s = events.time_s
    if time_s is None:
        return
    last = time_s[0] if before is None or before.time_s is None else before.time_s[-1]
    if not (np.isfinite(time_s).all() and (np.diff(time_s, prepend=last) >= 0.0).all()):
        raise InputError(
            "expected times that are numbers and never fall; the source returned others among "
            f"the events from {events.first_event} on"
        )
