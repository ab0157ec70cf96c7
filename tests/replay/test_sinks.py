"""Files of events are read back by other libraries, and appear whole or not at all."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import uproot
from numpy.typing import NDArray

from replay.sinks import open_sink
from streams import LHCO, EventSchema, Feature, InputError, Sink

FORMATS = [".npy", ".h5", ".hdf5", ".parquet", ".root"]
NAMES = [*LHCO.names, "label"]


def read_npy(path: Path) -> pd.DataFrame:
    table = np.load(path)
    return pd.DataFrame(table, columns=NAMES[: table.shape[1]])


def read_root(path: Path) -> pd.DataFrame:
    with uproot.open(path) as file:
        return pd.DataFrame(file["Events"].arrays(library="np"))


READ: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".npy": read_npy,
    ".h5": lambda path: pd.read_hdf(path, key="df"),
    ".hdf5": pd.read_hdf,
    ".parquet": pd.read_parquet,
    ".root": read_root,
}


@pytest.fixture
def x() -> NDArray[np.float32]:
    return np.random.default_rng(1).random((1000, 5), dtype=np.float32)


@pytest.fixture
def label() -> NDArray[np.uint8]:
    return (np.arange(1000) % 7 == 0).astype(np.uint8)


@pytest.fixture(params=FORMATS)
def path(request, tmp_path: Path) -> Path:
    return tmp_path / f"events{request.param}"


def read(path: Path) -> pd.DataFrame:
    return READ[path.suffix](path)


@pytest.mark.parametrize("step", [1000, 300])
@pytest.mark.parametrize("has_label", [True, False])
def test_what_was_written_is_read_back(path, x, label, step: int, has_label: bool) -> None:
    with open_sink(path, LHCO) as sink:
        for start in range(0, 1000, step):
            part = slice(start, start + step)
            sink.write(x[part], label[part] if has_label else None)
    frame = read(path)
    assert list(frame.columns) == (NAMES if has_label else list(LHCO.names))
    np.testing.assert_array_equal(frame[list(LHCO.names)].to_numpy(), x)
    if has_label:
        np.testing.assert_array_equal(frame["label"], label)


def test_features_are_stored_as_float32(path: Path, x) -> None:
    with open_sink(path, LHCO) as sink:
        sink.write(x)
    assert set(read(path).dtypes) == {np.dtype(np.float32)}


def test_a_sink_without_events_makes_an_empty_file(path: Path) -> None:
    open_sink(path, LHCO).close()
    frame = read(path)
    assert len(frame) == 0
    assert list(frame.columns) == list(LHCO.names)


def test_more_events_than_one_basket_are_kept_in_order(path: Path) -> None:
    x = np.arange(5 * 70_000, dtype=np.float32).reshape(-1, 5)
    with open_sink(path, LHCO) as sink:
        for start in range(0, len(x), 30_000):
            sink.write(x[start : start + 30_000])
    np.testing.assert_array_equal(read(path).to_numpy(), x)


def test_it_is_a_sink(path: Path) -> None:
    with open_sink(path, LHCO) as sink:
        assert isinstance(sink, Sink)


def test_the_file_appears_when_it_is_closed(path: Path, x) -> None:
    sink = open_sink(path, LHCO)
    sink.write(x)
    assert not path.exists()
    sink.close()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_closing_twice_is_harmless(path: Path, x) -> None:
    sink = open_sink(path, LHCO)
    sink.write(x)
    sink.close()
    sink.close()
    assert len(read(path)) == 1000


def test_an_exception_leaves_nothing_behind_and_the_old_file_as_it_was(path: Path, x) -> None:
    path.write_text("old")

    def write_and_fail() -> None:
        with open_sink(path, LHCO) as sink:
            sink.write(x)
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert path.read_text() == "old"


def test_labels_that_come_and_go_are_refused(path: Path, x, label) -> None:
    with open_sink(path, LHCO) as sink:
        sink.write(x, label)
        with pytest.raises(InputError, match="with all events or with none"):
            sink.write(x)


def test_events_of_another_schema_are_refused(path: Path, x) -> None:
    with open_sink(path, LHCO) as sink, pytest.raises(InputError, match=r"shape \(n, 5\)"):
        sink.write(x[:, :4])


def test_too_few_labels_are_refused(path: Path, x, label) -> None:
    with open_sink(path, LHCO) as sink, pytest.raises(InputError, match="expected 1000 labels"):
        sink.write(x, label[:3])


def test_a_closed_sink_refuses_events(path: Path, x) -> None:
    sink = open_sink(path, LHCO)
    sink.close()
    with pytest.raises(InputError, match="expected an open sink"):
        sink.write(x)


@pytest.mark.parametrize("name", ["events.csv", "events", "events.npz"])
def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.npy, \.h5, \.hdf5, \.parquet, \.root"):
        open_sink(tmp_path / name, LHCO)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected an existing folder"):
        open_sink(tmp_path / "absent" / "events.npy", LHCO)


def test_a_feature_named_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="other than 'label'"):
        open_sink(tmp_path / "events.npy", EventSchema((Feature("label", "", 0, 1),)))


def test_a_disk_error_becomes_ours_and_leaves_nothing(path: Path, x, monkeypatch) -> None:
    def fail(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    sink = open_sink(path, LHCO)
    sink.write(x)
    with pytest.raises(InputError, match="No space left"):
        sink.close()
    assert list(path.parent.iterdir()) == []
