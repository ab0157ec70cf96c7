"""Several learners of one stream, as processes of their own: shared out, killed, refused."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from onlineflows.online.learned import MODEL_FILE
from streams import WireConfig
from streams.lanes import lane_of
from streams.transport import Receiver

pytestmark = pytest.mark.slow

N = 60_000
BATCH = 256
LUMISECTION = 7_000
SETTINGS = {
    "source.n_events": N,
    "replay.lumisection_events": LUMISECTION,
    "checkpoint.every_events": 2_000,
    "trainer.batch_size": 256,
    "wire.lanes": 2,
    "wire.connect_timeout_s": 80,
    "wire.batch_events": BATCH,
    "wire.heartbeat_s": 0.2,
}
PACED = {"pacing.arrivals": "constant", "pacing.rate_hz": 15_000}
"""Slow enough for a kill in the middle."""

WITHHELD = ("not_selected", "prescaled", "busy", "bad", "operator")


@pytest.fixture(scope="module")
def undisturbed(finished_run) -> Path:
    """A run in one command, the source as fast as it can be."""
    run: Path = finished_run(**SETTINGS)
    return run


def lane(folder: Path, number: int) -> Path:
    return folder / "runs" / "mine" / f"lane-{number}"


def ledgers_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads((run / f"lane-{k}" / "ledger.json").read_text()) for k in range(2)]


def checkpoints(folder: Path, number: int) -> list[Path]:
    return list((lane(folder, number) / "checkpoints").glob("*.checkpoint"))


def require_the_same(folder: Path, undisturbed: Path) -> None:
    """Each learner took the same steps on the same events."""
    found, expected = folder / "runs" / "mine", undisturbed
    for mine, other in zip(ledgers_of(found), ledgers_of(expected), strict=True):
        for name in ("condition", "generated", "sent", "elsewhere", "trained", "lost", "uses"):
            assert mine[name] == other[name], name
        assert mine["problems"] == []
        assert mine["unaccounted"] == 0
    for k in range(2):
        thetas = [
            (run / f"lane-{k}" / "snapshots" / "latest" / MODEL_FILE).read_bytes()
            for run in (found, expected)
        ]
        assert thetas[0] == thetas[1], f"lane {k}"


def test_each_event_goes_to_the_learner_of_its_lane(undisturbed) -> None:
    for k, ledger in enumerate(ledgers_of(undisturbed)):
        for row in ledger["lumisections"]:
            first = (row["lumisection"] - 1) * LUMISECTION
            events = range(first, min(first + LUMISECTION, N))
            mine = sum(lane_of(event, batch_events=BATCH, lanes=2) == k for event in events)
            assert (row["sent"], row["elsewhere"]) == (mine, len(events) - mine)


def test_the_accounts_of_all_lanes_are_those_of_the_stream(undisturbed) -> None:
    document = json.loads((undisturbed.parents[1] / "printed.json").read_text())
    whole, lanes = document["ledger"], [one["ledger"] for one in document["lanes"]]
    assert (document["condition"], document["is_complete"]) == ("GOOD", True)
    assert (whole["generated"], whole["sent"], whole["trained"]) == (N, N, N)
    assert (whole["lost"], whole["unaccounted"], whole["skipped"]) == (0, 0, {})
    assert lanes == ledgers_of(undisturbed)
    assert [one["exit_code"] for one in document["lanes"]] == [0, 0]


def test_a_killed_learner_resumes_while_the_other_goes_on(start, small, undisturbed, tmp_path):
    settings = small | SETTINGS | {"run.name": "mine"}
    replay = start("replay", "--json", **settings, **PACED)
    trains = [start("train", "--lane", k, **settings) for k in range(2)]
    trains[0].wait_until(lambda: checkpoints(tmp_path, 0), "checkpoint")
    trains[0].kill()
    trains[0] = start("train", "--lane", 0, "--resume", **settings)
    for train in trains:
        train.finish()
    account = replay.result()
    assert account["n_rewinds"] >= 1
    assert (account["sent"], account["problems"]) == (N, [])
    require_the_same(tmp_path, undisturbed)


def test_a_producer_that_is_started_again_takes_over_all_lanes(
    start, small, undisturbed, tmp_path
) -> None:
    settings = small | SETTINGS | {"run.name": "mine"}
    replay = start("replay", **settings, **PACED)
    trains = [start("train", "--lane", k, **settings) for k in range(2)]
    for k, train in enumerate(trains):
        train.wait_until(lambda k=k: checkpoints(tmp_path, k), "checkpoint")
    replay.kill()
    again = start("replay", "--json", **settings)
    for train in trains:
        train.finish()
    account = again.result()
    assert (account["sent"], account["is_acknowledged"], account["problems"]) == (N, True, [])
    require_the_same(tmp_path, undisturbed)


def test_one_command_starts_a_learner_again_that_was_killed(
    start, small, undisturbed, tmp_path
) -> None:
    settings = small | SETTINGS | {"run.name": "mine"}
    run = start("run", "--json", "--restarts", 2, **settings, **PACED)
    run.wait_until(lambda: checkpoints(tmp_path, 1), "checkpoint")
    os.kill(json.loads((lane(tmp_path, 1) / "health.json").read_text())["pid"], signal.SIGKILL)
    assert run.result()["ledger"]["trained"] == N
    assert "the daemon died and is started again" in run.err
    require_the_same(tmp_path, undisturbed)


def test_a_learner_that_dies_stops_the_run_which_can_be_continued(
    start, small, undisturbed, tmp_path
) -> None:
    settings = small | SETTINGS | {"run.name": "mine"}
    run = start("run", "--json", **settings, **PACED)
    run.wait_until(lambda: checkpoints(tmp_path, 1), "checkpoint")
    os.kill(json.loads((lane(tmp_path, 1) / "health.json").read_text())["pid"], signal.SIGKILL)
    document = run.result(1)
    assert not document["is_complete"]
    assert [one["exit_code"] for one in document["lanes"]] == [0, 1]
    start("run", "--continue", **settings).finish()
    require_the_same(tmp_path, undisturbed)


def test_in_realtime_mode_a_stopped_run_has_counted_every_event(start, small, tmp_path) -> None:
    slow = {"trainer.batch_size": 64, "buffer.uses": 16, "wire.window_batches": 2}
    rate = {"wire.mode": "realtime", "pacing.arrivals": "poisson", "pacing.rate_hz": 500_000}
    settings = small | SETTINGS | slow | rate | {"source.n_events": 0, "run.name": "mine"}
    run = start("run", "--json", **settings)
    run.wait_until(lambda: all(checkpoints(tmp_path, k) for k in range(2)), "checkpoints")
    run.popen.send_signal(signal.SIGTERM)
    document = run.result()
    whole = document["ledger"]
    assert (document["condition"], document["is_complete"]) == ("INTERRUPTED", True)
    assert whole["busy"] > 0
    assert whole["generated"] == whole["sent"] + sum(whole[name] for name in WITHHELD)
    assert whole["sent"] == whole["trained"] + sum(whole["skipped"].values()) + whole["lost"]
    assert all(one["ledger"]["trained"] > 0 for one in document["lanes"])


def test_a_second_learner_of_a_lane_is_refused(start, small) -> None:
    settings = small | SETTINGS | {"run.name": "mine"}
    replay = start("replay", **settings)
    wire = WireConfig(
        address=str(small["wire.address"]), lanes=2, lane=1, heartbeat_s=0.2, batch_events=BATCH
    )
    with Receiver(wire, name="first") as first:
        replay.wait_for_line("listening at")
        second = start("train", "--lane", 1, **settings)
        while second.popen.poll() is None:
            first.poll(0.05)
        second.finish(2)
    assert "lane 1 of 2 belongs to consumer 'first': choose another wire.lane" in second.err


@pytest.mark.parametrize(
    ("lanes", "number", "said"),
    [
        (3, 2, "this producer has 2 lanes, counted from 0; the consumer asks for lane 2 of 3"),
        (2, 2, "wire.lane: expected one of the 2 lanes, counted from 0; got 2"),
    ],
)
def test_a_learner_of_a_lane_that_is_not_there_is_refused(
    lanes: int, number: int, said: str, start, small
) -> None:
    settings = small | SETTINGS
    start("replay", **settings).wait_for_line("listening at")
    train = start("train", "--lane", number, **(settings | {"wire.lanes": lanes}))
    train.finish(2)
    assert said in train.err
