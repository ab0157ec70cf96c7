"""`onlineflows diff`: two snapshots side by side, and two that can't be compared."""

from dataclasses import replace
from pathlib import Path

import pytest

from onlineflows.cli import diff
from onlineflows.offline.comparison import SnapshotComparison, compare_snapshots


def test_a_run_beside_itself_has_no_changes(command, finished_run: Path) -> None:
    said = command("diff", finished_run, finished_run, "-n", 500, "-q")
    assert (said.code, said.err) == (0, "")
    assert "what changed" not in said.out
    assert "Jeffreys divergence: 0.0000 ± 0.0000 nats per event" in said.out


def test_two_runs_are_compared(command, finished_run: Path, run_of_models: Path) -> None:
    said = command("diff", finished_run, run_of_models, "-n", 2000, "-q")
    assert (said.code, said.err) == (0, "")
    for words in (
        "models: joint.replicas",
        "the same: stream, schema",
        "regions of mjj [TeV]",
        "map [z]",
    ):
        assert words in said.out


def test_samples_without_a_density_are_told_region_by_region(
    command, finished_run: Path, run_of_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_outsiders(*snapshots, **how) -> SnapshotComparison:
        found = compare_snapshots(*snapshots, **how)
        assert found.density is not None
        first, *others = found.density.regions
        regions = (replace(first, n_outside=1234), *others)
        return replace(found, density=replace(found.density, regions=regions))

    assert "under the" not in command("diff", finished_run, run_of_models, "-n", 500, "-q").out
    monkeypatch.setattr(diff, "compare_snapshots", with_outsiders)
    said = command("diff", finished_run, run_of_models, "-n", 500, "-q").out
    assert "no density under the" in said
    assert "1,234\n" in said


def test_a_comparison_is_told_to_machines(command, finished_run: Path, run_of_models) -> None:
    document = command("diff", finished_run, run_of_models, "-n", 500, "--json").document
    assert document["density"]["n_samples"] == 500
    assert {"key": "joint.replicas", "a": 0, "b": 2} in document["changes"]["models"]
    assert document["a"]["snapshot"].endswith("000001")


def test_a_comparison_is_drawn(command, finished_run: Path, run_of_models, tmp_path: Path) -> None:
    figure = tmp_path / "diff.png"
    said = command("diff", finished_run, run_of_models, "-n", 500, "--figure", figure, "-q")
    assert (said.code, said.err) == (0, "")
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_model_that_one_lacks_is_an_answer(command, finished_run, run_of_models) -> None:
    said = command("diff", run_of_models, finished_run, "--model", "window", "-q")
    assert said.code == 0
    assert "densities: not comparable: expected a model of the snapshot; got 'window'" in said.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--figure", "page.jpg"], "--figure: expected a name ending in .png or .pdf"),
        (["--figure", "page.png", "--model", "late"], "expected densities that can be compared"),
        (["--model", "widow"], "got 'widow'"),
        (["-n", "5"], "expected at least 100 samples of each; got 5"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: list[str], message: str, refused, finished_run, run_of_models, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused("diff", finished_run, run_of_models, *options)
    assert list(tmp_path.iterdir()) == []
