"""`onlineflows score`: log p of a file's events, whatever the file's format."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onlineflows.online.snapshot import read_snapshot
from replay.sinks import open_sink
from replay.sources.hdf5 import JET_COLUMNS
from replay.sources.standin_density import StandinDensity
from streams import LHCO


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return StandinDensity().sample(400, 100, seed=3)[0].astype(np.float32)


@pytest.fixture
def expected(finished_run: Path, x: np.ndarray) -> np.ndarray:
    return read_snapshot(finished_run).density().log_prob(x)


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".parquet", ".root"])
def test_a_table_of_any_format_gets_the_densitys_log_prob(
    suffix: str, command, finished_run: Path, x, expected, tmp_path: Path
) -> None:
    path, target = tmp_path / f"events{suffix}", tmp_path / "log_prob.npy"
    with open_sink(path, LHCO) as sink:
        sink.write(x)
    said = command("score", finished_run, path, "-o", target, "--json")
    np.testing.assert_array_equal(np.load(target), expected)
    document = said.document
    assert document["mean_log_prob"] == pytest.approx(expected.mean())
    assert document["mean_log_prob_error"] == pytest.approx(expected.std(ddof=1) / np.sqrt(500))
    assert (document["n_events"], document["n_outside_support"]) == (500, 0)


def test_a_configuration_says_which_events_are_scored(
    command, finished_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "more.toml").write_text("[source]\ntype = 'standin'\nn_events = 300\n")
    said = command("score", finished_run, tmp_path / "more.toml", settings=("source.seed=5",))
    assert f"{tmp_path / 'more.toml'}: 300 events\nmean log p = " in said.out
    assert "nats per event" in said.out


def test_events_outside_the_support_are_counted_apart(
    command, finished_run: Path, x, expected, tmp_path: Path
) -> None:
    outside = x.copy()
    outside[:7, 0] = -1.0
    np.save(tmp_path / "events.npy", outside)
    document = command("score", finished_run, tmp_path / "events.npy", "--json").document
    assert document["n_outside_support"] == 7
    assert document["mean_log_prob"] == pytest.approx(expected[7:].mean())


def no_file(_: Path) -> None:
    pass


def jets_with_a_column_missing(path: Path) -> None:
    pd.DataFrame(np.ones((4, 14)), columns=[*JET_COLUMNS[:-1], "mjjj"]).to_hdf(path, key="df")


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("none.npy", no_file, "expected an existing file; got .*none.npy"),
        ("x.csv", no_file, "expected a file that ends in .npy, .h5"),
        (
            "x.npy",
            lambda p: np.save(p, np.ones((9, 4))),
            r"shape \(n, 5\) or.*got float64 \(9, 4\)",
        ),
        ("x.npy", lambda p: p.write_text("text"), r"expected a numpy array \(.npy\); got"),
        ("x.npy", lambda p: np.save(p, np.ones((0, 5))), "expected events; got"),
        ("x.h5", jets_with_a_column_missing, "expected a column 'mjj'; nearest known: 'mjjj'"),
        ("x.h5", lambda p: p.write_text("text"), "expected an HDF5 file; got"),
        ("x.root", lambda p: p.write_text("text" * 99), "expected a ROOT file; got not a ROOT"),
        ("x.parquet", lambda p: p.write_text("text" * 99), "expected a Parquet file; got"),
    ],
)
def test_a_file_that_can_not_be_scored_is_refused(
    name: str, write, message: str, refused, finished_run: Path, tmp_path: Path
) -> None:
    import re

    write(tmp_path / name)
    assert re.search(message, said := refused("score", finished_run, tmp_path / name)), said


def test_events_of_another_schema_are_refused(refused, finished_run: Path, tmp_path: Path) -> None:
    import uproot

    with uproot.recreate(tmp_path / "razor.root") as file:
        branches = ("MR", "Rsq", "HT", "MET")
        file["razorTree"] = {name: np.ones(5) for name in branches}
    config = Path(__file__).parents[3] / "configs" / "razor.toml"
    paths = f"source.paths={tmp_path / 'razor.root'}"
    said = refused("score", finished_run, config, settings=(paths,))
    assert f"{config}: the schemas differ: expected 5 features ['mjj'" in said
    assert "got 4 ['MR', 'Rsq', 'HT', 'MET']" in said


def test_a_result_that_can_not_be_written_is_refused_before_any_work(
    refused, finished_run: Path, tmp_path: Path
) -> None:
    said = refused("score", finished_run, "unread.npy", "-o", tmp_path / "none" / "x.npy")
    assert "--output: expected a file in an existing folder" in said
    said = refused("score", finished_run, "unread.npy", "-o", tmp_path)
    assert "--output: expected the name of a file; got the folder" in said
    said = refused("score", finished_run, "unread.npy", "-o", tmp_path / "x.txt")
    assert "--output: expected a name ending in .npy; got x.txt" in said
