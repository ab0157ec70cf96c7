"""Histories of fixed length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlineflows.errors import CheckpointError
from onlineflows.online.history import NllHistory


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


def test_a_document_without_points_is_refused():
    with pytest.raises(CheckpointError, match="expected a history"):
        NllHistory.from_dict({"stretch_events": 1})
