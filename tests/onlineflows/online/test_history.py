"""Histories of fixed length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlineflows.errors import CheckpointError
from onlineflows.online.history import HistoryPoint, NllHistory, newest, points_of, told


def filled(n: int, length: int = 8) -> NllHistory:
    history = NllHistory(length=length, stretch_events=100)
    for index in range(n):
        history.add(100 * (index + 1), nll=float(index), n=10)
    return history


@given(n=st.integers(1, 500))
def test_a_history_never_grows_beyond_its_length(n):
    assert len(filled(n).points()) <= 8


@given(n=st.integers(1, 500))
def test_merging_keeps_the_mean_and_the_count(n):
    points = filled(n).points()
    assert sum(p.n for p in points) == 10 * n
    assert sum(p.n * p.nll for p in points) == pytest.approx(10 * n * (n - 1) / 2)


@given(n=st.integers(1, 500))
def test_a_history_reaches_to_the_newest_events(n):
    assert filled(n).points()[-1].n_seen == 100 * n


@pytest.mark.parametrize("nll", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_ignored(nll):
    history = filled(3)
    history.add(1000, nll=nll, n=5)
    assert history.points() == filled(3).points()


def test_a_history_survives_the_round_trip():
    history = filled(77)
    assert NllHistory.from_dict(history.to_dict(), length=8).points() == history.points()


def test_the_newest_nll_does_not_hang_on_one_small_point():
    # Points of a run of 1,001,591 events, the last of which holds one batch's 256.
    points = [
        HistoryPoint(984_000, -1.531, 3_800),
        HistoryPoint(1_000_000, -1.528, 3_840),
        HistoryPoint(1_001_591, -1.36615, 256),
    ]
    found = newest(points)
    assert found is not None
    assert (found.n_seen, found.n) == (1_001_591, 4_096)
    assert found.nll == pytest.approx(np.average([-1.528, -1.36615], weights=[3_840, 256]))


@given(
    st.lists(st.tuples(st.floats(-9, 9), st.integers(1, 3_000)), min_size=1, max_size=20),
    st.integers(1, 5_000),
)
def test_the_newest_nll_is_the_mean_of_as_few_points_as_hold_enough_events(rows, n_events):
    points = [HistoryPoint(i, nll, n) for i, (nll, n) in enumerate(rows)]
    found = newest(points, n_events=n_events)
    assert found is not None
    counts = [n for _, n in reversed(rows)]
    k = next((k for k in range(1, len(rows)) if sum(counts[:k]) >= n_events), len(rows))
    assert found.n == sum(counts[:k])
    nll, n = zip(*rows[-k:], strict=True)
    assert found.nll == pytest.approx(np.average(nll, weights=n), abs=1e-9)


def test_only_the_last_of_the_points_that_are_told_is_a_mean_of_several():
    points = filled(5).points()
    assert told(points) == [*points[:-1], newest(points)]


def test_an_empty_history_has_no_newest_nll():
    history = NllHistory()
    assert history.newest() is None
    assert told(history.points()) == []


def test_a_point_without_events_is_refused():
    with pytest.raises(ValueError, match="one event at least"):
        points_of({"points": [[10, -1.0, 0]]})


def test_a_document_without_points_is_refused():
    with pytest.raises(CheckpointError, match="expected a history"):
        NllHistory.from_dict({"stretch_events": 1})
