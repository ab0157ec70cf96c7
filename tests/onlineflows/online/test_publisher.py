"""Publishing: every manifest of a run fits, or the run doesn't begin."""

import dataclasses
import math
import re
from datetime import UTC, datetime

import numpy as np
import pytest

from onlineflows.errors import ConfigError
from onlineflows.model_settings import ModelConfig, PreprocessOverrides
from onlineflows.online.drift import DriftMonitor
from onlineflows.online.learner import Learner
from onlineflows.online.manifest import MANIFEST_FILE
from onlineflows.online.publisher import About, Publisher, shortened
from onlineflows.online.snapshot import read_snapshot
from onlineflows.settings import (
    BufferConfig,
    DriftConfig,
    FlowConfig,
    GateConfig,
    LearnerConfig,
    PreprocessConfig,
    SnapshotConfig,
    TrainerConfig,
)
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", 0.0, 1.0)))
CONFIG = LearnerConfig(
    preprocess=PreprocessConfig(fit_events=100),
    flow=FlowConfig(blocks=1, hidden=4, bins=2),
    buffer=BufferConfig(capacity=64),
    trainer=TrainerConfig(batch_size=32, engine="torch"),
    drift=DriftConfig(warmup_events=0),
)
LEDGER = {"mode": "lossless", "sent": 10**9, "trained": 10**9, "skipped": {"non_finite": 3}}


def about(n_files: int = 1) -> About:
    paths = [f"{i:032d}.root" for i in range(n_files)]
    return About("test", {"run": 1, "source": {"paths": paths}}, {"source": {"paths": paths}})


def publisher(folder, nbytes: int = 32_768) -> Publisher:
    config = SnapshotConfig(manifest_nbytes=nbytes)
    return Publisher(folder, config, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))


def fitted(config: LearnerConfig = CONFIG, n: int = 200) -> Learner:
    learner = Learner(SCHEMA, config)
    rng = np.random.default_rng(1)
    x = np.stack([rng.uniform(1, 9, n), rng.uniform(0.1, 0.9, n)], axis=1)
    learner.learn(x.astype(np.float32), lumisection=1)
    return learner


def grown_old(learner: Learner) -> Learner:
    """The learner after a long and eventful run: full rings, long numbers."""
    rng = np.random.default_rng(2)
    learner.n_seen = 10**14
    for number in range(1, 2000):
        learner.history.add(number * 10**11 + 12_345, nll=-rng.gamma(1.0) * 1e-5, n=256)
    rows = [[10**14 + i, 10**9 + i, -rng.gamma(1.0) * 1e-5, 1e5 * rng.random()] for i in range(99)]
    learner.drift.load({"n_alarms": 10**9, "n_ignored": 0, "alarms": rows, "recent": []})
    return learner


def least_nbytes(folder) -> int:
    with pytest.raises(ConfigError, match="expected at least") as caught:
        publisher(folder, 4096).require_room(about(), Learner(SCHEMA, CONFIG))
    return int(re.findall(r"at least (\d+)", str(caught.value))[0])


def test_a_manifest_that_could_become_too_long_is_refused_before_the_first_event(tmp_path):
    assert least_nbytes(tmp_path) > 4096


def test_whatever_a_run_brings_fits_into_what_was_found_to_be_enough(tmp_path):
    enough = publisher(tmp_path, least_nbytes(tmp_path))
    enough.require_room(about(), Learner(SCHEMA, CONFIG))
    path = enough.publish(about(), grown_old(fitted()), ledger=LEDGER, final=True)
    manifest = read_snapshot(path).manifest
    # The history keeps between half its length and all of it.
    assert len(manifest.history["points"]) > 64
    assert len(manifest.drift["alarms"]) == 64


def test_a_long_run_leaves_a_snapshot_of_the_same_size(tmp_path):
    first = publisher(tmp_path).publish(about(), fitted(), ledger=LEDGER, final=False)
    last = publisher(tmp_path).publish(about(), grown_old(fitted()), ledger=LEDGER, final=True)
    assert sizes(first) == sizes(last)


def sizes(folder) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


SEVERAL = dataclasses.replace(
    CONFIG,
    models=(
        ModelConfig("joint", replicas=2),
        ModelConfig("window", inside=(2.0, 4.0), preprocess=PreprocessOverrides(fit_events=60)),
        ModelConfig("high", inside=(8.99, math.inf)),
    ),
)


def test_models_that_have_no_density_yet_take_their_room_in_the_snapshot(tmp_path):
    early = publisher(tmp_path).publish(about(), fitted(SEVERAL, 150), ledger=LEDGER, final=False)
    late = publisher(tmp_path).publish(about(), fitted(SEVERAL, 900), ledger=LEDGER, final=True)
    assert [m.is_fitted for m in read_snapshot(early).manifest.models] == [True, False, False]
    assert [m.is_fitted for m in read_snapshot(late).manifest.models] == [True, True, False]
    assert sizes(early) == sizes(late)


def test_a_snapshot_holds_what_every_model_has_learned(tmp_path):
    learner = fitted(SEVERAL, 900)
    path = publisher(tmp_path).publish(about(), learner, ledger=LEDGER, final=True)
    read = read_snapshot(path)
    x = np.array([[3.0, 0.4]], dtype=np.float32)
    for name, replica in (("joint", 0), ("joint", 2), ("window", 0)):
        expected = learner.density(name, replica).log_prob(x)
        found = read.density(name, replica).log_prob(x)
        np.testing.assert_allclose(found, expected, rtol=1e-5)  # by the engine and by torch
    assert read.entry("window").n_taken == learner.models["window"].n_taken


def test_thousands_of_files_fit_into_a_manifest_of_default_size(tmp_path):
    publisher(tmp_path).require_room(about(5000), Learner(SCHEMA, CONFIG))
    path = publisher(tmp_path).publish(about(5000), fitted(), ledger=LEDGER, final=True)
    assert read_snapshot(path).manifest.config["source"]["paths"][-1] == "... 4984 more"


def test_nothing_is_published_before_there_is_a_density(tmp_path):
    learner = Learner(SCHEMA, CONFIG)
    assert publisher(tmp_path).publish(about(), learner, ledger=LEDGER, final=False) is None
    assert not list(tmp_path.iterdir())


def test_lists_of_names_are_cut_and_lists_of_numbers_are_not():
    names, numbers = [str(i) for i in range(20)], list(range(20))
    assert shortened([names, numbers]) == [[*names[:16], "... 4 more"], numbers]


def test_a_manifest_holds_no_recent_values_of_the_drift_monitor(tmp_path):
    path = publisher(tmp_path).publish(about(), fitted(), ledger=LEDGER, final=True)
    assert b'"recent"' not in (path / MANIFEST_FILE).read_bytes()


def test_a_summary_is_never_longer_than_the_fullest():
    monitor = DriftMonitor(DriftConfig(), length=2)
    rows = [[1, 1, -1.0 / 3e300, 2.0 / 3e300]] * 5
    monitor.load({"n_alarms": 5, "n_ignored": 0, "alarms": rows, "recent": []})
    assert len(str(monitor.summary())) <= len(str(monitor.fullest()))


def judged(*, passes: bool) -> Learner:
    """A learner whose newest events are of its density, or all alike."""
    learner = fitted(dataclasses.replace(CONFIG, gate=GateConfig(events=512)), 600)
    if not passes:
        learner.gate.remember(np.full((512, 2), 0.5, dtype=np.float32))
    return learner


@pytest.mark.parametrize("passes", [True, False])
def test_a_manifest_says_whether_the_snapshot_passed_its_gate(passes: bool, tmp_path, caplog):
    path = publisher(tmp_path).publish(about(), judged(passes=passes), ledger=LEDGER, final=True)
    gate = read_snapshot(path).manifest.gate
    assert gate["passed"] is passes
    assert gate["n"] == 512
    said = [r.snapshot for r in caplog.records if r.message == "snapshot failed its gate"]
    assert said == ([] if passes else [path.name])


def test_a_snapshot_that_failed_its_gate_is_the_latest_all_the_same(tmp_path):
    path = publisher(tmp_path).publish(about(), judged(passes=False), ledger=LEDGER, final=True)
    assert (tmp_path / "latest").resolve() == path


def test_too_few_events_for_the_gate_leave_no_verdict(tmp_path):
    path = publisher(tmp_path).publish(about(), fitted(), ledger=LEDGER, final=True)
    assert read_snapshot(path).manifest.gate == {}
