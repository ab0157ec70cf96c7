"""The consumer's ledger: what balances, and what it says where it doesn't."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import (
    LHCO,
    Batch,
    BatchReceived,
    ConsumerLedger,
    Counts,
    EventsLost,
    GapReceived,
    LedgerError,
    LumisectionEnded,
    Position,
    RunBegan,
    RunEnded,
)

HERE = Position("ab" * 16, 0, 0)


def began(mode: Any = "lossless") -> RunBegan:
    return RunBegan(HERE.epoch, 3, LHCO, mode)


def batch(
    number: int, first: int, end: int, lumisection: int = 1, **withheld: int
) -> BatchReceived:
    n, n_sent = end - first, end - first - sum(withheld.values())
    x = np.zeros((n_sent, 5), dtype=np.float32)
    present = np.packbits(np.arange(n) < n_sent, bitorder="little") if n_sent < n else None
    counts = Counts(generated=n, sent=n_sent, **withheld)
    return BatchReceived(
        Batch(x, first, end, 3, lumisection, present), number, counts, None, 0, HERE
    )


def gap(first: int, end: int, reason: str = "busy") -> GapReceived:
    return GapReceived(
        first, end, Counts(**{"generated": end - first, reason: end - first}), 1, HERE
    )


def lost(first: int, end: int) -> EventsLost:
    return EventsLost(first, end, HERE)


def end_lumisection(lumisection: int, first: int, end: int, **counts: int) -> LumisectionEnded:
    claim = Counts(generated=end - first, **counts)
    return LumisectionEnded(lumisection, first, end, claim, 7, 2, HERE)


def end_run(end: int, *, digest_agrees: bool | None = True, **counts: int) -> RunEnded:
    totals = Counts(generated=end, **counts)
    return RunEnded(totals, "GOOD", "", 0, end, 7, 2, digest_agrees, HERE)


def ledger_of(*incoming: Any, mode: Any = "lossless") -> ConsumerLedger:
    ledger = ConsumerLedger()
    for each in (began(mode), *incoming):
        ledger.observe(each)
    return ledger


def test_a_run_in_which_everything_is_trained_on_balances() -> None:
    ledger = ledger_of(batch(0, 0, 10), batch(1, 10, 20), end_lumisection(1, 0, 20, sent=20))
    ledger.account(range(2), trained=20)
    ledger.observe(end_run(20, sent=20))
    assert ledger.balance().is_balanced
    assert ledger.document()["trained"] == 20


def test_skipped_events_are_counted_by_reason() -> None:
    ledger = ledger_of(batch(0, 0, 10), end_lumisection(1, 0, 10, sent=10), end_run(10, sent=10))
    ledger.account([0], trained=7, skipped={"out_of_support": 2, "non_finite": 1})
    document = ledger.document()
    assert document["skipped"] == {"non_finite": 1, "out_of_support": 2}
    assert ledger.balance().is_balanced


def test_in_brief_it_says_what_was_skipped_and_lost_so_far() -> None:
    ledger = ConsumerLedger()
    ledger.observe(began("realtime"))
    ledger.observe(batch(0, 0, 10))
    ledger.account([0], trained=7, skipped={"non_finite": 3})
    ledger.observe(lost(10, 14))
    assert ledger.in_brief() == ({"non_finite": 3}, 4)
    ledger.observe(end_lumisection(1, 0, 14, sent=14))
    assert ledger.in_brief() == ({"non_finite": 3}, 4)


def test_events_that_were_not_sent_are_not_missed() -> None:
    ledger = ledger_of(
        batch(0, 0, 13, not_selected=2, prescaled=1),
        gap(13, 14, "bad"),
        gap(14, 20, "not_selected"),
        end_lumisection(1, 0, 20, sent=10, bad=1, not_selected=8, prescaled=1),
        end_run(20, sent=10, bad=1, not_selected=8, prescaled=1),
    )
    ledger.account([0], trained=10)
    assert ledger.balance().is_balanced


def test_reasons_that_differ_from_the_lumisections_are_a_problem() -> None:
    ledger = ledger_of(
        batch(0, 0, 10, not_selected=4),
        end_lumisection(1, 0, 10, sent=6, not_selected=3, bad=1),
        end_run(10, sent=6, not_selected=3, bad=1),
    )
    ledger.account([0], trained=6)
    assert ledger.balance().unaccounted == 1
    assert "counts of batches and gaps" in ledger.balance().problems[0]


def test_lost_events_are_told_from_busy_ones_by_the_producers_counts() -> None:
    ledger = ledger_of(
        batch(0, 0, 10),
        lost(10, 30),
        end_lumisection(1, 0, 30, sent=16, busy=14),
        end_run(30, sent=16, busy=14, digest_agrees=None),
        mode="realtime",
    )
    ledger.account([0], trained=10)
    document = ledger.document()
    assert (document["lost"], document["busy"], document["unaccounted"]) == (6, 14, 0)
    assert ledger.balance().is_balanced


def test_lost_events_are_a_problem_in_lossless_mode() -> None:
    ledger = ledger_of(lost(0, 5), end_lumisection(1, 0, 5, sent=5), end_run(5, sent=5))
    assert "lost in lossless mode" in ledger.balance().problems[0]


def test_a_batch_that_nobody_accounted_for_is_named() -> None:
    ledger = ledger_of(batch(4, 0, 10), end_lumisection(1, 0, 10, sent=10), end_run(10, sent=10))
    balance = ledger.balance()
    assert balance.unaccounted == 10
    assert "batches 4 (10 events)" in balance.problems[0]
    with pytest.raises(LedgerError, match="10 events unaccounted"):
        balance.require()


def test_events_that_vanished_are_named() -> None:
    ledger = ledger_of(batch(0, 0, 10), batch(1, 14, 20), end_lumisection(1, 0, 20, sent=20))
    ledger.account(range(2), trained=16)
    ledger.observe(end_run(20, sent=20))
    balance = ledger.balance()
    assert balance.unaccounted == 4
    assert "events 10..13 were never told of" in " ".join(balance.problems)


def test_counts_that_differ_from_their_lumisections_are_a_problem() -> None:
    ledger = ledger_of(batch(0, 0, 10), end_lumisection(1, 0, 10, sent=10), end_run(12, sent=12))
    ledger.account([0], trained=10)
    assert ledger.balance().unaccounted == 2


def test_another_digest_is_a_problem() -> None:
    ledger = ledger_of(end_run(0, digest_agrees=False))
    assert "digest" in ledger.balance().problems[0]


def test_a_run_without_an_end_does_not_balance() -> None:
    assert ledger_of().balance().problems == ("no end of run was received",)


def test_a_run_without_an_end_has_a_document_all_the_same() -> None:
    ledger = ledger_of(batch(0, 0, 10), gap(10, 12, "bad"))
    ledger.account([0], trained=10)
    document = ledger.document("ABORTED")
    assert (document["generated"], document["sent"], document["bad"]) == (12, 10, 2)
    assert document["condition"] == "ABORTED"


def test_an_event_received_twice_is_an_error() -> None:
    with pytest.raises(LedgerError, match="told of before"):
        ledger_of(batch(0, 0, 10), batch(1, 9, 12))


def test_a_batch_accounted_for_twice_is_an_error() -> None:
    ledger = ledger_of(batch(0, 0, 10))
    ledger.account([0], trained=10)
    with pytest.raises(LedgerError, match="batch 0 is not pending"):
        ledger.account([0], trained=10)


@pytest.mark.parametrize(("trained", "skipped"), [(9, {}), (8, {"a": 3}), (11, {"a": -1})])
def test_numbers_that_do_not_add_up_are_an_error(trained: int, skipped: dict[str, int]) -> None:
    ledger = ledger_of(batch(0, 0, 10))
    with pytest.raises(LedgerError, match="expected"):
        ledger.account([0], trained=trained, skipped=skipped)


def test_skips_must_be_accounted_for_in_their_lumisection() -> None:
    ledger = ledger_of(batch(0, 0, 10, 1), batch(1, 10, 20, 2))
    with pytest.raises(LedgerError, match=r"lumisections \[1, 2\]"):
        ledger.account(range(2), trained=19, skipped={"non_finite": 1})


def test_a_repeated_end_of_lumisection_counts_once() -> None:
    end = end_lumisection(1, 0, 10, sent=10)
    ledger = ledger_of(batch(0, 0, 10), end, end, end_run(10, sent=10))
    ledger.account([0], trained=10)
    ledger.observe(end)
    assert ledger.balance().is_balanced


def test_a_lumisection_in_two_pieces_is_one_row() -> None:
    ledger = ledger_of(
        batch(0, 0, 10),
        end_lumisection(1, 0, 10, sent=10),
        batch(1, 10, 15),
        end_lumisection(1, 10, 15, sent=5),
        end_run(15, sent=15),
    )
    ledger.account(range(2), trained=15)
    assert [row["trained"] for row in ledger.document()["lumisections"]] == [15]
    assert ledger.balance().is_balanced


@pytest.mark.parametrize("n_withheld", [0, 7])
def test_a_long_run_needs_bounded_memory(n_withheld: int) -> None:
    ledger = ledger_of()
    n_sent = 10 - n_withheld
    for n in range(2000):
        first = 10 * n
        ledger.observe(batch(n, first, first + 10, n + 1, not_selected=n_withheld))
        ledger.account([n], trained=n_sent)
        ledger.observe(
            end_lumisection(n + 1, first, first + 10, sent=n_sent, not_selected=n_withheld)
        )
    assert len(json.dumps(ledger.to_dict())) < 200_000


def test_an_open_lumisection_of_crumbs_needs_bounded_memory() -> None:
    ledger = ledger_of()
    for n in range(2000):
        ledger.observe(batch(n, 10 * n, 10 * n + 8, not_selected=7))
        ledger.observe(gap(10 * n + 8, 10 * n + 10, "not_selected"))
        ledger.account([n], trained=1)
    assert len(json.dumps(ledger.to_dict())) < 2_000


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(st.sampled_from(["batch", "gap", "account", "close"]), max_size=30),
)
def test_a_ledger_survives_json(steps: list[str]) -> None:
    ledger = ledger_of()
    at = number = closed = 0
    lumisection = 1
    for step in steps:
        match step:
            case "batch":
                ledger.observe(batch(number, at, at + 3, lumisection))
                at, number = at + 3, number + 1
            case "gap":
                ledger.observe(gap(at, at + 2))
                at += 2
            case "account" if ledger.n_pending:
                ledger.account([number - ledger.n_pending // 3], trained=2, skipped={"a": 1})
            case "close" if at > closed:
                ledger.observe(end_lumisection(lumisection, closed, at, sent=at - closed))
                closed, lumisection = at, lumisection + 1
    copy = ConsumerLedger.from_dict(json.loads(json.dumps(ledger.to_dict())))
    assert copy.to_dict() == ledger.to_dict()
    assert copy.document() == ledger.document()


@pytest.mark.parametrize("key", ["rows", "pending", "pieces", "totals"])
def test_a_damaged_document_is_refused(key: str) -> None:
    document = ledger_of(batch(0, 0, 10)).to_dict()
    del document[key]
    with pytest.raises(LedgerError, match="expected a ledger"):
        ConsumerLedger.from_dict(document)


def test_a_lumisection_closed_in_two_pieces_balances_while_the_first_is_pending() -> None:
    ledger = ledger_of(batch(0, 0, 10), end_lumisection(1, 0, 10, sent=10), batch(1, 10, 20))
    ledger.account([0], trained=10)
    ledger.account([1], trained=10)
    assert ledger.balance().problems == ("no end of run was received",)
    ledger.observe(end_lumisection(1, 10, 20, sent=10))
    ledger.observe(end_run(20, sent=20))
    assert ledger.balance().is_balanced
    [row] = ledger.document()["lumisections"]
    assert (row["sent"], row["trained"]) == (20, 20)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whenever_pieces_are_closed_and_batches_accounted_for_the_ledger_balances(
    data: st.DataObject,
) -> None:
    ledger = ledger_of()
    pending: list[int] = []
    closed = 0
    for event in range(0, 40, 4):
        lumisection = event // 20 + 1
        ledger.observe(batch(event // 4, event, event + 4, lumisection))
        pending.append(event // 4)
        if data.draw(st.booleans()) or (event + 4) % 20 == 0:
            n = event + 4 - closed
            ledger.observe(end_lumisection(lumisection, closed, event + 4, sent=n))
            closed = event + 4
        if data.draw(st.booleans()):
            ledger = ConsumerLedger.from_dict(json.loads(json.dumps(ledger.to_dict())))
        order = data.draw(st.permutations(pending))
        pending = order[data.draw(st.integers(0, len(order))) :]
        for number in order[: len(order) - len(pending)]:
            ledger.account([number], trained=4)
    for number in pending:
        ledger.account([number], trained=4)
    ledger.observe(end_run(40, sent=40))
    assert ledger.balance().is_balanced, ledger.balance()
    rows = ledger.document()["lumisections"]
    assert [(row["lumisection"], row["trained"], row["sent"]) for row in rows] == [
        (1, 20, 20),
        (2, 20, 20),
    ]
