"""Runs from begin to end: both daemons in one command, stopped, aborted, and too fast."""

import json
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.slow

ENDLESS = {"source.n_events": 0}
MANY = ENDLESS | {"snapshot.every_events": 20_000}


def test_one_command_runs_both_daemons_and_ends_well(start, small, ledger_of, tmp_path) -> None:
    run = start("run", "--json", **small, **{"source.n_events": 30_000})
    document = run.result()
    ledger = ledger_of("default")
    assert (document["condition"], ledger["sent"], ledger["trained"]) == ("GOOD", 30_000, 30_000)
    assert (tmp_path / document["snapshot"]).resolve().is_dir()
    assert list((tmp_path / "runs" / "default" / "checkpoints").glob("*")) == []


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads Linux's /proc")
def test_the_producers_process_never_loads_torch(start, small) -> None:
    run = start("run", **small, **MANY)
    run.wait_for_line("run began")
    mapped = {child: Path(f"/proc/{child}/maps").read_text() for child in children(run.popen.pid)}
    assert any("libzmq" in maps for maps in mapped.values())
    assert not any("libtorch" in maps for maps in mapped.values())
    assert "libtorch" in Path(f"/proc/{run.popen.pid}/maps").read_text()


def children(pid: int) -> list[int]:
    listed = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for line in listed for child in line.split()]


def test_a_second_run_of_the_same_name_is_refused_unless_it_may_overwrite(
    start, small, ledger_of
) -> None:
    start("run", **small, **{"source.n_events": 3000}).finish()
    again = start("run", **small, **{"source.n_events": 4000})
    again.finish(2)
    assert again.err.startswith("error: runs/default: expected no earlier run; got ledger.json")
    start("run", "--overwrite", **small, **{"source.n_events": 5000}).finish()
    assert ledger_of("default")["trained"] == 5000


def write_damaged(path: Path, n: int) -> None:
    """A feature file of which the last quarter can't be read."""
    table = np.random.default_rng(1).uniform(1, 2000, (n, 14))
    with h5py.File(path, "w") as file:
        frame = file.create_group("df")
        frame.attrs.update({"pandas_type": np.bytes_(b"frame"), "nblocks": 1, "ndim": 2})
        frame["axis0"] = frame["block0_items"] = np.arange(14)
        frame["axis1"] = np.arange(n)
        values = frame.create_dataset(
            "block0_values", data=table, chunks=(500, 14), compression="gzip"
        )
        place = values.id.get_chunk_info(3 * n // 4 // 500).byte_offset
    with path.open("r+b") as content:
        content.seek(place)
        content.write(b"\x55" * 20_000)


def test_a_file_that_is_damaged_further_on_aborts_the_run_and_says_where(
    start, small, ledger_of, tmp_path
) -> None:
    write_damaged(tmp_path / "features.h5", 20_000)
    config = tmp_path / "mine.toml"
    config.write_text("[source]\ntype = 'lhco_features'\npaths = 'features.h5'\n")
    replay = start("replay", config, "-q", **small)
    train = start("train", config, **small)
    assert "run ABORTED" in train.finish(1)
    replay.finish(2)
    message = replay.err.splitlines()[-1]
    assert message.startswith("error: expected readable rows")
    assert message.endswith("the file is damaged")
    ledger = ledger_of("mine")
    assert ledger["condition"] == "ABORTED"
    assert "features.h5" in ledger["text"]
    assert 0 < ledger["trained"] < 20_000


def test_a_producer_that_is_stopped_before_a_consumer_comes_has_nothing_to_tell(
    start, small
) -> None:
    replay = start("replay", "--json", **small)
    replay.wait_for_line("listening at")
    replay.popen.send_signal(signal.SIGTERM)
    assert replay.result()["generated"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_cleanly(number, start, small, ledger_of) -> None:
    run = start("run", "--json", **small, **MANY)
    run.wait_for_line("event=snapshot")
    run.popen.send_signal(number)
    document = run.result()
    ledger = ledger_of("default")
    assert document["condition"] == ledger["condition"] == "INTERRUPTED"
    assert ledger["trained"] == ledger["sent"] >= 20_000


def test_a_stopped_producer_ends_the_run_of_both_daemons(start, small, ledger_of) -> None:
    train = start("train", **small, **MANY)
    replay = start("replay", "--json", **small, **MANY)
    train.wait_for_line("event=snapshot")
    replay.popen.send_signal(signal.SIGTERM)
    account = replay.result()
    train.finish()
    ledger = ledger_of("default")
    assert account["condition"] == ledger["condition"] == "INTERRUPTED"
    assert account["sent"] == ledger["trained"]


def test_a_second_interrupt_aborts_a_producer_whose_consumer_hangs(start, small) -> None:
    train = start("train", **small, **MANY)
    replay = start("replay", "--json", **small, **MANY)
    train.wait_for_line("event=snapshot")
    train.popen.send_signal(signal.SIGSTOP)
    replay.popen.send_signal(signal.SIGINT)
    replay.wait_for_line("end of run: INTERRUPTED")
    replay.popen.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert replay.result(1)["is_acknowledged"] is False
    assert time.monotonic() - began < 4.5  # before the consumer would have been taken for dead


def test_two_interrupts_end_one_command_with_both_its_processes(start, small) -> None:
    run = start("run", **small, **MANY)
    run.wait_for_line("event=snapshot")
    for _ in range(2):
        run.popen.send_signal(signal.SIGINT)
        time.sleep(0.02)  # two signals at once would be one
    assert run.popen.wait(30) in (0, 1)


def test_what_a_learner_can_not_take_is_dropped_and_counted(start, small, ledger_of) -> None:
    learner = {"preprocess.fit_events": 500, "trainer.batch_size": 64, "buffer.uses": 16}
    rate = {"wire.mode": "realtime", "wire.batch_events": 256, "wire.window_batches": 2}
    pace = {"pacing.arrivals": "poisson", "pacing.rate_hz": 500_000, "source.n_events": 300_000}
    document = start("run", "--json", **(small | learner | rate | pace)).result()
    ledger = ledger_of("default")
    assert json.dumps(document["ledger"]) == json.dumps(ledger)
    assert ledger["generated"] == 300_000
    assert ledger["busy"] > 100_000
    assert ledger["trained"] == ledger["sent"] > 0
    assert ledger["dead_s"] > 0
    assert ledger["live_s"] + ledger["dead_s"] > 0.5
