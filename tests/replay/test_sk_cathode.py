"""The folder that sk_cathode's demos read: six files, split as its data preparation does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from replay.sinks.sk_cathode import SkCathodeFolder
from streams import EventSchema, Feature, InputError

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", 0.0, 1.0)))
REGION = (3.0, 4.0)
N = 6000
SIZES = {"train": N // 2, "val": N // 6, "test": N // 3}
NAMES = {f"{kind}data_{part}.npy" for kind in ("inner", "outer") for part in SIZES}


@pytest.fixture
def x() -> np.ndarray:
    rng = np.random.default_rng(1)
    events = np.column_stack([rng.uniform(0, 10, N), rng.uniform(0, 1, N)])
    events[0, 0], events[1, 0] = REGION
    return events.astype(np.float32)


@pytest.fixture
def written(tmp_path: Path, x: np.ndarray) -> Callable[..., dict[str, np.ndarray]]:
    """Writes the events in chunks; returns the files' contents."""

    def write(chunk: int = 1000, region: tuple[float, float] = REGION) -> dict[str, np.ndarray]:
        folder = tmp_path / "input_data"
        with SkCathodeFolder(folder, SCHEMA, signal_region=region, n_events=N) as sink:
            for start in range(0, N, chunk):
                sink.write(x[start : start + chunk])
        assert sink.n_written == {name: len(np.load(folder / name)) for name in NAMES}
        return {path.name: np.load(path) for path in folder.iterdir()}

    return write


def test_the_files_are_those_that_are_read(written) -> None:
    assert set(written()) == NAMES


def test_rows_are_doubles_resonant_feature_first_and_label_last(written, x) -> None:
    for table in written().values():
        assert (table.dtype, table.shape[1]) == (np.float64, 3)
        assert set(table[:, -1]) == {0.0}
    first = x[(x[:, 0] > 3) & (x[:, 0] < 4)][:5]
    np.testing.assert_array_equal(written()["innerdata_train.npy"][:5, :-1], first)


def test_inner_files_hold_the_signal_region_without_its_ends(written) -> None:
    files = written()
    for name, table in files.items():
        inside = (table[:, 0] > 3.0) & (table[:, 0] < 4.0)
        assert inside.all() if name.startswith("inner") else not inside.any()
    assert set(REGION) <= set(files["outerdata_train.npy"][:2, 0])


@pytest.mark.parametrize("chunk", [N, 1000, 777])
def test_every_event_is_in_one_file_split_by_halves_sixths_and_thirds(chunk, written, x) -> None:
    files = written(chunk)
    for part, size in SIZES.items():
        both = [files[f"{kind}data_{part}.npy"] for kind in ("inner", "outer")]
        assert sum(map(len, both)) == size
    together = np.concatenate(list(files.values()))[:, :-1]
    np.testing.assert_array_equal(np.unique(together, axis=0), np.unique(x, axis=0))


def test_a_part_without_events_has_its_columns(written) -> None:
    assert written(region=(9.99999, 20.0))["innerdata_val.npy"].shape == (0, 3)


@pytest.mark.parametrize("region", [(4.0, 3.0), (3.0, 3.0), (10.0, 12.0), (-2.0, 0.0)])
def test_a_region_that_holds_no_event_is_refused(region, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"inside the support of m \[TeV\], \[0, 10\]"):
        SkCathodeFolder(tmp_path / "x", SCHEMA, signal_region=region, n_events=N)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_can_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "none" / "x"):
        with pytest.raises(InputError, match="expected a folder to write to; got"):
            SkCathodeFolder(folder, SCHEMA, signal_region=REGION, n_events=N)


def test_an_exception_leaves_no_file_behind(tmp_path: Path, x) -> None:
    def fail() -> None:
        with SkCathodeFolder(tmp_path / "x", SCHEMA, signal_region=REGION, n_events=N) as sink:
            sink.write(x)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list((tmp_path / "x").iterdir()) == []


def test_the_layout_is_that_of_a_published_file(test_data, written) -> None:
    published = np.load(test_data("lhco/sr_3300_3700_train.npy"))
    ours = written()["innerdata_train.npy"]
    assert published.dtype == ours.dtype
    assert published.shape[1] == 6  # mjj, mJ1, dmJ, tau21J1, tau21J2, label
    assert set(np.unique(published[:, -1])) == {0.0, 1.0}
