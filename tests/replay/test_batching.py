"""How a source is cut: always the same way, whatever it is read in."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.batching import SLOW_READ_S, Batcher, Piece
from replay.pacing import NO_LIMIT
from streams import ArraySource, Events, EventSchema, Feature, InputError, Source, Status

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


def pieces_of(batcher: Batcher) -> list[Piece]:
    pieces = []
    while (piece := batcher.next(NO_LIMIT)) is not None:
        pieces.append(piece)
    return pieces


def cuts_of(pieces: list[Piece]) -> list[tuple[int, int, str]]:
    return [(p.first_event, p.end_event, p.reason or "batch") for p in pieces]


GOOD, CUT, BAD = int(Status.GOOD), int(Status.NOT_SELECTED), int(Status.BAD_INPUT)


def test_batches_end_on_a_grid_and_at_lumisections() -> None:
    assert cuts_of(pieces_of(batcher_of(source_of([GOOD] * 23)))) == [
        (0, 4, "batch"),
        (4, 8, "batch"),
        (8, 10, "batch"),
        (10, 12, "batch"),
        (12, 16, "batch"),
        (16, 20, "batch"),
        (20, 23, "batch"),
    ]


def test_events_that_are_not_good_become_gaps_with_their_reason() -> None:
    statuses = [GOOD, GOOD, CUT, CUT, BAD, GOOD, CUT]
    assert cuts_of(pieces_of(batcher_of(source_of(statuses)))) == [
        (0, 2, "batch"),
        (2, 4, "not_selected"),
        (4, 5, "bad_input"),
        (5, 6, "batch"),
        (6, 7, "not_selected"),
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_good_event_that_is_no_number_is_marked_as_bad(value: float) -> None:
    x = np.ones((5, 2), dtype=np.float32)
    x[3, 1] = value
    assert cuts_of(pieces_of(batcher_of(ArraySource(SCHEMA, x)))) == [
        (0, 3, "batch"),
        (3, 4, "bad_input"),
        (4, 5, "batch"),
    ]


def test_rows_that_were_not_selected_may_hold_anything() -> None:
    x = np.full((3, 2), np.nan, dtype=np.float32)
    source = ArraySource(SCHEMA, x, status=np.full(3, CUT, dtype=np.uint8))
    assert cuts_of(pieces_of(batcher_of(source))) == [(0, 3, "not_selected")]


@QUICK
@given(st.lists(st.sampled_from([GOOD, GOOD, GOOD, CUT, BAD]), max_size=60), st.integers(1, 9))
def test_the_size_of_reads_does_not_change_the_batches(statuses: list[int], most: int) -> None:
    whole = pieces_of(batcher_of(source_of(statuses)))
    crumbs = pieces_of(batcher_of(Crumbs(source_of(statuses), most)))
    batches = [[c for c in cuts_of(p) if c[2] == "batch"] for p in (whole, crumbs)]
    assert batches[0] == batches[1]
    assert sum(p.end_event - p.first_event for p in crumbs) == len(statuses)


@QUICK
@given(
    st.lists(st.sampled_from([GOOD, GOOD, GOOD, CUT]), min_size=1, max_size=60),
    st.data(),
)
def test_a_stream_read_again_from_a_batch_is_cut_the_same_way(
    statuses: list[int], data: st.DataObject
) -> None:
    batcher = batcher_of(source_of(statuses))
    pieces = pieces_of(batcher)
    at = data.draw(st.integers(0, len(pieces) - 1))
    batcher.seek(pieces[at].first_event)
    # Gaps may be told in other pieces, as they are not numbered; batches never.
    expected = [piece.batch for piece in pieces[at:] if piece.batch is not None]
    again = [piece.batch for piece in pieces_of(batcher) if piece.batch is not None]
    assert [b.first_event for b in again] == [b.first_event for b in expected]
    assert [b.x.tobytes() for b in again] == [b.x.tobytes() for b in expected]


@QUICK
@given(st.lists(st.sampled_from([GOOD, GOOD, CUT, BAD]), max_size=60), st.integers(1, 7))
def test_every_event_comes_once_with_its_own_content(statuses: list[int], most: int) -> None:
    pieces = pieces_of(batcher_of(Crumbs(source_of(statuses, labels=True), most)))
    at = 0
    for piece in pieces:
        assert piece.first_event == at
        at = piece.end_event
        assert piece.lumisection == piece.first_event // 10 + 1
        if piece.batch is not None:
            index = np.arange(piece.first_event, piece.end_event)
            assert piece.batch.x[:, 0].tolist() == index.tolist()
            assert piece.truth is not None
            assert piece.truth.label.tolist() == (index % 3 == 0).astype(int).tolist()
    assert at == len(statuses)


def test_an_incomplete_batch_waits_until_it_is_flushed() -> None:
    batcher = batcher_of(source_of([GOOD] * 8))
    assert batcher.next(3) is None
    piece = batcher.next(3, flush=True)
    assert piece is not None
    assert (piece.first_event, piece.end_event) == (0, 3)
    rest = batcher.next(4)
    assert rest is not None
    assert (rest.first_event, rest.end_event) == (3, 4)


def test_nothing_comes_before_it_is_due() -> None:
    batcher = batcher_of(source_of([CUT] * 8))
    assert batcher.next(0) is None
    assert sum(p.end_event - p.first_event for p in iter(lambda: batcher.next(5), None)) == 5


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
    assert batcher.next(NO_LIMIT) is None
    assert batcher.is_exhausted


def test_a_source_that_returns_other_events_is_an_error() -> None:
    class Confused(Crumbs):
        def read(self, n: int) -> Events:
            events = super().read(n)
            return Events(events.first_event + 1, events.x, events.status)

    with pytest.raises(InputError, match="expected events from 0 on"):
        batcher_of(Confused(source_of([GOOD] * 4), 4)).next(NO_LIMIT)


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
        batcher.next(NO_LIMIT)
    batcher.seek(0)
    batcher.next(NO_LIMIT)
    assert sizes == [4, 8, 16, 32, 64, 32, 16]
