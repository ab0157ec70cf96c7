"""Daemons as a service manager sees them: started again, watched, hung up on, told what broke."""

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from onlineflows.online.learned import MODEL_FILE
from replay.settings import StandinConfig
from replay.sinks import open_sink
from replay.sources.standin import StandinSource
from streams import LHCO

pytestmark = pytest.mark.slow

N = 40_000
SETTINGS = {
    "run.name": "mine",
    "source.n_events": N,
    "checkpoint.every_events": 5_000,
    "trainer.batch_size": 256,
    "wire.window_batches": 4,
    "wire.heartbeat_s": 0.2,
}
PACED = {"pacing.arrivals": "constant", "pacing.rate_hz": 10_000}


def run_of(folder: Path) -> Path:
    return folder / "runs" / "mine"


def health_of(folder: Path, process: str = "health") -> dict:
    path = run_of(folder) / f"{process}.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def checkpoints(folder: Path) -> set[str]:
    return {p.name for p in (run_of(folder) / "checkpoints").glob("*.checkpoint")}


def theta(folder: Path) -> bytes:
    return (run_of(folder) / "snapshots" / "latest" / MODEL_FILE).read_bytes()


def test_a_learner_that_is_killed_is_started_again_and_ends_the_run(
    start, small, ledger_of, tmp_path
) -> None:
    settings = small | SETTINGS
    replay = start("replay", "--json", **settings, **PACED)
    train = start("train", "--restarts", 3, **settings)
    train.wait_until(lambda: checkpoints(tmp_path), "checkpoint")
    os.kill(health_of(tmp_path)["pid"], signal.SIGKILL)
    train.finish()
    assert replay.result()["sent"] == N
    assert "the daemon died and is started again" in train.err
    ledger = ledger_of("mine")
    assert (ledger["condition"], ledger["trained"]) == ("GOOD", N)
    assert health_of(tmp_path)["state"] == "ended"
    start("health", run_of(tmp_path)).finish(0)


def test_a_learner_that_is_killed_before_its_first_checkpoint_begins_anew(
    start, small, ledger_of, tmp_path
) -> None:
    settings = small | SETTINGS | {"checkpoint.every_events": 0}
    start("replay", **settings, **PACED)
    train = start("train", "--restarts", 1, **settings)
    train.wait_until(lambda: health_of(tmp_path).get("n_trained"), "training")
    os.kill(health_of(tmp_path)["pid"], signal.SIGKILL)
    train.finish()
    assert ledger_of("mine")["trained"] == N


def test_a_run_that_has_ended_is_not_begun_again(start, small, tmp_path) -> None:
    settings = small | SETTINGS | {"source.n_events": 5_000}
    start("run", **settings).finish()
    before = theta(tmp_path)
    assert "the run has ended" in start("run", "--continue", **settings).finish()
    assert theta(tmp_path) == before


def test_a_learner_that_hangs_is_noticed_by_both_sides(start, small, tmp_path) -> None:
    settings = small | SETTINGS | {"operation.stall_s": 1.0}
    replay = start("replay", "--json", **settings, **PACED)
    train = start("train", **settings)
    train.wait_until(lambda: health_of(tmp_path).get("n_trained"), "training")
    train.popen.send_signal(signal.SIGSTOP)
    replay.wait_for_line("the learner made no progress for .* it gives no sign of life")
    assert health_of(tmp_path, "health-replay")["state"] == "stalled"
    start("health", run_of(tmp_path)).finish(1)
    train.popen.send_signal(signal.SIGCONT)
    train.finish()
    account = replay.result()
    assert (account["n_stalls"], account["sent"]) == (1, N)
    assert account["stalled_s"] > 1.0
    assert "the main loop hung and goes on" in train.err


def test_a_hang_up_leaves_daemons_without_a_terminal_alone(start, small, ledger_of) -> None:
    settings = small | SETTINGS
    replay = start("replay", **settings, **PACED)
    train = start("train", **settings)
    train.wait_for_line("run began")
    for daemon in (replay, train):
        daemon.popen.send_signal(signal.SIGHUP)
    train.finish()
    replay.finish()
    assert ledger_of("mine")["condition"] == "GOOD"


def test_a_service_manager_hears_that_the_learner_serves_lives_and_leaves(
    start, small, tmp_path, monkeypatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "600000")
        train = start("train", **small, **SETTINGS)
        monkeypatch.delenv("NOTIFY_SOCKET")
        heard: list[str] = []

        def listen() -> int:
            try:
                while True:
                    heard.append(manager.recv(1024).decode())
            except BlockingIOError:
                return heard.count("WATCHDOG=1")

        train.wait_until(lambda: listen() >= 3, "three signs of life")
        start("replay", **small, **SETTINGS)
        while train.popen.poll() is None:
            listen()  # the system keeps ten datagrams, no more
            time.sleep(0.01)
        train.finish()
        listen()
    assert heard[0] == "READY=1"
    assert heard[-1] == "STOPPING=1"
    assert any(said.startswith("STATUS=trained on") for said in heard)


def test_a_file_that_vanishes_aborts_the_run_and_mended_it_goes_on(
    start, small, ledger_of, tmp_path
) -> None:
    path = tmp_path / "events.h5"
    sink = open_sink(path, LHCO)
    sink.write(StandinSource(StandinConfig(n_events=N)).read(N).x)
    sink.close()
    config = tmp_path / "files.toml"
    config.write_text(f'[source]\ntype = "lhco_features"\npaths = "{path}"\n')
    settings = {name: v for name, v in (small | SETTINGS).items() if name != "source.n_events"}
    replay = start("replay", config, "--json", **settings, **PACED)
    train = start("train", config, **settings)
    train.wait_until(lambda: checkpoints(tmp_path), "checkpoint")
    away = path.rename(tmp_path / "away.h5")
    account = replay.result(2)
    train.finish(1)
    ledger = ledger_of("mine")
    assert (account["condition"], ledger["condition"]) == ("ABORTED", "ABORTED")
    assert account["text"].startswith(f"at event {ledger['generated']}: ")
    assert str(path) in replay.err
    assert 0 < ledger["trained"] < N

    away.rename(path)
    start("replay", config, **settings)
    start("train", config, "--resume", **settings).finish()
    assert ledger_of("mine")["trained"] == N
    resumed = theta(tmp_path)
    start("run", config, "--overwrite", **settings).finish()
    assert theta(tmp_path) == resumed
