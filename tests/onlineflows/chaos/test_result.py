"""The judge: what it calls good, and what it notices."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onlineflows.chaos.result import Reference, Result, merged

REFERENCE = Reference(theta="ab", n_uses=4000, n_trained=1000)
LEDGER = {"generated": 1000, "sent": 1000, "trained": 1000, "uses": 4000, "problems": []}


def left(**changes: Any) -> Any:
    """What a stage shows after its end."""
    ledger = {**LEDGER, "skipped": {}, "lost": 0, "unaccounted": 0, **changes.pop("ledger", {})}
    stage = {
        "ledgers": [ledger],
        "theta": "ab",
        "n_generated": 1000,
        "problems": [],
        "recoveries_s": [],
        "notes": {},
    }
    return SimpleNamespace(**{**stage, **changes})


def judged(stage: Any, reference: Reference | None = REFERENCE) -> Result:
    result = Result("fault")
    result.add(stage, 1, reference)
    return result


def test_a_run_like_the_undisturbed_one_is_good() -> None:
    result = judged(left())
    assert result.is_good
    assert (result.unaccounted, result.trained_twice, result.theta_equal) == (0, 0, True)


def test_events_that_are_skipped_lost_or_withheld_are_accounted_for() -> None:
    counts = {"sent": 900, "trained": 850, "skipped": {"nan": 20}, "lost": 30, "busy": 100}
    result = judged(left(ledger=counts), None)
    assert result.is_good
    assert (result.skipped, result.lost, result.withheld) == (20, 30, 100)


@pytest.mark.parametrize(
    "ledger",
    [
        {"trained": 999},
        {"unaccounted": 1},
        {"generated": 990, "sent": 990, "trained": 990, "uses": 3960},
    ],
)
def test_an_event_that_nobody_can_account_for_is_noticed(ledger: dict[str, Any]) -> None:
    result = judged(left(ledger=ledger))
    assert result.unaccounted > 0
    assert not result.is_good


def test_more_uses_than_an_undisturbed_run_has_are_events_trained_twice() -> None:
    result = judged(left(ledger={"uses": 4012}))
    assert result.trained_twice == 3
    assert not result.is_good


def test_other_bits_of_theta_are_noticed() -> None:
    result = judged(left(theta="cd"))
    assert result.theta_equal is False
    assert not result.is_good


def test_one_unequal_stream_among_equal_ones_is_not_forgotten() -> None:
    result = Result("fault")
    for theta in ("ab", "cd", "ab"):
        result.add(left(theta=theta), 1, REFERENCE)
    assert result.theta_equal is False


def test_a_run_without_a_ledger_accounts_for_nothing() -> None:
    stage = left()
    stage.ledgers = [{}]
    assert judged(stage).unaccounted == 1000


def test_problems_of_ledger_and_stage_are_kept() -> None:
    result = judged(left(ledger={"problems": ["one"]}, problems=["two"]))
    assert result.problems == ["one", "two"]
    assert not result.is_good


def test_a_document_has_what_scripts_read() -> None:
    document = judged(left(recoveries_s=[1.0, 3.0, 2.0])).document()
    wanted = {"fault", "rounds", "sent", "trained", "unaccounted", "trained_twice", "theta_equal"}
    assert wanted <= set(document)
    assert (document["recover_median_s"], document["recover_max_s"]) == (2.0, 3.0)


def test_notes_of_several_streams_are_added_up() -> None:
    assert merged({"to": {"dropped": 1}}, {"to": {"dropped": 2}}) == {"to": {"dropped": 3}}


def test_the_stage_and_its_stand_in_have_the_same_members() -> None:
    source = (Path(__file__).parents[3] / "onlineflows" / "chaos" / "stage.py").read_text()
    assert [name for name in vars(left()) if name not in source] == []


def test_consumers_that_share_a_stream_account_for_it_together() -> None:
    stage = left(ledger={"sent": 600, "trained": 600, "elsewhere": 400, "uses": 2400})
    other = {**LEDGER, "sent": 400, "trained": 400, "elsewhere": 600, "uses": 1600}
    stage.ledgers.append(other)
    assert judged(stage).is_good
    other["trained"] = other["sent"] = 401
    assert judged(stage).unaccounted == 1
