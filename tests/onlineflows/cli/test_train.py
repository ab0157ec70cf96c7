"""`onlineflows train`: what it refuses before it learns, and what it says when a run is over."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from onlineflows.cli.output import Output
from onlineflows.cli.train import conclude
from onlineflows.online.consumer import ConsumerReport
from streams.errors import LedgerError

NOBODY = ("wire.address=tcp://127.0.0.1:9", "wire.connect_timeout_s=0.1")
"""Where no producer listens."""


@pytest.fixture
def mine(tmp_path: Path) -> tuple[str, ...]:
    return (*NOBODY, f"run.directory={tmp_path}", "run.name=mine")


def test_a_consumer_without_a_producer_gives_up(mine, refused) -> None:
    said = refused("train", "-q", settings=mine)
    assert "no producer at tcp://127.0.0.1:9 for 0.1 s" in said


def test_a_consumer_that_gave_up_may_be_started_again(mine, refused) -> None:
    refused("train", settings=mine)
    assert "no producer" in refused("train", settings=mine)


@pytest.mark.parametrize("left", ["ledger.json", "snapshots", "checkpoints"])
def test_an_earlier_run_is_neither_deleted_nor_continued_unasked(
    left: str, mine, refused, tmp_path: Path
) -> None:
    (tmp_path / "mine" / left).mkdir(parents=True)
    said = refused("train", settings=mine)
    assert f"expected no earlier run; got {left}: use --resume" in said
    assert "--overwrite" in said
    assert (tmp_path / "mine" / left).exists()


def test_a_resume_without_a_checkpoint_is_refused_and_leaves_nothing(
    mine, refused, tmp_path: Path
) -> None:
    said = refused("train", "--resume", settings=mine)
    assert "expected a checkpoint to resume from; got none" in said
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_no_checkpoint(mine, refused, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / f"{7:020d}-{'0' * 32}.checkpoint").write_bytes(b"torn")
    said = refused("train", "--resume", "-q", settings=mine)
    assert "its content doesn't have the hash in its name" in said


def test_a_file_in_the_place_of_the_run_directory_is_refused(refused, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    said = refused("train", settings=(*NOBODY, f"run.directory={tmp_path / 'runs'}"))
    assert "runs/default: expected a folder to write to; got" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_may_not_be_written_to_is_refused(mine, refused, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    said = refused("train", settings=mine)
    tmp_path.chmod(0o700)
    assert "expected a folder to write to; got" in said


def test_an_address_that_is_none_is_refused(mine, refused) -> None:
    said = refused("train", settings=(*mine, "wire.address=here"))
    assert "wire.address: expected an address such as tcp://127.0.0.1:5757" in said


def report(**changes: Any) -> ConsumerReport:
    ledger = {
        "generated": 20,
        "not_selected": 3,
        "prescaled": 0,
        "busy": 2,
        "bad": 0,
        "operator": 0,
        "sent": 15,
        "trained": 11,
        "skipped": {"out_of_support": 4},
        "lost": 0,
        "unaccounted": 0,
        "text": "",
    }
    said = {"condition": "GOOD", "snapshot": None, "problems": (), "is_complete": True}
    ledger |= {name: changes.pop(name) for name in list(changes) if name in ledger}
    return ConsumerReport(ledger=ledger, **(said | changes))


def test_a_run_says_what_became_of_its_events(capsys) -> None:
    assert conclude(report(), Output()) == 0
    assert capsys.readouterr().out == (
        "run GOOD: 20 events, 3 not selected, 2 busy, 15 sent, 11 trained, 4 out of support, "
        "0 lost, 0 unaccounted\n"
    )


def test_a_run_says_so_for_machines(capsys) -> None:
    conclude(report(condition="TAINTED"), Output(as_json=True))
    document = json.loads(capsys.readouterr().out)
    assert (document["condition"], document["ledger"]["trained"]) == ("TAINTED", 11)


@pytest.mark.parametrize(
    ("condition", "code"), [("GOOD", 0), ("TAINTED", 0), ("INTERRUPTED", 0), ("ABORTED", 1)]
)
def test_the_exit_code_of_a_run_is_that_of_its_condition(condition: str, code: int) -> None:
    assert conclude(report(condition=condition), Output()) == code


def test_a_run_that_learned_nothing_fails_and_says_where_to_look(capsys) -> None:
    assert conclude(report(condition="TAINTED", trained=0), Output()) == 1
    assert "nothing was learned, and there is no snapshot" in capsys.readouterr().out


def test_a_stopped_consumer_says_how_to_go_on(capsys) -> None:
    assert conclude(report(condition="INTERRUPTED", is_complete=False), Output()) == 0
    assert "stopped before the end of the run; go on with --resume" in capsys.readouterr().out


def test_what_the_producer_has_to_say_is_passed_on(capsys) -> None:
    conclude(report(condition="ABORTED", text="at event 7: damaged"), Output())
    assert "the producer says: at event 7: damaged" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong", [{"unaccounted": 3}, {"problems": ("events 7..9 neither came nor were withheld",)}]
)
def test_accounts_that_do_not_balance_fail_the_run(wrong: dict[str, Any]) -> None:
    with pytest.raises(LedgerError, match="the ledgers do not balance"):
        conclude(report(**wrong), Output())
