"""Every source keeps the promise of streams.Source: the same events at the same indices."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from replay.settings import (
    LhcoFeaturesConfig,
    LhcoParticlesConfig,
    RootConfig,
    RootFeatureConfig,
    SelectionConfig,
    SourceConfig,
    StandinConfig,
)
from replay.sinks import open_sink
from replay.sources import open_source
from replay.sources.table import open_table
from streams import LHCO, Events, InputError, Source, Status

SHUFFLED = SelectionConfig(first_row=10, end_row=390, shuffle=True, seed=3)
THINNED = SelectionConfig(signal_fraction=0.05, shuffle=True, seed=4)
NAMES = [
    "features",
    "features_shuffled",
    "features_thinned",
    "features_several_files",
    "features_blosc_no_label",
    "particles",
    "particles_shuffled",
    "tree_dijet",
    "tree_shuffled_thinned",
    "rntuple_dijet",
    "rntuple_expressions",
    "standin",
    "table_npy",
    "table_h5",
    "table_parquet",
    "table_root",
]


def open_any(config: SourceConfig | Path) -> Source:
    """Opens a configured source, or a table of the LHCO observables by its path."""
    return open_table(config, LHCO) if isinstance(config, Path) else open_source(config)


def write_table(path: Path) -> Path:
    rng = np.random.default_rng(2)
    with open_sink(path, LHCO) as sink:
        for n in (150, 1, 249):
            sink.write(rng.random((n, 5), dtype=np.float32), rng.integers(0, 2, n, dtype=np.uint8))
    return path


@pytest.fixture(scope="module")
def configs(
    tmp_path_factory, jet_events, particle_table, write_blosc, write_tree, write_rntuple
) -> dict[str, SourceConfig | Path]:
    folder: Path = tmp_path_factory.mktemp("sources")
    events = jet_events(400)
    one, two = str(folder / "one.h5"), str(folder / "two.h5")
    events.frame().to_hdf(one, key="df")
    events.frame()[:150].to_hdf(two, key="df")
    bare = str(write_blosc(folder / "bare.h5", events.table))
    particles = str(write_blosc(folder / "particles.h5", particle_table(40)))
    tree = str(write_tree(folder / "tree.root", events))
    rntuple = str(write_rntuple(folder / "rntuple.root", events))
    met = RootFeatureConfig("mjj", "mass(FatJet[0], FatJet[1])"), RootFeatureConfig("met", "met")
    return {
        "features": LhcoFeaturesConfig("lhco_features", one),
        "features_shuffled": LhcoFeaturesConfig("lhco_features", one, selection=SHUFFLED),
        "features_thinned": LhcoFeaturesConfig("lhco_features", one, selection=THINNED),
        "features_several_files": LhcoFeaturesConfig(
            "lhco_features", (two, one), selection=SelectionConfig(first_row=140, end_row=300)
        ),
        "features_blosc_no_label": LhcoFeaturesConfig("lhco_features", (bare,)),
        "particles": LhcoParticlesConfig("lhco_particles", (particles,)),
        "particles_shuffled": LhcoParticlesConfig(
            "lhco_particles", (particles,), selection=SelectionConfig(shuffle=True)
        ),
        "tree_dijet": RootConfig("root", (tree,), dijet="FatJet", label="isSignal"),
        "tree_shuffled_thinned": RootConfig(
            "root", (tree,), dijet="FatJet", label="isSignal", selection=THINNED
        ),
        "rntuple_dijet": RootConfig("root", (rntuple,), dijet="FatJet", cut="met > 20"),
        "rntuple_expressions": RootConfig("root", (rntuple,), features=met),
        "standin": StandinConfig(n_events=500, signal_fraction=0.1),
        "table_npy": write_table(folder / "table.npy"),
        "table_h5": write_table(folder / "table.h5"),
        "table_parquet": write_table(folder / "table.parquet"),
        "table_root": write_table(folder / "table.root"),
    }


@pytest.fixture(params=NAMES)
def config(request, configs) -> SourceConfig | Path:
    return configs[request.param]


@pytest.fixture
def source(config: SourceConfig | Path) -> Iterator[Source]:
    opened = open_any(config)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def whole_of() -> Callable[[SourceConfig | Path], Events]:
    known: dict[SourceConfig | Path, Events] = {}

    def read(config: SourceConfig | Path) -> Events:
        if config not in known:
            source = open_any(config)
            known[config] = read_all(source, lambda: 100_000)
            source.close()
        return known[config]

    return read


@pytest.fixture
def whole(config: SourceConfig, whole_of: Callable[[SourceConfig | Path], Events]) -> Events:
    """All events of the source, read with one large request after the other."""
    return whole_of(config)


def read_all(source: Source, size: Callable[[], int]) -> Events:
    parts = []
    while len(part := source.read(size())):
        parts.append(part)
    label = None
    if parts[0].label is not None:
        label = np.concatenate([part.label for part in parts if part.label is not None])
    return Events(
        parts[0].first_event,
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.status for part in parts]),
        label,
    )


def require_same(got: Events, expected: Events, start: int = 0) -> None:
    part = slice(start, start + len(got))
    good = expected.status[part] == Status.GOOD
    np.testing.assert_array_equal(got.status, expected.status[part])
    np.testing.assert_array_equal(got.x[good], expected.x[part][good])
    assert (got.label is None) == (expected.label is None)
    if got.label is not None:
        np.testing.assert_array_equal(got.label, expected.label[part])


def test_it_is_a_source(source: Source) -> None:
    assert isinstance(source, Source)


def test_there_are_as_many_events_as_announced(source: Source, whole: Events) -> None:
    assert source.n_events == len(whole) > 0


@pytest.mark.parametrize("size", [1, 7, 64])
def test_events_do_not_depend_on_the_sizes_of_the_reads(source, whole: Events, size: int) -> None:
    require_same(read_all(source, lambda: size), whole)


def test_events_do_not_depend_on_seeks(source: Source, whole: Events) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        index = int(rng.integers(0, len(whole)))
        source.seek(index)
        events = source.read(int(rng.integers(1, 90)))
        assert events.first_event == index
        require_same(events, whole, index)


def test_each_read_begins_where_the_last_one_ended(source: Source) -> None:
    first = source.read(9)
    assert first.first_event == 0
    assert source.read(9).first_event == len(first)


def test_a_read_never_returns_more_than_asked_for(source: Source) -> None:
    assert 0 < len(source.read(13)) <= 13


def test_after_the_end_nothing_comes(source: Source, whole: Events) -> None:
    source.seek(len(whole))
    assert len(source.read(10)) == 0
    assert len(source.read(10)) == 0


@pytest.mark.parametrize("index", [-1, 10_000_000])
def test_seeking_outside_is_refused_and_changes_nothing(source: Source, index: int) -> None:
    source.read(5)
    with pytest.raises(InputError, match=str(index)):
        source.seek(index)
    assert source.read(1).first_event == 5


def test_events_have_the_schema_of_the_source(source: Source) -> None:
    assert source.read(20).x.shape[1] == source.schema.n_features


def test_good_events_are_finite(source: Source, whole: Events) -> None:
    good = whole.x[whole.status == Status.GOOD]
    assert len(good) > 0
    assert np.isfinite(good).all()


def test_labels_are_zero_or_one(whole: Events) -> None:
    label = np.zeros(0, np.uint8) if whole.label is None else whole.label
    assert label.dtype == np.uint8
    assert set(np.unique(label)) <= {0, 1}


def test_events_can_not_be_written_to(source: Source) -> None:
    assert not source.read(3).x.flags.writeable


def test_a_read_leaves_earlier_events_alone(source: Source, whole: Events) -> None:
    first = source.read(30)
    source.read(200)
    source.close()
    require_same(first, whole)


def test_closing_twice_is_harmless(source: Source) -> None:
    source.close()
    source.close()


def test_files_are_described_by_their_digests(source: Source, config: SourceConfig | Path) -> None:
    if isinstance(config, StandinConfig):
        assert source.files == ()
        return
    given = config if isinstance(config, Path) else config.paths
    paths = given if isinstance(given, tuple) else (given,)
    expected = [
        (Path(p).name, Path(p).stat().st_size, hashlib.sha256(Path(p).read_bytes()).hexdigest())
        for p in paths
    ]
    assert [(f.name, f.nbytes, f.sha256) for f in source.files] == expected
