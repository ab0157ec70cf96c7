"""How a source is cut: always the same way, whatever it is read in."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.batching import SLOW_READ_S, Batcher, Piece
from replay.pacing import NO_LIMIT
from streams import ArraySource, Counts, Events, EventSchema, Feature, InputError, Source, Status

SCHEMA = EventSchema((Feature("m", "TeV", 0, 1e9), Feature("y", "", -1, 1)))
QUICK = settings(max_examples=60, deadline=None)


def source_of(statuses: list[int], *, labels: bool = False, n_events: int | None = None) -> Source:
    n = len(statuses)
    x = np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.float32)
    label = (np.arange(n) % 3 == 0).astype(np.uint8) if labels else None
    return ArraySource(
        SCHEMA, x, status=np.array(statuses, dtype=np.uint8), label=label, n_events=n_events
    )


@dataclass
class Crumbs:
    """A source that returns at most a few events per read."""

    inner: Source
    most: int

    schema = SCHEMA
    files = ()

    @property
    def n_events(self) -> int | None:
        return self.inner.n_events

    def read(self, n: int) -> Events:
        return self.inner.read(min(n, self.most))

    def seek(self, index: int) -> None:
        self.inner.seek(index)

    def close(self) -> None:
        self.inner.close()


def batcher_of(source: Source, *, batch: int = 4, lumisection: int = 10) -> Batcher:
    return Batcher(source, run=1, batch_events=batch, lumisection_events=lumisection)


def next_of(batcher: Batcher, limit: int = NO_LIMIT) -> Piece | None:
    """The next piece, with as many reads as it needs."""
    while (piece := batcher.next(limit)) is None:
        if not batcher.read(limit):
            return None
    return piece


def pieces_of(batcher: Batcher) -> list[Piece]:
    return list(iter(lambda: next_of(batcher), None))


def cuts_of(pieces: list[Piece]) -> list[tuple[int, int, int]]:
    """First and end of each piece, and how many are sent."""
    return [(p.first_event, p.end_event, p.counts.sent) for p in pieces]


GOOD, CUT, BAD = int(Status.GOOD), int(Status.NOT_SELECTED), int(Status.BAD_INPUT)


def test_batches_end_when_they_are_full_and_at_lumisections() -> None:
    assert cuts_of(pieces_of(batcher_of(source_of([GOOD] * 23)))) == [
        (0, 4, 4),
        (4, 8, 4),
        (8, 10, 2),
        (10, 14, 4),
        (14, 18, 4),
        (18, 20, 2),
        (20, 23, 3),
    ]


def test_events_that_are_not_good_are_counted_and_do_not_cut() -> None:
    statuses = [CUT, GOOD, GOOD, CUT, BAD, GOOD, CUT, GOOD, CUT]
    first, rest = pieces_of(batcher_of(source_of(statuses, labels=True)))
    assert first.counts == Counts(generated=8, sent=4, not_selected=3, bad=1)
    assert first.batch is not None
    assert first.batch.event_indices().tolist() == [1, 2, 5, 7]
    assert first.batch.x[:, 0].tolist() == [1, 2, 5, 7]
    assert first.truth is not None
    assert first.truth.label.tolist() == [0, 0, 0, 0]
    assert (rest.batch, rest.counts) == (None, Counts(generated=1, not_selected=1))


def test_a_batch_covers_a_bounded_range() -> None:
    statuses = [GOOD] + 299 * [CUT] + [BAD] + 100 * [GOOD]
    batcher = batcher_of(source_of(statuses), batch=2, lumisection=1000)
    assert cuts_of(pieces_of(batcher))[:4] == [
        (0, 128, 1),
        (128, 256, 0),
        (256, 303, 2),
        (303, 305, 2),
    ]


def test_a_stretch_without_a_good_event_is_one_gap_with_its_counts() -> None:
    [piece] = pieces_of(batcher_of(source_of([CUT, BAD, CUT, BAD, CUT])))
    assert piece.batch is None
    assert piece.counts == Counts(generated=5, not_selected=3, bad=2)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.05])
def test_batches_stay_full_under_a_selection(share: float) -> None:
    n = 100_000
    status = np.where(np.random.default_rng(1).random(n) < share, GOOD, CUT)
    pieces = pieces_of(batcher_of(source_of(status.tolist()), batch=64, lumisection=10 * n))
    assert all(len(p.batch) == 64 for p in pieces[:-1] if p.batch is not None)
    assert len(pieces) == -(-int((status == GOOD).sum()) // 64)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_good_event_that_is_no_number_is_marked_as_bad(value: float) -> None:
    x = np.ones((5, 2), dtype=np.float32)
    x[3, 1] = value
    [piece] = pieces_of(batcher_of(ArraySource(SCHEMA, x)))
    assert piece.counts == Counts(generated=5, sent=4, bad=1)
    assert piece.batch is not None
    assert piece.batch.event_indices().tolist() == [0, 1, 2, 4]


def test_rows_that_were_not_selected_may_hold_anything() -> None:
    x = np.full((3, 2), np.nan, dtype=np.float32)
    source = ArraySource(SCHEMA, x, status=np.full(3, CUT, dtype=np.uint8))
    assert cuts_of(pieces_of(batcher_of(source))) == [(0, 3, 0)]


STATUSES = st.one_of(
    st.lists(st.sampled_from([GOOD, GOOD, GOOD, CUT, BAD]), max_size=60),
    st.lists(st.sampled_from([GOOD, CUT, CUT, CUT, CUT, CUT, BAD]), max_size=200),
)


def bytes_of(piece: Piece) -> tuple[object, ...]:
    batch, truth = piece.batch, piece.truth
    content = None
    if batch is not None:
        content = batch.x.tobytes(), batch.event_indices().tobytes()
    return (
        piece.first_event,
        piece.end_event,
        piece.counts,
        content,
        truth and truth.label.tobytes(),
    )


@QUICK
@given(STATUSES, st.integers(1, 9), st.sampled_from([10, 1000]))
def test_the_size_of_reads_changes_nothing(statuses: list[int], most: int, ls: int) -> None:
    whole = pieces_of(batcher_of(source_of(statuses, labels=True), batch=2, lumisection=ls))
    crumbs = Crumbs(source_of(statuses, labels=True), most)
    again = pieces_of(batcher_of(crumbs, batch=2, lumisection=ls))
    assert [bytes_of(p) for p in again] == [bytes_of(p) for p in whole]


@QUICK
@given(STATUSES.filter(len), st.data())
def test_a_stream_read_again_from_any_piece_is_cut_the_same_way(
    statuses: list[int], data: st.DataObject
) -> None:
    batcher = batcher_of(source_of(statuses, labels=True), batch=2)
    pieces = pieces_of(batcher)
    at = data.draw(st.integers(0, len(pieces) - 1))
    batcher.seek(pieces[at].first_event)
    assert [bytes_of(p) for p in pieces_of(batcher)] == [bytes_of(p) for p in pieces[at:]]


@QUICK
@given(STATUSES, st.integers(1, 7))
def test_every_event_comes_once_with_its_own_content(statuses: list[int], most: int) -> None:
    pieces = pieces_of(batcher_of(Crumbs(source_of(statuses, labels=True), most)))
    at = 0
    for piece in pieces:
        assert piece.first_event == at
        at = piece.end_event
        assert piece.lumisection == piece.first_event // 10 + 1
        covered = np.array(statuses[piece.first_event : at])
        assert piece.counts == Counts(
            generated=len(covered),
            sent=int((covered == GOOD).sum()),
            not_selected=int((covered == CUT).sum()),
            bad=int((covered == BAD).sum()),
        )
        index = np.flatnonzero(covered == GOOD) + piece.first_event
        if piece.batch is not None:
            assert piece.batch.event_indices().tolist() == index.tolist()
            assert piece.batch.x[:, 0].tolist() == index.tolist()
            assert piece.truth is not None
            assert piece.truth.label.tolist() == (index % 3 == 0).astype(int).tolist()
        assert (piece.batch is None) == (len(index) == 0)
    assert at == len(statuses)


def test_an_incomplete_batch_waits_until_it_is_flushed() -> None:
    batcher = batcher_of(source_of([GOOD] * 8))
    assert next_of(batcher, 3) is None
    assert cuts_of([piece for piece in [batcher.next(3, flush=True)] if piece]) == [(0, 3, 3)]
    assert next_of(batcher, 6) is None
    assert cuts_of([piece for piece in [next_of(batcher, 7)] if piece]) == [(3, 7, 4)]


def test_what_was_read_is_flushed_though_more_is_due() -> None:
    batcher = batcher_of(Crumbs(source_of([GOOD] * 8), 2))
    assert batcher.next(8, flush=True) is None
    assert batcher.read(8)
    piece = batcher.next(8, flush=True)
    assert piece is not None
    assert (piece.first_event, piece.end_event) == (0, 2)


def test_a_source_is_read_once_at_a_time_and_only_as_far_as_needed() -> None:
    batcher = batcher_of(Crumbs(source_of([GOOD] * 8), 2))
    assert batcher.read(3)
    assert batcher.next(3) is None
    assert batcher.read(3)
    assert not batcher.read(3)


def test_nothing_comes_before_it_is_due() -> None:
    batcher = batcher_of(source_of([CUT] * 8))
    assert next_of(batcher, 0) is None
    assert batcher.next(0, flush=True) is None
    assert next_of(batcher, 5) is None
    piece = batcher.next(5, flush=True)
    assert piece is not None
    assert (piece.first_event, piece.end_event) == (0, 5)


def test_a_stream_is_exhausted_at_its_end() -> None:
    batcher = batcher_of(source_of([GOOD] * 4))
    assert not batcher.is_exhausted
    assert len(pieces_of(batcher)) == 1
    assert batcher.is_exhausted
    batcher.seek(0)
    assert not batcher.is_exhausted


def test_an_empty_stream_is_exhausted_at_once() -> None:
    batcher = batcher_of(source_of([]))
    assert not batcher.has_truth
    assert next_of(batcher) is None
    assert batcher.is_exhausted


def test_a_source_that_returns_other_events_is_an_error() -> None:
    class Confused(Crumbs):
        def read(self, n: int) -> Events:
            events = super().read(n)
            return Events(events.first_event + 1, events.x, events.status)

    with pytest.raises(InputError, match="expected events from 0 on"):
        batcher_of(Confused(source_of([GOOD] * 4), 4)).read(NO_LIMIT)


def test_a_status_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(InputError, match=r"expected statuses of streams.Status; .* returned 77"):
        batcher_of(source_of([GOOD, 77])).read(NO_LIMIT)


@pytest.mark.parametrize("damaged", [0, 1, 9, 37, 100])
@pytest.mark.parametrize("most", [3, 1000])
def test_everything_before_a_damage_is_kept(damaged: int, most: int) -> None:
    class Damaged(Crumbs):
        def read(self, n: int) -> Events:
            events = super().read(n)
            if events.first_event + len(events) > damaged:
                self.seek(events.first_event)
                raise InputError("truncated")
            return events

    batcher = batcher_of(Damaged(source_of([GOOD, CUT] * 100), most), lumisection=1000)
    with pytest.raises(InputError, match="truncated"):
        pieces_of(batcher)
    assert batcher.next_event == damaged


def test_slow_reads_become_smaller_and_quick_ones_larger() -> None:
    sizes: list[int] = []
    now = [0.0]
    took = [0.0]

    class Timed(Crumbs):
        def read(self, n: int) -> Events:
            sizes.append(n)
            now[0] += took[0]
            return super().read(n)

    batcher = Batcher(
        Timed(source_of([GOOD] * 4000), 4000),
        run=1,
        batch_events=4,
        lumisection_events=1000,
        clock=lambda: now[0],
    )
    while len(sizes) < 6:
        took[0] = 2 * SLOW_READ_S if len(sizes) >= 4 else 0.0
        next_of(batcher)
    batcher.seek(0)
    next_of(batcher)
    assert sizes == [4, 8, 16, 32, 64, 32, 16]
