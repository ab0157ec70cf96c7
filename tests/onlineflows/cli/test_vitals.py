"""Signs of life: while the loop turns they come, and when it hangs somebody else says so."""

import json
import logging
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onlineflows.cli.health import HealthFile
from onlineflows.cli.systemd import Notifier
from onlineflows.cli.vitals import Vitals
from streams.settings import OperationConfig

ROOT = Path(__file__).parents[3]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def vitals_of(folder: Path, clock: Clock, **changes) -> Vitals:
    health = HealthFile(folder, "train", wall=clock)
    config = changes.pop("config", OperationConfig(stall_s=0.0))
    return Vitals(health, config, clock=clock, **changes)


def read(folder: Path) -> dict:
    return json.loads((folder / "health.json").read_text())


def test_the_health_file_is_renewed_once_a_second(tmp_path: Path, clock: Clock) -> None:
    vitals = vitals_of(tmp_path, clock)
    seen = []
    for number, clock.now in enumerate((100.0, 100.5, 100.9, 101.0, 101.2)):
        vitals.beat("running", {"n_trained": number})
        seen.append(read(tmp_path)["n_trained"])
    assert seen == [0, 0, 0, 3, 3]


def test_a_new_state_is_told_at_once(tmp_path: Path, clock: Clock) -> None:
    vitals = vitals_of(tmp_path, clock)
    for state in ("waiting", "running", "stalled"):
        vitals.beat(state, {})
        assert read(tmp_path)["state"] == state


@pytest.mark.parametrize(
    ("condition", "state"),
    [("GOOD", "ended"), ("TAINTED", "ended"), ("INTERRUPTED", "stopped"), ("ABORTED", "failed")],
)
def test_the_last_word_is_how_the_run_ended(tmp_path, clock, condition: str, state: str) -> None:
    with vitals_of(tmp_path, clock) as vitals:
        vitals.beat("running", {"n_trained": 7})
        vitals.end(condition)
    assert (
        read(tmp_path).items() >= {"state": state, "condition": condition, "n_trained": 7}.items()
    )


def test_an_error_is_the_last_word(tmp_path: Path, clock: Clock) -> None:
    vitals = vitals_of(tmp_path, clock)
    vitals.beat("running", {})
    with pytest.raises(ValueError, match="diverged"), vitals:
        raise ValueError("diverged")
    assert read(tmp_path).items() >= {"state": "failed", "error": "diverged"}.items()


def test_a_daemon_that_never_turned_leaves_nothing(tmp_path: Path, clock: Clock) -> None:
    with vitals_of(tmp_path, clock) as vitals:
        vitals.end("ABORTED")
    assert list(tmp_path.iterdir()) == []


def test_a_hang_is_counted_once_the_loop_goes_on(tmp_path, clock, caplog, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("onlineflows"), "propagate", True)
    with vitals_of(tmp_path, clock, config=OperationConfig(stall_s=3600.0)) as vitals:
        vitals.beat("running", {})
        clock.now += 3601
        vitals.beat("running", {})
        clock.now += 1
        vitals.beat("running", {})
    assert vitals.n_stalls == 1
    assert read(tmp_path)["n_stalls"] == 1
    assert "the main loop hung" in caplog.text


def test_the_manager_hears_of_the_loop_three_times_within_its_patience(tmp_path, clock) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = str(tmp_path / "notify")
        manager.bind(name)
        manager.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "600000"})
        with vitals_of(tmp_path, clock, notifier=notifier) as vitals:
            for _ in range(10):
                vitals.beat("running", {}, "trained on 5 events")
                clock.now += 0.1
        heard = []
        try:
            while True:
                heard.append(manager.recv(1024).decode())
        except BlockingIOError:
            pass
    assert heard[:3] == ["READY=1", "WATCHDOG=1", "STATUS=trained on 5 events"]
    assert heard.count("READY=1") == 1
    assert heard.count("WATCHDOG=1") >= 4
    assert heard[-1] == "STOPPING=1"


HANGS = """
import time
from onlineflows.cli.vitals import Vitals
from streams.settings import OperationConfig
def a_loop_that_hangs():
    with Vitals(None, OperationConfig(stall_s=0.2, exit_when_stalled={exits})) as vitals:
        vitals.beat("running", {{}})
        time.sleep({sleep_s})
        vitals.beat("running", {{}})
        print("went on", vitals.n_stalls)
a_loop_that_hangs()
"""


def hang(exits: bool, sleep_s: float) -> subprocess.CompletedProcess[str]:
    script = HANGS.format(exits=exits, sleep_s=sleep_s)
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )


def test_the_stack_of_a_loop_that_hangs_is_written_while_it_hangs() -> None:
    done = hang(exits=False, sleep_s=0.5)
    assert (done.returncode, done.stdout) == (0, "went on 1\n")
    assert "Timeout (0:00:00.2" in done.stderr
    assert "in a_loop_that_hangs" in done.stderr


def test_a_loop_that_hangs_ends_its_process_where_that_is_wanted() -> None:
    began = time.monotonic()
    done = hang(exits=True, sleep_s=30.0)
    assert (done.returncode, done.stdout) == (1, "")
    assert time.monotonic() - began < 20
