"""Intervals against Python's own sets."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.intervals import IntervalSet

QUICK = settings(max_examples=40, deadline=None)

interval = st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1]))
intervals = st.lists(interval, max_size=20)


def indices(pairs: list[tuple[int, int]]) -> set[int]:
    return {i for first, end in pairs for i in range(first, end)}


@QUICK
@given(intervals)
def test_a_set_of_intervals_holds_the_indices_that_were_added(pairs: list[tuple[int, int]]) -> None:
    events = IntervalSet(pairs)
    assert indices(list(events)) == indices(pairs)
    assert len(events) == len(indices(pairs))


@QUICK
@given(intervals)
def test_intervals_stay_disjoint_sorted_and_apart(pairs: list[tuple[int, int]]) -> None:
    found = list(IntervalSet(pairs))
    assert all(first < end for first, end in found)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(found))


@QUICK
@given(intervals, interval)
def test_adding_returns_how_many_indices_are_new(
    pairs: list[tuple[int, int]], new: tuple[int, int]
) -> None:
    assert IntervalSet(pairs).add(*new) == len(indices([new]) - indices(pairs))


@QUICK
@given(intervals, interval)
def test_removing_takes_out_exactly_that_range(
    pairs: list[tuple[int, int]], gone: tuple[int, int]
) -> None:
    events = IntervalSet(pairs)
    assert events.remove(*gone) == len(indices(pairs) & indices([gone]))
    assert indices(list(events)) == indices(pairs) - indices([gone])
    assert len(events) == len(indices(pairs) - indices([gone]))


@QUICK
@given(intervals, interval)
def test_counted_and_missing_indices_make_up_a_range(
    pairs: list[tuple[int, int]], span: tuple[int, int]
) -> None:
    events = IntervalSet(pairs)
    assert events.count(*span) == len(indices(pairs) & indices([span]))
    assert indices(list(events.missing(*span))) == indices([span]) - indices(pairs)


@QUICK
@given(intervals, intervals, intervals)
def test_union_is_associative(
    a: list[tuple[int, int]], b: list[tuple[int, int]], c: list[tuple[int, int]]
) -> None:
    one, two, three = IntervalSet(a), IntervalSet(b), IntervalSet(c)
    assert one.union(two).union(three) == one.union(two.union(three))


def test_adding_in_order_keeps_one_interval() -> None:
    events = IntervalSet()
    for first in range(0, 100_000, 10):
        events.add(first, first + 10)
    assert list(events) == [(0, 100_000)]


@pytest.mark.parametrize(("first", "end"), [(-1, 3), (5, 4)])
def test_an_impossible_interval_is_refused(first: int, end: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= first <= end"):
        IntervalSet().add(first, end)
