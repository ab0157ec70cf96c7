"""`onlineflows ctl`: whom it asks, what it refuses to ask, what it prints."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from onlineflows.cli.health import HealthFile
from streams.console import Console, Place
from streams.control import Reply, Request

PRODUCER = {
    "type": "producer",
    "next_event": 5_000,
    "n_events": None,
    "lumisection": 1,
    "counts": {"generated": 5000, "sent": 4000, "busy": 1000},
    "n_batches": 4,
    "mode": "realtime",
    "arrivals": "poisson",
    "rate_hz": 100.0,
    "credit": 3,
    "live_s": 40.0,
    "dead_s": 10.0,
    "paused_s": 0.0,
    "prescales": {"low mass": [4000, 800]},
}


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Callable[..., list[tuple[str, Request]]]]:
    """Starts consoles that answer everything; returns what they were asked."""
    asked: list[tuple[str, Request]] = []
    is_over = threading.Event()
    threads: list[threading.Thread] = []

    def begin(*names: str, reply: Reply | None = None) -> list[tuple[str, Request]]:
        def serve() -> None:
            with ExitStack() as stack:
                open_ = {
                    name: stack.enter_context(Console(Place.of(tmp_path, name)))  # type: ignore[arg-type]
                    for name in names
                }
                ready.set()
                while not is_over.wait(0.005):
                    for name, console in open_.items():
                        for peer, request in console.requests():
                            asked.append((name, request))
                            console.answer(peer, reply or Reply(True, "done"))

        ready = threading.Event()
        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        assert ready.wait(10)
        return asked

    yield begin
    is_over.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("words", "whom"),
    [
        (["pause"], ["replay"]),
        (["set-rate", "1e5"], ["replay"]),
        (["snapshot-now"], ["train"]),
        (["status"], ["replay", "train"]),
        (["stop"], ["replay"]),
    ],
)
def test_a_verb_goes_to_those_that_it_concerns(
    words: list[str], whom: list[str], daemons: Any, command: Any, tmp_path: Path
) -> None:
    asked = daemons("replay", "train")
    said = command("ctl", tmp_path, *words, "--json")
    assert said.code == 0
    assert sorted(name for name, _ in asked) == whom
    assert sorted(said.document) == whom


def test_a_learner_without_a_producer_is_stopped_itself(
    daemons: Any, command: Any, tmp_path: Path
) -> None:
    asked = daemons("train")
    assert command("ctl", tmp_path, "stop").code == 0
    assert asked == [("train", Request("stop"))]


def test_a_refusal_is_printed_and_fails(daemons: Any, command: Any, tmp_path: Path) -> None:
    daemons("replay", reply=Reply(False, "there is no such event"))
    said = command("ctl", tmp_path, "seek", "5")
    assert (said.code, said.out) == (1, "replay: refused: there is no such event\n")


def test_a_status_is_told_in_lines(daemons: Any, command: Any, tmp_path: Path) -> None:
    daemons("replay", reply=Reply(True, "running", PRODUCER))
    said = command("ctl", tmp_path, "status")
    assert "4,000 sent in 4 batches, 1,000 busy" in said.out
    assert "selection low mass: 800 kept of 4,000" in said.out
    assert "realtime, poisson at 100 events/s, credit for 3 batches" in said.out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["puase"], "nearest known: 'pause'"),
        (["seek"], "expected the index of an event; got nothing"),
        (["seek", "far"], "expected the index of an event; got 'far'"),
        (["set-rate", "-5"], "expected the rate in events/s; got '-5'"),
        (["step", "0"], "expected the number of batches, at least 1; got '0'"),
        (["burst", "0"], "expected the number of events, at least 1; got '0'"),
        (["step", "nan"], "expected the number of batches, at least 1; got 'nan'"),
        (["pause", "5"], "expected nothing more; got '5'"),
    ],
)
def test_what_can_not_be_asked_is_refused_in_words(
    words: list[str], why: str, refused: Any, tmp_path: Path
) -> None:
    assert why in refused("ctl", tmp_path, *words)


def test_a_folder_without_a_daemon_is_refused_in_words(refused: Any, tmp_path: Path) -> None:
    assert "expected a daemon that runs there" in refused("ctl", tmp_path, "status")


def test_a_run_that_is_not_there_is_told_from_one_that_has_ended(
    refused: Any, tmp_path: Path
) -> None:
    (tmp_path / "demo").mkdir()
    said = refused("ctl", tmp_path / "dem", "status")
    assert (
        "expected a run directory such as runs/demo; there is none; nearest known: 'demo'" in said
    )
    HealthFile(tmp_path / "demo", "train").write("ended", {})
    said = refused("ctl", tmp_path / "demo", "status")
    assert "all of them have ended (train ended)" in said


def test_a_producer_alone_has_no_snapshots(daemons: Any, refused: Any, tmp_path: Path) -> None:
    daemons("replay")
    assert "expected a learner that runs there" in refused("ctl", tmp_path, "snapshot-now")
