"""Which events a path means, and which configuration a run goes by."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from onlineflows.cli.config import Config, load_config
from onlineflows.cli.events import CHUNK_EVENTS, collected, configured, good_events, open_events
from onlineflows.config import to_dict
from onlineflows.errors import ConfigError
from replay.prescales import Prescaler
from replay.settings import LhcoFeaturesConfig, PrescaleConfig, StandinConfig
from replay.sinks import open_sink
from replay.sources.hdf5 import JET_COLUMNS, FeatureReader
from replay.sources.standin import StandinSource
from streams import LHCO, Events, EventSchema, Feature, InputError, SchemaError, SourceFile

OTHER = EventSchema((Feature("m", "GeV", 0, 1), Feature("t", "", 0, 1)))


class Listed:
    """A source of events in memory: event i holds the number i; says which reads it was asked."""

    def __init__(self, status: Sequence[int], *, has_label: bool = False, step: int = 10) -> None:
        self.schema = OTHER
        self.n_events = len(status)
        self.files: tuple[SourceFile, ...] = ()
        self.is_closed = False
        self.asked: list[int] = []
        self._status = np.array(status, dtype=np.uint8)
        self._has_label = has_label
        self._step = step
        self._at = 0

    def read(self, n: int) -> Events:
        self.asked.append(n)
        status = self._status[self._at : self._at + min(n, self._step)]
        number = np.arange(self._at, self._at + len(status))
        x = np.column_stack([number, number]).astype(np.float32)
        label = (number % 2).astype(np.uint8) if self._has_label else None
        events = Events(self._at, x, status, label)
        self._at += len(status)
        return events

    def seek(self, index: int) -> None:
        self._at = index

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory whose stream is the stand-in with seed 9, and a snapshot in it."""
    folder = tmp_path / "runs" / "mine"
    (folder / "snapshots" / "000001").mkdir(parents=True)
    source = ["source.type=standin", "source.seed=9"]
    config = load_config(None, ["run.name=mine", *source, "flow.blocks=5"])
    (folder / "config.json").write_text(json.dumps(to_dict(config)))
    return folder


@pytest.fixture
def x() -> NDArray[np.float32]:
    return np.random.default_rng(1).random((50, 5), dtype=np.float32)


def write_config(folder: Path, source: str) -> Path:
    path = folder / "other.toml"
    path.write_text(f"[source]\n{source}\n")
    return path


@pytest.mark.parametrize("inside", ["", "snapshots/000001"])
def test_a_run_goes_by_its_own_configuration(run: Path, inside: str) -> None:
    config = configured(run / inside, None, [])
    assert (config.source, config.flow.blocks) == (StandinConfig(seed=9), 5)


def test_overrides_change_a_runs_configuration(run: Path) -> None:
    config = configured(run, None, ["source.seed=2", "validate.signal_region=[3.4, 3.6]"])
    assert (config.source, config.flow.blocks) == (StandinConfig(seed=2), 5)
    assert config.validate.signal_region == (3.4, 3.6)


def test_a_toml_file_replaces_a_runs_configuration(run: Path, tmp_path: Path) -> None:
    config = configured(run, write_config(tmp_path, "seed = 3\ntype = 'standin'"), ["flow.bins=4"])
    assert config.source == StandinConfig(seed=3)
    assert (config.flow.blocks, config.flow.bins) == (Config().flow.blocks, 4)


def test_everything_else_than_its_source_is_kept_beside_a_data_file(run: Path) -> None:
    assert configured(run, Path("events.h5"), []).flow.blocks == 5


def test_a_snapshot_alone_needs_to_be_told_where_events_come_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"snapshot inside its run directory.*--data CONFIG"):
        configured(tmp_path, None, [])


def test_a_snapshot_alone_takes_the_defaults_beside_a_data_file(tmp_path: Path) -> None:
    assert configured(tmp_path, Path("events.h5"), []) == Config()


@pytest.mark.parametrize("override", ["flow.bloks=3", "flow"])
def test_a_wrong_override_of_a_run_is_refused(run: Path, override: str) -> None:
    with pytest.raises(ConfigError, match="the run's configuration: 1 error"):
        configured(run, None, [override])


def test_a_damaged_run_configuration_is_refused(run: Path) -> None:
    (run / "config.json").write_text('{"flow":')
    with pytest.raises(ConfigError, match=r"config\.json: expected JSON"):
        configured(run, None, [])


def test_a_toml_file_opens_its_source(tmp_path: Path) -> None:
    path = write_config(tmp_path, "type = 'standin'\nn_events = 30")
    source = open_events(path, LHCO, ["source.n_events=20"])
    assert source.n_events == 20
    assert source.schema == LHCO


def test_a_feature_file_is_turned_into_observables(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    table = np.random.default_rng(1).uniform(1, 2000, (20, 14))
    pd.DataFrame(table, columns=list(JET_COLUMNS)).to_hdf(path, key="df")
    reader = FeatureReader(path, LhcoFeaturesConfig("lhco_features", str(path)).key)
    np.testing.assert_array_equal(collected(open_events(path, LHCO)).x, reader.read_rows(0, 20).x)
    reader.close()


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".parquet", ".root"])
def test_a_table_holds_the_schemas_own_columns(tmp_path: Path, x, suffix: str) -> None:
    path = tmp_path / f"events{suffix}"
    with open_sink(path, LHCO) as sink:
        sink.write(x, np.ones(50, np.uint8))
    events = collected(open_events(path, LHCO))
    np.testing.assert_array_equal(events.x, x)
    assert events.label is not None
    assert events.label.all()


def test_events_of_another_schema_are_refused(tmp_path: Path) -> None:
    path = write_config(tmp_path, "type = 'standin'")
    with pytest.raises(SchemaError, match=r"other\.toml: the schemas differ"):
        open_events(path, OTHER)


def test_a_path_that_means_no_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.npy, \.h5.*\[source\] of a TOML file"):
        open_events(tmp_path / "events.csv", LHCO)


def test_only_good_events_are_yielded_with_their_labels() -> None:
    chunks = list(good_events(Listed([0, 1, 2, 0, 0, 2], has_label=True, step=3)))
    assert [chunk.x[:, 0].tolist() for chunk in chunks if len(chunk.x)] == [[0], [3, 4]]
    labels = [chunk.label.tolist() for chunk in chunks if chunk.label is not None]
    assert labels[:2] == [[0], [1, 0]]


def test_as_many_event_indices_are_read_as_asked_for() -> None:
    source = Listed([0, 1] * 20)
    assert np.concatenate([c.x for c in good_events(source, 25)])[-1, 0] == 24
    assert source.asked == [25, 15, 5]


def test_a_source_is_read_in_chunks() -> None:
    source = Listed([0] * 5)
    list(good_events(source))
    assert set(source.asked) == {CHUNK_EVENTS}


@pytest.mark.parametrize("status", [[], [1, 2, 1]])
def test_without_good_events_an_empty_chunk_comes(status: list[int]) -> None:
    chunks = list(good_events(Listed(status)))
    assert chunks
    assert all(chunk.x.shape == (0, 2) for chunk in chunks)


def test_what_is_collected_is_what_is_yielded_and_the_source_is_closed() -> None:
    source = Listed([0, 1, 0, 0, 0], has_label=True, step=2)
    events = collected(source)
    assert events.x[:, 0].tolist() == [0, 2, 3, 4]
    assert events.label is not None
    assert events.label.tolist() == [0, 0, 1, 0]
    assert source.is_closed


def test_events_without_labels_are_collected_without() -> None:
    assert collected(Listed([0, 0])).label is None


def test_a_source_is_closed_when_it_can_not_be_read_on() -> None:
    class Damaged(Listed):
        def read(self, n: int) -> Events:
            raise InputError("damaged")

    source = Damaged([0])
    with pytest.raises(InputError, match="damaged"):
        collected(source)
    assert source.is_closed


def test_what_a_prescale_has_left_out_is_left_out_again() -> None:
    prescaler = Prescaler((PrescaleConfig("all", keep=3),), LHCO, seed=5)
    config = StandinConfig(n_events=200_000, seed=5)
    whole = StandinSource(config).read(200_000).x
    keep = prescaler.choose(np.arange(200_000), whole)[1]
    found = collected(StandinSource(config), prescaler=prescaler).x
    np.testing.assert_array_equal(found, whole[keep])
