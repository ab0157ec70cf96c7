"""Restarts: with back-off, not for ever, and only for what a restart can mend."""

import itertools
import json
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from onlineflows.cli import supervise
from onlineflows.cli.supervise import Supervisor


class Stage:
    """Children that end as the test says, on a clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, ends: Sequence[int]) -> None:
        self.now = 0.0
        self.started: list[tuple[float, list[str]]] = []
        self.ledger = folder / "ledger.json"
        self.ends = list(ends)
        self.lasts_s = 0.0
        self.writes_ledger = False
        self.condition = "ABORTED"
        stage = self

        class Child:
            def __init__(self, command: list[str], **_: object) -> None:
                stage.started.append((stage.now, command[3:]))

            def wait(self) -> int:
                stage.now += stage.lasts_s
                if stage.writes_ledger:
                    stage.ledger.write_text(json.dumps({"condition": stage.condition}))
                return stage.ends.pop(0)

        monkeypatch.setattr(supervise.subprocess, "Popen", Child)

    def run(self, restarts: int = 3) -> int:
        return Supervisor(
            ["train", "--resume"],
            ["train", "--continue"],
            ledger=self.ledger,
            restarts=restarts,
            clock=lambda: self.now,
            sleep=self.sleep,
        ).run()

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_daemon_that_was_killed_goes_on_from_its_checkpoint(monkeypatch, tmp_path) -> None:
    stage = Stage(monkeypatch, tmp_path, [-signal.SIGKILL, 0])
    assert stage.run() == 0
    assert [command for _, command in stage.started] == [
        ["train", "--resume"],
        ["train", "--continue"],
    ]


def test_each_restart_waits_twice_as_long(monkeypatch, tmp_path) -> None:
    stage = Stage(monkeypatch, tmp_path, [-9, -9, -9, 0])
    stage.run()
    times = [when for when, _ in stage.started]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps == pytest.approx([1.0, 2.0, 4.0], abs=0.11)


def test_too_many_deaths_are_given_up_on(monkeypatch, tmp_path) -> None:
    stage = Stage(monkeypatch, tmp_path, [-9] * 10)
    assert stage.run(restarts=2) == 1
    assert len(stage.started) == 3


def test_deaths_of_long_ago_are_forgiven(monkeypatch, tmp_path) -> None:
    stage = Stage(monkeypatch, tmp_path, [*[-9] * 5, 0])
    stage.lasts_s = supervise.WINDOW_S + 1
    assert stage.run(restarts=1) == 0


@pytest.mark.parametrize("code", [0, 2])
def test_what_ended_on_purpose_or_was_refused_is_not_started_again(
    monkeypatch, tmp_path, code: int
) -> None:
    stage = Stage(monkeypatch, tmp_path, [code])
    assert stage.run() == code


def test_a_crash_is_started_again_and_a_failed_run_is_not(monkeypatch, tmp_path) -> None:
    crashed = Stage(monkeypatch, tmp_path, [1, 0])
    assert crashed.run() == 0
    failed = Stage(monkeypatch, tmp_path, [1])
    failed.writes_ledger = True
    assert failed.run() == 1


def test_a_run_that_was_left_before_its_end_is_started_again(monkeypatch, tmp_path) -> None:
    stage = Stage(monkeypatch, tmp_path, [1, 0])
    stage.writes_ledger, stage.condition = True, "INTERRUPTED"
    assert stage.run() == 0
    assert len(stage.started) == 2


def test_a_stop_during_the_wait_is_heeded(monkeypatch, tmp_path) -> None:
    stage = Stage(monkeypatch, tmp_path, [-9, 0])
    stage.sleep = lambda seconds: signal.raise_signal(signal.SIGTERM)
    assert stage.run() == 1
    assert len(stage.started) == 1
