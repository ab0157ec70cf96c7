"""`onlineflows export`: the target's ending says what is written."""

import sys
from pathlib import Path

import numpy as np
import pytest

from onlineflows.online.snapshot import read_snapshot


def test_a_card_is_written(command, finished_run: Path, tmp_path: Path) -> None:
    said = command("export", finished_run, tmp_path / "card.md", "--json")
    text = (tmp_path / "card.md").read_text()
    assert said.document == {"file": str(tmp_path / "card.md"), "nbytes": len(text.encode())}
    assert text.startswith("# small\n")


def test_samples_are_those_of_sample(command, finished_run: Path, tmp_path: Path) -> None:
    command("sample", finished_run, tmp_path / "a.npy", "-n", 300, "--seed", 3)
    command("export", finished_run, tmp_path / "b.npy", "-n", 300, "--seed", 3)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_a_folder_for_sk_cathode_holds_the_events_of_sample_by_region(
    command, finished_run: Path, tmp_path: Path
) -> None:
    command("sample", finished_run, tmp_path / "a.npy", "-n", 600)
    said = command("export", finished_run, tmp_path / "x", "--sk-cathode", "-n", 600, "--json")
    events = np.load(tmp_path / "a.npy")
    files = {path.name: np.load(path) for path in (tmp_path / "x").iterdir()}
    assert said.document["files"] == {name: len(table) for name, table in files.items()}
    assert said.document["signal_region"] == [3.3, 3.7]
    inner = np.concatenate([files[f"innerdata_{part}.npy"] for part in ("train", "val", "test")])
    in_region = events[(events[:, 0] > 3.3) & (events[:, 0] < 3.7)]
    np.testing.assert_array_equal(inner[:, :-1], in_region)


def test_the_signal_region_is_a_choice(command, finished_run: Path, tmp_path: Path) -> None:
    arguments = ("--sk-cathode", "-n", 600, "--signal-region", 2.5, 3.0, "--json")
    said = command("export", finished_run, tmp_path / "x", *arguments)
    assert said.document["signal_region"] == [2.5, 3.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x"], "expected a file name that ends in .onnx, .md or, for samples, .npy"),
        (["x.csv"], "or a folder with --sk-cathode; got 'x.csv'"),
        (["x.md", "--model", "none"], "--model, --replica: a model card is of all models"),
        (["none/x.md"], "FILE: expected a file in an existing folder"),
        (["none/x.onnx"], "FILE: expected a file in an existing folder"),
        (["x.onnx", "--model", "widow"], "got 'widow'"),
        (["x", "--onnx", "--sk-cathode"], "expected --onnx or --sk-cathode; got both"),
        (["x.npy", "--signal-region", "1", "2"], "--signal-region: expected --sk-cathode"),
        (["x", "--sk-cathode", "--signal-region", "20", "30"], "expected a signal region inside"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], message: str, refused, finished_run: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused("export", finished_run, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_its_name_is_told(
    refused, finished_run: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    said = refused("export", finished_run, tmp_path / "x.onnx", "-q")
    assert 'pip install "onlineflows[onnx]"' in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("name", "flags"), [("x.onnx", ()), ("x", ("--onnx",))])
def test_onnx_models_of_a_run_agree_with_it(
    name: str, flags: tuple[str, ...], command, finished_run: Path, tmp_path: Path
) -> None:
    import onnxruntime

    said = command("export", finished_run, tmp_path / name, *flags, "--json", "-q")
    assert said.err == ""
    log_prob, sampler = said.document["files"]
    assert (log_prob["file"], sampler["file"]) == (
        str(tmp_path / name),
        str(tmp_path / "x.sampler.onnx"),
    )
    assert max(log_prob["difference"], sampler["difference"]) < 1e-4
    noise = np.random.default_rng(1).standard_normal((500, 5)).astype(np.float32)
    events, is_event = onnxruntime.InferenceSession(sampler["file"]).run(None, {"noise": noise})
    assert is_event.all()
    session = onnxruntime.InferenceSession(log_prob["file"])
    (found,) = session.run(["log_prob"], {"events": events.astype(np.float64)})
    expected = read_snapshot(finished_run).density().log_prob(events)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_mean_of_replicas_has_no_sampler_and_says_why(
    command, run_of_models: Path, tmp_path: Path
) -> None:
    arguments = ("--model", "joint", "--replica", "all", "-q")
    said = command("export", run_of_models, tmp_path / "x.onnx", *arguments)
    assert said.code == 0
    assert "no sampler: a mean of densities is sampled by drawing from each" in said.out
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]
