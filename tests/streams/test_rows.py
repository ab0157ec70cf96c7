"""Rows add up, merge in any order and stay few."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from streams import Counts
from streams.rows import Row, Rows

QUICK = settings(max_examples=40, deadline=None)

row = st.builds(
    lambda n, sent, trained, skipped: Row(
        n, n, Counts(generated=sent, sent=sent), trained=trained, skipped=skipped
    ),
    st.integers(1, 12),
    st.integers(0, 100),
    st.integers(0, 100),
    st.dictionaries(st.sampled_from(["non_finite", "out_of_support"]), st.integers(1, 9)),
)
tables = st.lists(row, max_size=12)


def table(rows: list[Row]) -> Rows:
    made = Rows(keep=4)
    for each in rows:
        made.add(each)
    return made


@QUICK
@given(tables, tables, tables)
def test_merging_is_associative(a: list[Row], b: list[Row], c: list[Row]) -> None:
    left = table(a).merge(table(b)).merge(table(c))
    right = table(a).merge(table(b).merge(table(c)))
    assert left == right


@QUICK
@given(tables, tables)
def test_merging_is_commutative(a: list[Row], b: list[Row]) -> None:
    assert table(a).merge(table(b)) == table(b).merge(table(a))


@QUICK
@given(tables)
def test_the_total_does_not_depend_on_how_many_rows_are_kept(rows: list[Row]) -> None:
    few, all_of_them = table(rows).total(), Rows(keep=100).merge(table(rows)).total()
    assert few.counts == all_of_them.counts
    assert few.trained == all_of_them.trained
    assert few.skipped == all_of_them.skipped


@QUICK
@given(tables)
def test_rows_survive_json(rows: list[Row]) -> None:
    made = table(rows)
    assert Rows.from_dict(json.loads(json.dumps(made.to_dict())), keep=4) == made


def test_old_lumisections_collapse_into_one_row() -> None:
    rows = Rows(keep=3)
    for n in range(1, 1001):
        rows.add(Row(n, n, Counts(generated=10, sent=10), trained=10))
    assert [(r.lumisection, r.last_lumisection) for r in rows] == [
        (1, 997),
        (998, 998),
        (999, 999),
        (1000, 1000),
    ]
    assert rows.total().trained == 10_000


def test_rows_are_dropped_from_a_lumisection_on() -> None:
    rows = table([Row(n, n, trained=n) for n in (1, 2, 3)])
    rows.drop_from(2)
    assert [r.lumisection for r in rows] == [1]
