"""What one does with a run afterwards, with the program as a user has it, on real LHCO events."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import uproot

CONFIG = Path(__file__).parents[2] / "configs" / "lhco.toml"
FILE = "lhco/events_anomalydetection_v2.features.80k.h5"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lhco(finished_run, test_data: Callable[[str], Path]) -> Path:
    """A run on the first 60,000 rows of the file; the rest are left for tests."""
    paths = {f"{section}.paths": test_data(FILE) for section in ("source", "evaluation")}
    run: Path = finished_run(CONFIG, **paths, **{"run.name": "default", "snapshot.every_events": 0})
    return run


def test_a_run_on_real_events_is_validated_on_rows_it_has_not_seen(lhco, start) -> None:
    settings = {"validate.draws": 2, "validate.folds": 2}
    report = start("validate", lhco, "--json", "-q", **settings).result()
    folder = lhco / "report"
    assert json.loads((folder / "report.json").read_text()) == report
    assert (folder / "report.html").stat().st_size > 100_000
    assert report["events_seen"] == 55_207
    assert report["nats_to_truth"] is None
    assert report["cwola"]["data"]["auc"] > 0.75
    assert report["cwola"]["data"]["max_sic"] > 1.5
    used = report["cwola"]["data"]
    assert used["auc_error"] > 0


def test_a_run_is_drawn_with_and_without_its_events(lhco, start, test_data, tmp_path) -> None:
    start("inspect", lhco, "-q", "--figure", "alone.pdf").finish()
    start("inspect", lhco, "-q", "--figure", "both.png", "--data", test_data(FILE)).finish()
    assert (tmp_path / "alone.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")


def test_samples_in_every_format_get_the_same_score(lhco, start, tmp_path) -> None:
    names = ("events.npy", "events.h5", "events.parquet", "events.root")
    for program in [start("sample", lhco, name, "-n", 3000, "--json") for name in names]:
        assert program.result()["n_events"] == 3000
    scored = [start("score", lhco, name, "--json").result() for name in names]
    assert {s["n_events"] for s in scored} == {3000}
    assert len({s["mean_log_prob"] for s in scored}) == 1
    np.testing.assert_array_equal(
        pd.read_hdf(tmp_path / "events.h5", key="df").to_numpy(),
        pd.read_parquet(tmp_path / "events.parquet").to_numpy(),
    )
    with uproot.open(tmp_path / "events.root") as file:
        mjj = file["Events"]["mjj"].array(library="np")
    np.testing.assert_array_equal(mjj, np.load(tmp_path / "events.npy")[:, 0])


def test_real_events_are_scored_from_a_feature_file_and_from_a_configuration(
    lhco, start, test_data, tmp_path
) -> None:
    whole = start("score", lhco, test_data(FILE), "-o", "all.npy", "--json").result()
    paths = {"source.paths": test_data(FILE)}
    part = start("score", lhco, CONFIG, "-o", "part.npy", "--json", **paths).result()
    assert (whole["n_events"], part["n_events"]) == (80_000, 55_207)
    # Signal is rarer in what the configuration selects, and less likely under the model.
    assert part["mean_log_prob"] > whole["mean_log_prob"]
    assert len(np.load(tmp_path / "all.npy")) == 80_000
