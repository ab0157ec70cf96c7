"""`onlineflows validate`: the report, on the stand-in and on events of a file."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onlineflows.cli.parts
import onlineflows.cli.validate
from onlineflows.online.snapshot import find_snapshot, read_snapshot, write_snapshot
from replay.sinks import open_sink
from replay.sources.standin_density import StandinDensity
from streams import LHCO

TWO_FEATURES = """
[source]
type = "root"
paths = "{path}"
[[source.features]]
name = "mjj"
expression = "mjj"
low = 0.0
high = 14.0
[[source.features]]
name = "mJ1"
expression = "mJ1"
"""


@pytest.fixture
def few_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlineflows.cli.validate, "DISTANCE_EVENTS", 3000)


@pytest.mark.slow
@pytest.mark.usefixtures("few_events")
def test_the_stand_in_is_validated_against_the_truth(
    command, finished_run: Path, tmp_path: Path
) -> None:
    said = command("validate", finished_run, "-q", "--json", "-o", tmp_path / "report")
    assert (said.code, said.err) == (0, "")
    report = said.document
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == report
    for curve in ("data", "snapshot", "byte_equal", "optimum"):
        assert {"auc", "max_sic"} <= set(report["cwola"][curve])
    assert report["cwola"]["optimum"]["auc"] >= report["cwola"]["snapshot"]["auc"]
    assert report["nats_to_truth"] > 0
    assert report["events_seen"] == 8000
    assert report["event_nbytes"] == 20
    page = (tmp_path / "report" / "report.html").read_text()
    assert 'src="http' not in page
    assert "small" in page


@pytest.mark.slow
@pytest.mark.usefixtures("few_events")
def test_a_snapshot_of_a_part_is_compared_with_that_part(
    command, finished_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished_run, tmp_path / "part", symlinks=True)
    whole = read_snapshot(find_snapshot(run))
    part = dataclasses.replace(whole.manifest, n_seen=1500)
    write_snapshot(
        run / "snapshots", dataclasses.replace(whole, manifest=part), manifest_nbytes=65_536
    )
    report = command("validate", run, "-q", "--json", "-o", tmp_path / "report").document
    # More than 1,500 events have the snapshot's size: all that there are were stored.
    assert report["snapshot_nbytes"] > 1500 * 20
    assert report["cwola"]["byte_equal"]["n_events"] == report["events_seen"] == 1500


@pytest.mark.slow
@pytest.mark.usefixtures("few_events")
def test_processes_change_nothing_and_finished_parts_are_kept(
    command, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def report(folder: str, *options: object) -> Any:
        target = tmp_path / folder
        said = command("validate", finished_run, "-q", "--json", "-o", target, *options)
        document = said.document
        del document["created"]
        return document

    def refuse(*_: object) -> None:
        raise AssertionError("a finished part is computed again")

    here, elsewhere = report("here"), report("elsewhere", "--jobs", 2, "--compression")
    monkeypatch.setattr(onlineflows.cli.parts, "run_part", refuse)
    again = report("elsewhere", "--compression")

    assert again == elsewhere
    assert elsewhere["compression"]["n_seen"] == 8000
    for curve in ("data", "snapshot", "byte_equal"):
        for document in (here, elsewhere):
            del document["cwola"][curve]["seconds"]
    assert here["cwola"] == elsewhere["cwola"]


def test_a_method_nobody_knows_is_refused(refused, finished_run: Path) -> None:
    assert "--method: expected one of cwola" in refused(
        "validate", finished_run, "--method", "cathod"
    )


def write_labelled(path: Path, seed: int) -> None:
    x, label = StandinDensity().sample(3000, 1000, seed=seed)
    with open_sink(path, LHCO) as sink:
        sink.write(x.astype(np.float32), label)


def expressions(path: Path, section: str) -> str:
    lines = [f"[{section}]", 'type = "root"', f'paths = "{path}"', 'label = "label"']
    for feature in LHCO.features:
        lines += [f"[[{section}.features]]", f'name = "{feature.name}"']
        lines += [f'expression = "{feature.name}"', f'unit = "{feature.unit}"']
        lines += [f"low = {feature.low!r}", f"high = {feature.high!r}"]
    return "\n".join(lines) + "\n"


@pytest.mark.slow
def test_events_of_files_are_validated_on_their_labels(
    command, finished_run: Path, tmp_path: Path
) -> None:
    write_labelled(tmp_path / "train.root", seed=1)
    write_labelled(tmp_path / "test.root", seed=2)
    settings = "[validate]\nfolds = 2\ndraws = 2\nmin_background = 10\n"
    (tmp_path / "mine.toml").write_text(
        expressions(tmp_path / "train.root", "source")
        + expressions(tmp_path / "test.root", "evaluation")
        + settings
    )
    said = command(
        "validate", finished_run, "-q", "--data", tmp_path / "mine.toml", "-o", tmp_path / "report"
    )
    assert (said.code, said.err) == (0, "")
    assert "CWoLa, tested on truth-labelled events" in said.out
    assert "distance to the true density" not in said.out
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["cwola"]["optimum"] is None
    assert report["nats_to_truth"] is None


@pytest.fixture
def unlabelled(tmp_path: Path) -> Path:
    """A configuration of events of which nobody knows which are signal."""
    with open_sink(tmp_path / "data.root", LHCO) as sink:
        sink.write(StandinDensity().sample(3000, 1000, seed=1)[0].astype(np.float32))
    source = expressions(tmp_path / "data.root", "source").replace('label = "label"\n', "")
    (tmp_path / "data.toml").write_text(source + "[validate]\nfolds = 2\n")
    return tmp_path / "data.toml"


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_without_truth_bumps_are_hunted_and_nothing_is_rated(
    jobs: int, command, finished_run: Path, unlabelled: Path, tmp_path: Path
) -> None:
    target = tmp_path / "report"
    said = command(
        "validate", finished_run, "-q", "--data", unlabelled, "-o", target, "--jobs", jobs
    )
    assert (said.code, said.err) == (0, "")
    assert "no truth labels: " in said.out
    assert "an [evaluation] section" in said.out
    assert "bump hunt in data, excess in the signal region: " in said.out
    assert re.search(r"σ with all events, -?\d+\.\d σ with 10 % kept", said.out)
    assert "samples against data: " in said.out
    report = json.loads((target / "report.json").read_text())
    assert (report["cwola"], report["evaluation"], report["methods"]) == (None, None, [])
    assert report["unrated"].startswith("no truth labels: ")
    assert set(report["bump_hunt"]) == {"data", "samples"}
    assert report["likeness"]["classifier_auc"]["statistic"] > 0
    assert report["not_possible"] == {}
    figures = {path.stem for path in (target / "figures").iterdir()}
    assert {"bump_data", "bump_samples", "spectrum", "marginals", "correlations"} <= figures
    assert not {"sic", "roc", "methods", "compression"} & figures


@pytest.mark.parametrize("option", [("--method", "cwola"), ("--compression",)])
def test_what_needs_truth_is_refused_by_name_where_there_is_none(
    option: tuple[str, ...], refused, finished_run: Path, unlabelled: Path
) -> None:
    said = refused("validate", finished_run, "-q", "--data", unlabelled, *option)
    assert f"{' '.join(option)}: expected truth-labelled events" in said
    assert "[evaluation]" in said


def test_events_without_labels_are_no_evaluation(
    refused, finished_run: Path, unlabelled: Path
) -> None:
    text = unlabelled.read_text()
    source = text.partition("[validate]")[0]
    unlabelled.write_text(text + source.replace("source", "evaluation"))
    said = refused("validate", finished_run, "-q", "--data", unlabelled)
    assert "[evaluation]: expected events with truth labels; got none" in said


def test_the_default_range_of_the_fit_must_hold_the_signal_region_that_is_searched(
    refused, finished_run: Path
) -> None:
    regions = ("validate.signal_region=[1.5, 2.0]", "validate.sidebands=[[1.3, 1.5]]")
    said = refused("validate", finished_run, "-q", settings=regions)
    assert "validate.fit_range: expected a range that begins below and ends above" in said
    assert "validate.signal_region (1.5, 2.0); got (2.9, 6.9), the default" in said


@pytest.mark.parametrize("section", ["source", "evaluation"])
def test_events_of_another_schema_are_refused(
    section: str, refused, finished_run: Path, tmp_path: Path
) -> None:
    write_labelled(tmp_path / "train.root", seed=1)
    good = expressions(tmp_path / "train.root", "source")
    other = TWO_FEATURES.format(path=tmp_path / "train.root")
    toml = {
        "source": other + good.replace("source", "evaluation"),
        "evaluation": good + other.replace("source", "evaluation"),
    }
    (tmp_path / "mine.toml").write_text(toml[section])
    said = refused("validate", finished_run, "-q", "--data", tmp_path / "mine.toml")
    assert "the schemas differ: expected 5 features" in said


def test_a_missing_file_of_labelled_events_is_refused(refused, finished_run, tmp_path) -> None:
    write_labelled(tmp_path / "train.root", seed=1)
    text = expressions(tmp_path / "train.root", "source")
    (tmp_path / "mine.toml").write_text(
        text + text.replace("source", "evaluation").replace("train.root", "none.root")
    )
    said = refused("validate", finished_run, "-q", "--data", tmp_path / "mine.toml")
    assert "expected an existing file or a pattern that fits one" in said
    assert "none.root" in said


def test_what_is_no_run_is_refused(refused, tmp_path: Path) -> None:
    assert "expected a snapshot" in refused("validate", tmp_path)


@pytest.mark.usefixtures("few_events")
def test_a_prescaled_snapshot_says_so_and_is_compared_with_a_prescaled_stream(
    command, tmp_path: Path
) -> None:
    runs, low = f"run.directory={tmp_path}", '[{name = "low", select = "mjj < 3", keep = 4}]'
    small = ("source.n_events=8000", "preprocess.fit_events=2000", "flow.blocks=1", "flow.hidden=8")
    few = ("validate.folds=2", "validate.test_background=3000", "validate.test_signal=1000")
    settings = (*small, *few, runs, "run.name=part", f"prescales={low}")
    assert command("run", "-q", settings=settings).code == 0
    prescales = json.loads((tmp_path / "part" / "prescales.json").read_text())
    [counted] = prescales["selections"]
    n_sent = 8000 - counted["passed"] + counted["kept"]
    assert n_sent < 7000
    said = command("inspect", tmp_path / "part")
    assert re.search(r"prescaled +low: 1 in 4 of mjj < 3", said.out)
    report = command("validate", tmp_path / "part", "-q", "--json").document
    assert report["events_seen"] == n_sent
    assert report["nats_to_truth"] is None
