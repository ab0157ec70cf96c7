"""Tables of a schema's own columns: what the sinks write comes back, and nothing else does."""

import contextlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from numpy.typing import NDArray

from replay.sinks import open_sink
from replay.sources.table import open_table
from streams import LHCO, Events, EventSchema, Feature, InputError, Status

FORMATS = [".npy", ".h5", ".hdf5", ".parquet", ".root"]
NAMED = [".h5", ".parquet", ".root"]
"""Formats whose columns have names."""


@pytest.fixture
def x() -> NDArray[np.float32]:
    return np.random.default_rng(1).random((1000, 5), dtype=np.float32)


@pytest.fixture(params=FORMATS)
def path(request, tmp_path: Path) -> Path:
    return tmp_path / f"events{request.param}"


def write(path: Path, x: NDArray[np.float32], label: NDArray[np.uint8] | None = None) -> Path:
    with open_sink(path, LHCO) as sink:
        for start in range(0, len(x), 300):
            part = slice(start, start + 300)
            sink.write(x[part], None if label is None else label[part])
    return path


def write_columns(path: Path, columns: dict[str, NDArray[np.generic]]) -> Path:
    """Writes named columns with other libraries than the sinks use, or without them."""
    frame = pd.DataFrame(columns)
    if path.suffix == ".h5":
        frame.to_hdf(path, key="df")
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        with uproot.recreate(path) as file:
            file.mktree("Events", {name: values.dtype for name, values in columns.items()})
            file["Events"].extend(columns)
    return path


def read(path: Path, schema: EventSchema = LHCO) -> Events:
    source = open_table(path, schema)
    try:
        return source.read(1_000_000)
    finally:
        source.close()


@pytest.mark.parametrize("has_label", [True, False])
def test_what_a_sink_wrote_comes_back(path: Path, x, has_label: bool) -> None:
    label = (np.arange(1000) % 7 == 0).astype(np.uint8) if has_label else None
    events = read(write(path, x, label))
    np.testing.assert_array_equal(events.x, x)
    np.testing.assert_array_equal(events.label, label)


@pytest.mark.parametrize("suffix", NAMED)
def test_columns_are_found_by_name(tmp_path: Path, x, suffix: str) -> None:
    columns = {name: x[:, i].astype(np.float64) for i, name in reversed([*enumerate(LHCO.names)])}
    columns["other"] = np.arange(1000.0)
    events = read(write_columns(tmp_path / f"a{suffix}", columns))
    np.testing.assert_array_equal(events.x, x)
    assert events.label is None


@pytest.mark.parametrize("suffix", NAMED)
def test_whole_numbers_and_flags_are_numbers(tmp_path: Path, suffix: str) -> None:
    schema = EventSchema((Feature("m", "GeV", 0, 10), Feature("n", "", 0, 10)))
    columns = {"n": np.arange(4, dtype=np.int32), "m": np.ones(4), "label": np.arange(4) > 2}
    events = read(write_columns(tmp_path / f"a{suffix}", columns), schema)
    assert events.x.tolist() == [[1, 0], [1, 1], [1, 2], [1, 3]]
    assert events.label is not None
    assert events.label.tolist() == [0, 0, 0, 1]


def test_values_that_are_not_finite_make_an_event_bad(path: Path, x) -> None:
    x[2, 1], x[3, 4] = np.nan, -np.inf
    status = read(write(path, x)).status
    assert status[2:4].tolist() == [Status.NOT_A_NUMBER, Status.INFINITE]
    assert np.flatnonzero(status).tolist() == [2, 3]


def test_a_parquet_value_that_is_null_makes_an_event_bad(tmp_path: Path) -> None:
    columns = {name: [1.0, None, 3.0] for name in LHCO.names}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").status.tolist() == [0, Status.NOT_A_NUMBER, 0]


def test_a_value_beyond_single_precision_makes_an_event_bad(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((2, 5), [[1.0], [1e300]]))
    assert read(tmp_path / "a.npy").status.tolist() == [0, Status.TOO_LARGE]


def test_an_array_stored_by_columns_is_read(tmp_path: Path, x) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(x))
    np.testing.assert_array_equal(read(tmp_path / "a.npy").x, x)


@pytest.mark.parametrize("suffix", NAMED)
def test_names_that_no_expression_could_hold_are_found(tmp_path: Path, x, suffix: str) -> None:
    names = ("jet.mass", "jet_mass", "m/GeV", "tau 21", "ΔR")
    schema = EventSchema(tuple(Feature(name, "", 0, 1) for name in names))
    if suffix == ".root":  # there, the first would be the second
        schema = EventSchema(tuple(f for f in schema.features if f.name != "jet_mass"))
    d = schema.n_features
    with open_sink(tmp_path / f"a{suffix}", schema) as sink:
        sink.write(x[:, :d])
    np.testing.assert_array_equal(read(tmp_path / f"a{suffix}", schema).x, x[:, :d])


@pytest.mark.parametrize("row_group_rows", [70, 333, 1000])
def test_parquet_rows_do_not_depend_on_row_groups(tmp_path: Path, x, row_group_rows: int) -> None:
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame(x, columns=list(LHCO.names))
    frame.to_parquet(path, row_group_size=row_group_rows)
    source = open_table(path, LHCO)
    for start in (500, 0, 999, 333):
        source.seek(start)
        np.testing.assert_array_equal(source.read(20).x, x[start : start + 20])
    source.close()


def test_more_rows_than_are_held_come_in_order(path: Path) -> None:
    x = np.arange(150_000 * 5, dtype=np.float32).reshape(-1, 5)
    with open_sink(path, LHCO) as sink:
        sink.write(x)
    source = open_table(path, LHCO)
    parts = [source.read(40_000).x for _ in range(4)]
    source.close()
    np.testing.assert_array_equal(np.concatenate(parts), x)


@pytest.mark.parametrize("suffix", NAMED)
def test_a_missing_column_names_the_nearest(tmp_path: Path, x, suffix: str) -> None:
    names = ["mjj", "mJ1", "dmJ", "tau21J1", "tau21_J2"]
    columns = {name: x[:, i] for i, name in enumerate(names)}
    with pytest.raises(InputError, match=r"expected a column 'tau21J2'; nearest.*'tau21_J2'"):
        open_table(write_columns(tmp_path / f"a{suffix}", columns), LHCO)


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (np.ones((9, 4)), r"float64 \(9, 4\)"),
        (np.ones((9, 7)), r"float64 \(9, 7\)"),
        (np.ones(9), r"float64 \(9,\)"),
        (np.ones((9, 5), dtype=complex), r"complex128 \(9, 5\)"),
        (np.full((9, 5), "a"), r"<U1 \(9, 5\)"),
        (np.ones(9, dtype=[("mjj", float)]), r"\(9,\)"),
    ],
)
def test_an_array_of_another_shape_or_type_is_refused(tmp_path: Path, array, got: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=rf"shape \(n, 5\) or.*\(n, 6\); got .*{got}; at .*a\.npy"):
        open_table(tmp_path / "a.npy", LHCO)


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((9, 5), None), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        open_table(tmp_path / "a.npy", LHCO)


def test_a_parquet_column_of_text_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({name: ["a", "b"] for name in LHCO.names}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="expected numbers; got string; in column 'mjj'"):
        open_table(tmp_path / "a.parquet", LHCO)


def test_a_parquet_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    names = [*LHCO.names, "mjj"]
    pq.write_table(pa.table([pa.array([1.0])] * 6, names=names), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="expected one column 'mjj'; got several"):
        open_table(tmp_path / "a.parquet", LHCO)


def test_a_branch_of_lists_is_refused(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("Events", {name: np.dtype(("f8", (2,))) for name in LHCO.names})
        file["Events"].extend({name: np.ones((3, 2)) for name in LHCO.names})
    with pytest.raises(InputError, match="expected one number per event; got lists; in branch 'm"):
        open_table(tmp_path / "a.root", LHCO)


def test_a_label_other_than_zero_and_one_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((9, 6), 2.0))
    with pytest.raises(InputError, match=r"expected labels 0 or 1; got 2\.0; in column 'label'"):
        open_table(tmp_path / "a.npy", LHCO)


def test_a_table_without_rows_is_refused(path: Path) -> None:
    open_sink(path, LHCO).close()
    with pytest.raises(InputError, match="expected events; got a table without rows"):
        open_table(path, LHCO)


@pytest.mark.parametrize("name", ["events.csv", "events", "events.npz"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("1,2,3")
    with pytest.raises(InputError, match=r"expected a file that ends in \.npy, \.h5.*got '.*event"):
        open_table(tmp_path / name, LHCO)


def test_a_missing_file_is_named_with_its_neighbours(path: Path, x) -> None:
    write(path, x)
    with pytest.raises(InputError, match=rf"nearest known: '{path.name}'"):
        open_table(path.with_stem("evnts"), LHCO)


def test_a_folder_in_place_of_a_file_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(InputError, match="expected an existing file"):
        open_table(path, LHCO)


@pytest.mark.parametrize("content", [b"", b"mjj,mJ1,dmJ\n1,2,3\n", b"\x00" * 400])
def test_a_file_of_another_kind_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"expected a.* got .*{path.name}.*is it complete"):
        open_table(path, LHCO)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(path: Path, x, part: float) -> None:
    write(path, x)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match=path.name):
        open_table(path, LHCO)


def test_damaged_bytes_lead_to_wrong_events_or_to_an_input_error(path: Path, x) -> None:
    write(path, x[:50])
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(60):
        damaged = bytearray(content)
        where = int(rng.integers(0, min(len(damaged), 4000)))
        damaged[where : where + 4] = rng.bytes(4)
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            read(path)


def test_a_file_that_changes_its_shape_is_refused(tmp_path: Path, x) -> None:
    source = open_table(write(tmp_path / "a.npy", x), LHCO)
    write(tmp_path / "a.npy", x[:10])
    with pytest.raises(InputError, match="the file was changed"):
        source.read(5)


def test_the_signal_region_arrays_are_read(test_data) -> None:
    events = read(test_data("lhco/sr_3300_3700_train.npy"))
    assert len(events) == 60_000
    assert LHCO.in_support(events.x).mean() > 0.99
    assert events.label is not None
    assert events.label.sum() == 395


def test_a_file_is_closed_when_it_is_refused(tmp_path: Path, x) -> None:
    path = write_columns(tmp_path / "a.h5", {"mjj": x[:, 0]})
    with pytest.raises(InputError, match="expected a column 'mJ1'"):
        open_table(path, LHCO)
    with h5py.File(path, "r+") as file:  # HDF5 refuses to write to a file that is open
        assert list(file) == ["df"]
