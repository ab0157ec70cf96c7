"""`onlineflows sample`: the same seed gives the same events, in every format."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import uproot

import onlineflows.cli.sample
from streams import LHCO


def drawn(path: Path) -> np.ndarray:
    """What other libraries read from the file."""
    match path.suffix:
        case ".npy":
            return np.load(path)
        case ".h5":
            table = pd.read_hdf(path, key="df")
        case ".parquet":
            table = pd.read_parquet(path)
        case _:
            with uproot.open(path) as file:
                table = pd.DataFrame(file["Events"].arrays(library="np"))
    assert tuple(table.columns) == LHCO.names
    return table.to_numpy(dtype=np.float32)


@pytest.fixture
def sample(command, finished_run: Path, tmp_path: Path):
    def draw(name: str, *options: object) -> np.ndarray:
        said = command("sample", finished_run, tmp_path / name, *options)
        assert (said.code, said.err) == (0, "")
        return drawn(tmp_path / name)

    return draw


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".parquet", ".root"])
def test_every_format_holds_the_same_events(suffix: str, sample) -> None:
    events = sample(f"events{suffix}", "-n", 500)
    assert events.shape == (500, 5)
    assert LHCO.in_support(events).all()
    np.testing.assert_array_equal(events, sample("reference.npy", "-n", 500))


def test_another_seed_gives_other_events(sample) -> None:
    assert not np.array_equal(sample("a.npy", "-n", 50), sample("b.npy", "-n", 50, "--seed", 2))


def test_a_longer_sample_begins_with_the_shorter(sample, monkeypatch) -> None:
    monkeypatch.setattr(onlineflows.cli.sample, "CHUNK_EVENTS", 64)
    longer = sample("longer.npy", "-n", 300)
    np.testing.assert_array_equal(sample("shorter.npy", "-n", 128), longer[:128])
    assert len(np.unique(longer, axis=0)) == 300


def test_a_sample_is_told_to_machines(command, finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "events.npy"
    document = command("sample", finished_run, path, "-n", 10, "--seed", 3, "--json").document
    assert document.items() >= {"file": str(path), "n_events": 10, "seed": 3}.items()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("events.csv", "expected a file name that ends in .npy, .h5"),
        ("none/events.npy", "expected an existing folder; got"),
        ("", "expected a file name that ends in .npy"),
    ],
)
def test_a_file_that_can_not_be_written_is_refused(
    name: str, message: str, refused, finished_run: Path, tmp_path: Path
) -> None:
    assert message in refused("sample", finished_run, tmp_path / name)


def test_what_is_no_snapshot_is_not_sampled_from(refused, tmp_path: Path) -> None:
    said = refused("sample", tmp_path, tmp_path / "events.npy")
    assert "expected a snapshot (manifest.json and model.safetensors)" in said
    assert list(tmp_path.iterdir()) == []
