"""Kills without warning: a resumed run ends as if nothing had happened, to the last bit."""

import json
import random
import signal
import time
from pathlib import Path

import pytest

from onlineflows.online.learned import MODEL_FILE
from onlineflows.online.snapshot import read_snapshot

pytestmark = pytest.mark.slow

N = 60_000
MODELS = """[
{name = "joint", replicas = 2},
{name = "window", inside = [3.1, 3.9], replicas = 1, preprocess = {fit_events = 500}}]"""
SETTINGS = {
    "source.n_events": N,
    "models": MODELS,
    "checkpoint.every_events": 5_000,
    "trainer.batch_size": 256,
    "wire.window_batches": 4,
    "wire.heartbeat_s": 0.2,
}
PACED = {"pacing.arrivals": "constant", "pacing.rate_hz": 15_000}
"""Slow enough for a kill in the middle."""


@pytest.fixture(scope="module")
def undisturbed(finished_run) -> Path:
    """A run in one command, the source as fast as it can be."""
    run: Path = finished_run(**SETTINGS)
    return run


def require_the_same(run: Path, undisturbed: Path) -> None:
    """Each event was trained on as often, in the same steps, with the same result."""
    runs = (run, undisturbed)
    ledgers = [json.loads((path / "ledger.json").read_text()) for path in runs]
    for name in ("condition", "generated", "sent", "trained", "skipped", "lost", "uses"):
        assert ledgers[0][name] == ledgers[1][name], name
    assert ledgers[0]["trained"] == N
    models = [(path / "snapshots" / "latest" / MODEL_FILE).read_bytes() for path in runs]
    assert models[0] == models[1]
    manifests = [read_snapshot(path).manifest for path in runs]
    assert manifests[0].n_steps == manifests[1].n_steps
    assert manifests[0].n_seen == manifests[1].n_seen == N


def checkpoints(folder: Path) -> set[str]:
    return {p.name for p in (folder / "runs" / "mine" / "checkpoints").glob("*.checkpoint")}


def test_a_killed_consumer_that_resumes_ends_like_one_that_was_not(
    start, small, undisturbed, ledger_of, tmp_path
) -> None:
    settings = small | SETTINGS | {"run.name": "mine"}
    replay = start("replay", "--json", **settings, **PACED)
    train = start("train", **settings)
    for _ in range(2):
        known = checkpoints(tmp_path)
        train.wait_until(lambda known=known: checkpoints(tmp_path) - known, "checkpoint")
        time.sleep(0.15)  # into the stretch that will have to come again
        train.kill()
        train = start("train", "--resume", **settings)
    train.finish()
    account = replay.result()
    assert account["n_rewinds"] >= 1
    assert account["sent"] == N
    ledger_of("mine")
    require_the_same(tmp_path / "runs" / "mine", undisturbed)
    assert checkpoints(tmp_path) == set()


def test_a_consumer_that_was_stopped_goes_on_where_it_stood(
    start, small, undisturbed, ledger_of, tmp_path
) -> None:
    settings = small | SETTINGS | {"run.name": "mine"}
    replay = start("replay", **settings, **PACED)
    train = start("train", **settings)
    train.wait_until(lambda: checkpoints(tmp_path), "checkpoint")
    train.popen.send_signal(signal.SIGTERM)
    assert "go on with --resume" in train.finish()
    start("train", "--resume", **settings).finish()
    replay.finish()
    ledger_of("mine")
    require_the_same(tmp_path / "runs" / "mine", undisturbed)


def test_a_killed_producer_that_is_started_again_goes_on_with_the_same_run(
    start, small, undisturbed, ledger_of, tmp_path
) -> None:
    settings = small | SETTINGS | {"run.name": "mine"}
    replay = start("replay", **settings, **PACED)
    train = start("train", **settings)
    train.wait_until(lambda: checkpoints(tmp_path), "checkpoint")
    replay.kill()
    again = start("replay", "--json", **settings, **PACED)
    train.finish()
    assert again.result()["is_acknowledged"]
    ledger_of("mine")
    require_the_same(tmp_path / "runs" / "mine", undisturbed)


def test_both_killed_and_started_again_end_like_an_undisturbed_run(
    start, small, undisturbed, ledger_of, tmp_path
) -> None:
    settings = small | SETTINGS | {"run.name": "mine"}
    daemons = [start("replay", **settings, **PACED), start("train", **settings)]
    daemons[1].wait_until(lambda: checkpoints(tmp_path), "checkpoint")
    for daemon in random.Random(1).sample(daemons, 2):
        daemon.kill()
    daemons = [start("replay", **settings), start("train", "--resume", **settings)]
    for daemon in daemons:
        daemon.finish()
    ledger_of("mine")
    require_the_same(tmp_path / "runs" / "mine", undisturbed)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    start, small, undisturbed, ledger_of, tmp_path
) -> None:
    settings = small | SETTINGS | {"run.name": "mine"}
    replay = start("replay", **settings, **PACED)
    train = start("train", **settings)
    train.wait_until(lambda: len(checkpoints(tmp_path)) == 2, "second checkpoint")
    train.kill()
    newest = tmp_path / "runs" / "mine" / "checkpoints" / max(checkpoints(tmp_path))
    newest.write_bytes(newest.read_bytes()[:-1000])
    again = start("train", "--resume", **settings)
    again.finish()
    assert "damaged checkpoint passed over" in again.err
    replay.finish()
    ledger_of("mine")
    require_the_same(tmp_path / "runs" / "mine", undisturbed)


def test_a_checkpoint_of_another_configuration_is_refused(start, small, tmp_path) -> None:
    settings = small | SETTINGS | {"run.name": "mine"}
    start("replay", **settings, **PACED)
    train = start("train", **settings)
    train.wait_until(lambda: checkpoints(tmp_path), "checkpoint")
    train.kill()
    other = start("train", "--resume", **settings, **{"buffer.uses": 2})
    other.finish(2)
    assert "buffer.uses was 4 and is 2 now" in other.err
