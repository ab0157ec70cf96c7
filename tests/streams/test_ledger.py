"""The producer's ledger."""

import pytest

from streams import Counts, LedgerError, Position, ProducerLedger


def sent(n: int) -> Counts:
    return Counts(generated=n, sent=n)


def ledger_of_one_lumisection() -> ProducerLedger:
    ledger = ProducerLedger()
    ledger.record(0, 13, Counts(generated=13, sent=10, not_selected=2, prescaled=1))
    ledger.record(13, 16, Counts(generated=3, bad=3))
    ledger.record(16, 20, Counts(generated=4, busy=4))
    return ledger


def test_every_event_is_counted_once() -> None:
    assert ledger_of_one_lumisection().totals == Counts(
        generated=20, sent=10, not_selected=2, bad=3, busy=4, prescaled=1
    )


def test_a_whole_ledger_balances() -> None:
    assert ledger_of_one_lumisection().balance().is_balanced


@pytest.mark.parametrize(("first", "end"), [(19, 25), (21, 25), (20, 20)])
def test_a_range_that_is_not_the_next_is_refused(first: int, end: int) -> None:
    with pytest.raises(LedgerError, match="expected events from 20 on"):
        ledger_of_one_lumisection().record(first, end, sent(end - first))


@pytest.mark.parametrize("counts", [Counts(5, 4), Counts(4, 4), Counts(5, 4, bad=2)])
def test_counts_that_are_not_those_of_the_range_are_refused(counts: Counts) -> None:
    with pytest.raises(LedgerError, match="expected counts that add up"):
        ledger_of_one_lumisection().record(20, 25, counts)


def test_only_what_sends_something_is_a_batch() -> None:
    assert ledger_of_one_lumisection().n_batches == 1


def test_closing_a_lumisection_returns_its_counts_and_begins_anew() -> None:
    ledger = ledger_of_one_lumisection()
    assert ledger.close(1, live_ns=5, dead_ns=3).generated == 20
    ledger.record(20, 24, sent(4))
    assert ledger.close(2) == Counts(generated=4, sent=4)
    assert ledger.totals.generated == 24
    assert [row.lumisection for row in ledger.rows] == [1, 2]


def test_a_rewind_takes_back_what_came_after() -> None:
    ledger = ledger_of_one_lumisection()
    ledger.close(1)
    ledger.record(20, 30, sent(10))
    closed = Counts(generated=20, sent=10, not_selected=2, bad=3, busy=4, prescaled=1)
    opened = Counts(generated=4, sent=4)
    position = Position("0" * 32, 2, 24, 20, closed + opened, opened)
    ledger.rewind(position, 2)
    assert (ledger.next_event, ledger.closed_event, ledger.n_batches) == (24, 20, 2)
    assert ledger.totals.generated == 24
    assert ledger.balance().is_balanced


def test_the_document_adds_up() -> None:
    ledger = ledger_of_one_lumisection()
    ledger.close(1, live_ns=2_000_000_000, dead_ns=500_000_000)
    document = ledger.document("GOOD")
    assert document["generated"] == 20
    assert (document["live_s"], document["dead_s"]) == (2.0, 0.5)
    assert document["unaccounted"] == 0
