"""Several models from the command line: trained in one run, asked for by name afterwards."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from onlineflows.cli.parts import roles_of
from onlineflows.online.snapshot import read_snapshot
from onlineflows.settings import ValidateConfig
from replay.sources.standin_density import StandinDensity


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return StandinDensity().sample(400, 100, seed=3)[0].astype(np.float32)


def test_a_run_leaves_a_density_of_each_model_that_saw_events(run_of_models: Path) -> None:
    read = read_snapshot(run_of_models)
    assert read.model_names == ("joint", "window", "late", "half")
    assert [entry.is_fitted for entry in read.manifest.models] == [True, True, False, True]
    assert "model 'late': nothing was learned" in read.manifest.tainted[0]


def test_inspect_shows_every_model(command, run_of_models: Path) -> None:
    said = command("inspect", run_of_models).out
    assert "2 bootstrap replicas" in said
    assert "inside [3.1, 3.9]" in said
    assert "nothing learned yet" in said
    assert "share [1, 2]" in said


def test_a_model_of_a_share_has_seen_about_as_much_as_that(run_of_models: Path) -> None:
    joint, *_, half = read_snapshot(run_of_models).manifest.models
    # A binomial number: five standard deviations.
    assert abs(half.n_taken - joint.n_taken / 2) < 2.5 * joint.n_taken**0.5
    assert half.share == (1, 2)


def test_a_model_of_all_events_goes_before_one_of_a_share(run_of_models: Path) -> None:
    read = read_snapshot(run_of_models)
    models = read.manifest.models
    turned = dataclasses.replace(read.manifest, models=tuple(reversed(models)))
    assert roles_of(read, ValidateConfig())["data"] == "window"
    wide = ValidateConfig(signal_region=(2.3, 2.7), sidebands=((2.1, 2.3), (2.7, 2.9)))
    assert roles_of(dataclasses.replace(read, manifest=turned), wide)["data"] == "joint"
    alone = dataclasses.replace(read.manifest, models=models[-1:])
    assert roles_of(dataclasses.replace(read, manifest=alone), wide)["data"] == "half"


@pytest.mark.parametrize(
    ("words", "model", "replica"),
    [
        ((), "joint", 0),
        (("--replica", "2"), "joint", 2),
        (("--replica", "all"), "joint", None),
        (("--model", "window"), "window", 0),
    ],
)
def test_score_evaluates_the_density_that_is_asked_for(
    command, run_of_models: Path, x, tmp_path: Path, words, model, replica
) -> None:
    np.save(tmp_path / "events.npy", x)
    command(
        "score", run_of_models, tmp_path / "events.npy", "-o", tmp_path / "log_prob.npy", *words
    )
    read = read_snapshot(run_of_models)
    density = read.ensemble(model) if replica is None else read.density(model, replica)
    np.testing.assert_array_equal(np.load(tmp_path / "log_prob.npy"), density.log_prob(x))


@pytest.mark.parametrize(("words", "low", "high"), [(("--replica", "all"), 0, 14), ((), 3.1, 3.9)])
def test_sample_draws_from_the_density_that_is_asked_for(
    command, run_of_models: Path, tmp_path: Path, words, low, high
) -> None:
    which = words or ("--model", "window")
    command("sample", run_of_models, tmp_path / "drawn.npy", "-n", 2000, *which)
    drawn = np.load(tmp_path / "drawn.npy")
    m = drawn["mjj"] if drawn.dtype.names else drawn[:, 0]
    assert len(m) == 2000
    assert low <= m.min() < m.max() <= np.nextafter(np.float32(high), math.inf)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "windw"), "expected a model of the snapshot; got 'windw'"),
        (("--replica", "3"), "expected a replica of model 'joint' between 0 and 2; got 3"),
        (("--replica", "some"), "--replica: expected a number or 'all'; got 'some'"),
        (("--replica", "-1"), "--replica: expected a number or 'all'; got '-1'"),
    ],
)
def test_a_density_that_is_not_there_is_refused(
    refused, run_of_models: Path, tmp_path, words, message
):
    assert message in refused("sample", run_of_models, tmp_path / "drawn.npy", *words)


def test_a_model_without_a_density_is_named(refused, run_of_models: Path, tmp_path: Path) -> None:
    said = refused("sample", run_of_models, tmp_path / "drawn.npy", "--model", "late")
    assert "model 'late': expected a fitted marginal map; it had seen 0 events" in said
