"""Feature files as pandas and others write them, whole and damaged."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from replay.observables import Jets, dijet_observables
from replay.settings import LhcoFeaturesConfig, SelectionConfig
from replay.sinks import open_sink
from replay.sources.hdf5 import FeatureReader, PandasFixed, is_lhco_features, open_features
from streams import LHCO, InputError, Status


def observables(table: np.ndarray) -> np.ndarray:
    return dijet_observables(Jets.from_table(table[:, :6]), Jets.from_table(table[:, 7:13])).x


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.h5"


def test_a_file_written_by_pandas_is_read(path: Path, jet_events) -> None:
    events = jet_events(60)
    events.frame().to_hdf(path, key="df")
    rows = FeatureReader(path, "df").read_rows(0, 60)
    np.testing.assert_array_equal(rows.x, observables(events.table))
    np.testing.assert_array_equal(rows.label, events.label)


def test_a_compressed_file_is_read(path: Path, jet_events) -> None:
    events = jet_events(60)
    events.frame().to_hdf(path, key="df", complib="blosc", complevel=9)
    np.testing.assert_array_equal(
        FeatureReader(path, "df").read_rows(7, 50).x, observables(events.table)[7:50]
    )


def test_a_whole_number_label_in_a_block_of_its_own_is_read(path: Path, jet_events) -> None:
    events = jet_events(60)
    events.frame().astype({"label": int}).to_hdf(path, key="df")
    np.testing.assert_array_equal(FeatureReader(path, "df").read_labels(0, 60), events.label)


def test_columns_in_another_order_are_found_by_name(path: Path, jet_events) -> None:
    events = jet_events(60)
    events.frame().iloc[:, ::-1].to_hdf(path, key="df")
    rows = FeatureReader(path, "df").read_rows(0, 60)
    np.testing.assert_array_equal(rows.x, observables(events.table))


@pytest.mark.parametrize("has_label", [True, False])
def test_numbered_columns_are_taken_by_position(path, write_blosc, jet_events, has_label) -> None:
    events = jet_events(60)
    table = np.column_stack([events.table, events.label]) if has_label else events.table
    reader = FeatureReader(write_blosc(path, table), "df")
    assert reader.has_label == has_label
    np.testing.assert_array_equal(reader.read_rows(0, 60).x, observables(events.table))


def test_a_file_without_labels_has_none(path: Path, jet_events) -> None:
    jet_events(60).frame().drop(columns="label").to_hdf(path, key="df")
    reader = FeatureReader(path, "df")
    assert not reader.has_label
    assert reader.read_rows(0, 5).label is None


def test_files_of_the_observables_themselves_are_read_back(path: Path, jet_events) -> None:
    x = observables(jet_events(60).table)
    with open_sink(path, LHCO) as sink:
        sink.write(x, np.ones(60, np.uint8))
    rows = FeatureReader(path, "df").read_rows(0, 60)
    np.testing.assert_array_equal(rows.x, x)
    assert rows.label.all()


def test_values_that_are_not_finite_make_a_row_bad(path: Path, jet_events) -> None:
    frame = jet_events(5).frame()
    frame.loc[2, "mj2"] = np.nan
    frame.loc[3, "pzj1"] = np.inf
    frame.to_hdf(path, key="df")
    status = FeatureReader(path, "df").read_rows(0, 5).status
    assert status.tolist() == [0, 0, Status.NOT_A_NUMBER, Status.INFINITE, 0]


@pytest.mark.parametrize("label", [2.0, -1.0, np.nan])
def test_a_label_other_than_zero_and_one_is_refused(path: Path, jet_events, label: float) -> None:
    frame = jet_events(5).frame()
    frame.loc[2, "label"] = label
    frame.to_hdf(path, key="df")
    with pytest.raises(InputError, match="expected labels 0 or 1"):
        FeatureReader(path, "df").read_rows(0, 5)


def test_a_wrong_key_names_the_right_one(path: Path, jet_events) -> None:
    jet_events(5).frame().to_hdf(path, key="df")
    with pytest.raises(InputError, match=r"expected the key 'dg'.*'df'"):
        FeatureReader(path, "dg")


def test_a_missing_column_names_the_nearest(path: Path, jet_events) -> None:
    jet_events(5).frame().rename(columns={"mj1": "massj1"}).to_hdf(path, key="df")
    with pytest.raises(InputError, match=r"expected a column 'mj1'.*'massj1'"):
        FeatureReader(path, "df")


@pytest.mark.parametrize("n_columns", [13, 16, 2101])
def test_a_wrong_number_of_unnamed_columns_is_refused(path, write_blosc, n_columns: int) -> None:
    write_blosc(path, np.ones((20, n_columns)))
    with pytest.raises(InputError, match=f"got {n_columns} unnamed columns"):
        FeatureReader(path, "df")


def test_a_truncated_file_is_refused(path: Path, jet_events) -> None:
    jet_events(500).frame().to_hdf(path, key="df")
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InputError, match="is it complete"):
        FeatureReader(path, "df")


@pytest.mark.parametrize("content", [b"", b"pxj1,pyj1\n1,2\n" * 100])
def test_another_kind_of_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match="expected an HDF5 file"):
        FeatureReader(path, "df")


def test_the_table_format_is_refused_with_advice(path: Path, jet_events) -> None:
    jet_events(5).frame().to_hdf(path, key="df", format="table")
    with pytest.raises(InputError, match=r"frame_table.*format='fixed'"):
        FeatureReader(path, "df")


@pytest.mark.filterwarnings("ignore::pandas.errors.PerformanceWarning")
def test_pickled_column_names_are_refused(path: Path) -> None:
    pd.DataFrame(np.ones((4, 3)), columns=["a", "b", 1]).to_hdf(path, key="df")
    with pytest.raises(InputError, match="all text or all whole numbers"):
        FeatureReader(path, "df")


@pytest.mark.parametrize("name", ["axis0", "axis1", "block0_items", "block0_values"])
def test_a_layout_with_a_part_missing_is_refused(path, write_blosc, jet_events, name) -> None:
    write_blosc(path, jet_events(20).table)
    with h5py.File(path, "r+") as file:
        del file[f"df/{name}"]
    with pytest.raises(InputError, match="pandas' fixed layout"):
        PandasFixed(path, "df")


def test_damage_inside_the_data_is_reported_with_the_rows(path, write_blosc, jet_events) -> None:
    write_blosc(path, jet_events(300).table)
    with h5py.File(path) as file:
        chunk = file["df/block0_values"].id.get_chunk_info(4)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + 16] = bytes(16)
    path.write_bytes(bytes(content))
    source = open_features(LhcoFeaturesConfig("lhco_features", str(path)))
    with pytest.raises(InputError, match="readable rows 0 to 300"):
        source.read(10)


def test_the_published_events_are_all_usable(test_data) -> None:
    path = test_data("lhco/events_anomalydetection_v2.features.80k.h5")
    source = open_features(LhcoFeaturesConfig("lhco_features", str(path)))
    events = source.read(80_000)
    assert source.n_events == len(events) == 80_000
    assert (events.status == Status.GOOD).all()
    assert LHCO.in_support(events.x).all()
    assert events.label.sum() == 7212


def test_blosc_files_give_all_their_events(test_data) -> None:
    path = test_data("pythia/lhco_like_320k.features.h5")
    selection = SelectionConfig(first_row=200_000, end_row=240_000)
    source = open_features(LhcoFeaturesConfig("lhco_features", str(path), selection=selection))
    events = source.read(100_000)
    assert len(events) == 40_000
    assert LHCO.in_support(events.x).all()


def test_a_feature_file_is_told_by_its_columns(path: Path, jet_events) -> None:
    jet_events(5).frame().iloc[:, ::-1].to_hdf(path, key="df")
    assert is_lhco_features(path)


@pytest.mark.parametrize(
    ("n_columns", "expected"), [(13, False), (14, True), (15, True), (16, False), (2101, False)]
)
def test_numbered_columns_are_told_by_how_many_they_are(
    path, write_blosc, n_columns: int, expected: bool
) -> None:
    assert is_lhco_features(write_blosc(path, np.ones((20, n_columns)))) == expected


def test_a_file_of_the_observables_is_no_feature_file(path: Path) -> None:
    with open_sink(path, LHCO) as sink:
        sink.write(np.ones((3, 5), np.float32))
    assert not is_lhco_features(path)


@pytest.mark.parametrize("content", [None, b"", b"mjj,mJ1", b"\x89HDF\r\n\x1a\n" + bytes(99)])
def test_what_can_not_be_read_is_no_feature_file(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
    assert not is_lhco_features(path)
