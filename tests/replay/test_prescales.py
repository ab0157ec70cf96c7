"""Prescales: which events are kept is a matter of seed and index alone, and all are counted."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.batching import Batcher, Piece
from replay.pacing import NO_LIMIT
from replay.prescales import REMEMBERED, PrescaleCounts, Prescaler, require_prescales
from replay.settings import PrescaleConfig
from streams import LHCO, ArraySource, Counts, EventSchema, Feature, InputError, Status
from streams.rows import KEPT_ROWS

QUICK = settings(max_examples=60, deadline=None)
SCHEMA = EventSchema((Feature("m", "TeV", 0, 1e9), Feature("y", "", -1, 1)))
LOW = PrescaleConfig("low", "m < 500", 10)
HIGH = PrescaleConfig("high", "m >= 900 and y > 0", 3)
ALL = PrescaleConfig("rest", "", 100)


def table(n: int) -> np.ndarray:
    return np.stack([np.arange(n) % 1000, np.where(np.arange(n) % 2, 0.5, -0.5)], 1).astype("f4")


def chosen(*prescales: PrescaleConfig, n: int = 100_000, seed: int = 1):
    return Prescaler(prescales, SCHEMA, seed=seed).choose(np.arange(n), table(n))


def test_an_event_belongs_to_the_first_selection_that_it_passes() -> None:
    first, second = PrescaleConfig("a", "m < 10"), PrescaleConfig("b", "m < 20")
    selection, keep = chosen(first, second, n=1000)
    assert selection[:22].tolist() == [1] * 10 + [2] * 10 + [0] * 2
    assert keep.all()


def test_without_an_expression_all_that_is_left_is_selected() -> None:
    selection, _ = chosen(LOW, ALL, n=1000)
    assert selection.tolist() == [1] * 500 + [2] * 500


def test_one_event_in_so_many_is_kept() -> None:
    """Binomial: 5 sigma, false alarms 1 in 10^6 each."""
    selection, keep = chosen(LOW, HIGH)
    for number, factor in ((1, 10), (2, 3)):
        n = int((selection == number).sum())
        kept = int(keep[selection == number].sum())
        p = 1 / factor
        assert abs(kept - n * p) < 5 * np.sqrt(n * p * (1 - p))
    assert keep[selection == 0].all()


def test_neighbours_are_kept_independently() -> None:
    """Correlation of 100,000 decisions with the next one: 5 sigma."""
    _, keep = chosen(PrescaleConfig("all", "", 2))
    assert abs(np.corrcoef(keep[:-1], keep[1:])[0, 1]) < 5 / np.sqrt(100_000)


def test_the_decision_on_an_event_depends_on_seed_and_index_alone() -> None:
    _, whole = chosen(LOW, HIGH, ALL)
    prescaler = Prescaler((LOW, HIGH, ALL), SCHEMA, seed=1)
    rows = np.array([5, 77_000, 1234, 99_999])
    assert (prescaler.choose(rows, table(100_000)[rows])[1] == whole[rows]).all()
    assert (chosen(LOW, HIGH, ALL, seed=2)[1] != whole).any()


def test_the_decisions_are_these_on_every_machine_and_for_ever() -> None:
    """A stream is gone on with after an upgrade: computed by hand from SplitMix64."""
    mask = 2**64 - 1

    def mix(z: int) -> int:
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    golden = 0x9E3779B97F4A7C15
    key = mix((mix(1) + 4 * golden) & mask)
    expected = [mix((key + (i + 1) * golden) & mask) < 2**64 // 3 for i in range(200)]
    assert chosen(PrescaleConfig("all", "", 3), n=200)[1].tolist() == expected


def test_another_selection_changes_nothing_for_the_rest() -> None:
    _, one = chosen(LOW)
    selection, both = chosen(LOW, HIGH)
    assert (one == both)[selection != 2].all()


def test_what_is_kept_of_few_is_kept_of_more() -> None:
    few, more = chosen(replace(LOW, keep=1000))[1], chosen(replace(LOW, keep=10))[1]
    assert (few <= more).all()
    assert few.sum() < more.sum()


def test_an_event_that_is_no_number_passes_nothing() -> None:
    prescaler = Prescaler((PrescaleConfig("a", "log(m) < 1 or y < 0", 2),), SCHEMA, seed=1)
    x = np.array([[-1.0, 0.5], [1.0, 0.5]], dtype=np.float32)
    assert prescaler.choose(np.arange(2), x)[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("prescales", "message"),
    [
        (
            [PrescaleConfig("a", "mij < 2")],
            r"a.select: .* got 'mij'; nearest known: 'mjj'",
        ),
        ([PrescaleConfig("a", "mjj <")], r"expected an expression .* of prescales.a.select"),
        ([PrescaleConfig("a", "mjj[0] < 2")], r"expected a list per event before \[0\]"),
        ([PrescaleConfig("a", "sum(mjj) < 2")], r"expected a list per event in sum\(\)"),
        ([PrescaleConfig("a", "__import__('os')")], "no such function"),
        ([PrescaleConfig("a"), PrescaleConfig("a", "mjj < 2")], "expected names that differ.*'a'"),
        ([PrescaleConfig("unrecorded")], "none of them 'unrecorded'"),
        ([PrescaleConfig(str(n)) for n in range(101)], "expected at most 100; got 101"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(
    prescales: list[PrescaleConfig], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Prescaler(prescales, LHCO, seed=1)


def test_names_of_features_are_not_judged_before_they_are_known() -> None:
    require_prescales([PrescaleConfig("a", "mij < 2")], None)


@pytest.mark.parametrize("keep", [0, -1, 2_000_000_000])
def test_a_factor_that_is_none_is_refused(keep: int) -> None:
    with pytest.raises(InputError, match=r"prescales.a.keep: expected one in 1 to 1,000,000,000"):
        PrescaleConfig("a", keep=keep)


@pytest.mark.parametrize("name", ["", "x" * 61])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"prescales.name: expected 1 to 60 characters"):
        PrescaleConfig(name)


def test_expressions_over_features_load_no_awkward() -> None:
    code = (
        "from replay.prescales import Prescaler; from replay.settings import PrescaleConfig;"
        "from streams import LHCO; import sys;"
        "Prescaler([PrescaleConfig('a', 'mjj < 2')], LHCO, seed=1);"
        "sys.exit('awkward' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- cutting -------------------------------------------------------------------------------

STATUSES = st.lists(
    st.sampled_from([Status.GOOD, Status.GOOD, Status.NOT_SELECTED, Status.NEGATIVE]), max_size=300
)
FEW = (PrescaleConfig("low", "m < 40", 3), PrescaleConfig("odd", "y > 0", 2))


def batcher(statuses: list[int], *, batch: int = 4, prescales=FEW) -> Batcher:
    n = len(statuses)
    source = ArraySource(SCHEMA, table(n), status=np.array(statuses, np.uint8))
    prescaler = Prescaler(prescales, SCHEMA, seed=7) if prescales else None
    return Batcher(source, run=1, batch_events=batch, lumisection_events=100, prescaler=prescaler)


def pieces_of(batcher: Batcher) -> list[Piece]:
    pieces = []
    while True:
        piece = batcher.next(NO_LIMIT)
        if piece is not None:
            pieces.append(piece)
        elif not batcher.read(NO_LIMIT):
            return pieces


@QUICK
@given(STATUSES)
def test_every_event_is_sent_or_counted_as_what_it_is(statuses: list[int]) -> None:
    n = len(statuses)
    x, status = table(n), np.array(statuses, dtype=np.uint8)
    _, keep = Prescaler(FEW, SCHEMA, seed=7).choose(np.arange(n), x)
    sent: list[int] = []
    total, selected = Counts(), np.zeros((2, 2), dtype=np.int64)
    for piece in pieces_of(batcher(statuses)):
        assert piece.counts.cover(piece.first_event, piece.end_event)
        total += piece.counts
        selected += piece.selected
        if piece.batch is not None:
            sent += piece.batch.event_indices().tolist()
            np.testing.assert_array_equal(piece.batch.x, x[piece.batch.event_indices()])
    good = status == Status.GOOD
    assert sent == np.flatnonzero(good & keep).tolist()
    assert total == Counts(
        generated=n,
        sent=len(sent),
        not_selected=int((status == Status.NOT_SELECTED).sum()),
        prescaled=int((good & ~keep).sum()),
        bad=int((status == Status.NEGATIVE).sum()),
    )
    assert int((selected[:, 0] - selected[:, 1]).sum()) == total.prescaled
    low = good & (x[:, 0] < 40)
    assert selected[0].tolist() == [low.sum(), (low & keep).sum()]


@QUICK
@given(STATUSES.filter(len), st.data())
def test_a_prescaled_stream_read_again_is_cut_the_same_way(
    statuses: list[int], data: st.DataObject
) -> None:
    cut = batcher(statuses)
    pieces = pieces_of(cut)
    at = data.draw(st.integers(0, len(pieces) - 1))
    cut.seek(pieces[at].first_event)
    again = pieces_of(cut)
    assert [(p.first_event, p.end_event, p.counts) for p in again] == [
        (p.first_event, p.end_event, p.counts) for p in pieces[at:]
    ]


def test_a_selection_that_keeps_all_is_counted_and_changes_nothing() -> None:
    statuses = [Status.GOOD] * 200
    counted = pieces_of(batcher(statuses, prescales=(PrescaleConfig("low", "m < 40"),)))
    plain = pieces_of(batcher(statuses, prescales=()))
    assert [p.counts for p in counted] == [p.counts for p in plain]
    assert sum(p.selected for p in counted).tolist() == [[40, 40]]


# --- accounts ------------------------------------------------------------------------------


def row(*pairs: tuple[int, int]) -> np.ndarray:
    return np.array(pairs, dtype=np.int64)


def test_counts_are_kept_by_selection_and_by_lumisection() -> None:
    counts = PrescaleCounts(FEW)
    counts.record(0, 1, row((10, 3), (4, 2)))
    counts.record(20, 1, row((1, 1), (0, 0)))
    counts.record(40, 2, row((5, 5), (2, 0)))
    counts.record(60, 2, None)
    document = counts.document(n_prescaled=11)
    assert [(s["name"], s["passed"], s["kept"]) for s in document["selections"]] == [
        ("low", 16, 9),
        ("odd", 6, 2),
    ]
    assert document["unrecorded"] == 0
    assert document["lumisections"] == [
        {"lumisection": 1, "passed": [11, 4], "kept": [4, 2]},
        {"lumisection": 2, "passed": [5, 2], "kept": [5, 0]},
    ]


PIECES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60)


@QUICK
@given(PIECES, st.integers(0, 600), PIECES)
def test_a_rewind_takes_back_what_came_from_there_on(
    pieces: list[tuple[int, int]], at: int, again: list[tuple[int, int]]
) -> None:
    counts, never = PrescaleCounts((LOW,)), PrescaleCounts((LOW,))
    for n, (a, b) in enumerate(pieces):
        counts.record(10 * n, n // 7, row((a + b, a)))
    at = min(10 * (at // 10), 10 * len(pieces))
    counts.rewind(at)
    kept = pieces[: at // 10]
    for n, (a, b) in enumerate([*kept, *again]):
        if n >= len(kept):
            counts.record(10 * n, n // 7, row((a + b, a)))
        never.record(10 * n, n // 7, row((a + b, a)))
    left_out = sum(b for _, b in [*kept, *again])
    found, expected = counts.document(left_out), never.document(left_out)
    assert found["selections"] == expected["selections"]
    assert found["unrecorded"] == expected["unrecorded"] == 0
    assert [r for r in found["lumisections"] if any(r["passed"])] == [
        r for r in expected["lumisections"] if any(r["passed"])
    ]


def test_a_rewind_beyond_what_is_remembered_leaves_events_that_nobody_has_recorded() -> None:
    counts = PrescaleCounts((LOW,))
    for n in range(REMEMBERED + 10):
        counts.record(n, 1, row((3, 1)))
    counts.rewind(5)
    assert counts.document(n_prescaled=10)["selections"][0]["passed"] == 0
    assert counts.document(n_prescaled=10)["unrecorded"] == 10


def test_a_resumed_producer_says_how_much_it_does_not_know() -> None:
    counts = PrescaleCounts((LOW,))
    counts.record(1000, 11, row((3, 1)))
    assert counts.document(n_prescaled=900)["unrecorded"] == 898


def test_the_memory_for_lumisections_is_bounded() -> None:
    counts = PrescaleCounts((LOW,))
    n = KEPT_ROWS + 50
    for lumisection in range(n):
        counts.record(lumisection, lumisection, row((2, 1)))
    document = counts.document(n_prescaled=n)
    assert len(document["lumisections"]) == KEPT_ROWS
    assert document["selections"][0]["passed"] == 2 * n
    counts.rewind(n - 1)
    counts.rewind(10)
    assert counts.document(n_prescaled=10)["selections"][0]["passed"] == 20
