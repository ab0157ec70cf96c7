"""Particle-level files: what is selected, what is bad, and the real events."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from replay.settings import LhcoFeaturesConfig, LhcoParticlesConfig
from replay.sources.hdf5 import open_features
from replay.sources.particles import ParticleReader, open_particles, unpad
from streams import InputError, Status


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "particles.h5"


def reader(path: Path, **settings) -> ParticleReader:
    return ParticleReader(path, LhcoParticlesConfig("lhco_particles", str(path), **settings))


def test_events_with_two_hard_jets_are_selected(path, write_blosc, particle_table) -> None:
    write_blosc(path, particle_table(10))
    rows = reader(path).read_rows(0, 10)
    assert (rows.status == Status.GOOD).all()
    # Two back-to-back sprays that share 4 TeV of transverse momentum.
    assert (np.abs(rows.x[:, 0] - 4.0) < 1.0).all()


@pytest.mark.parametrize("has_label", [True, False])
def test_the_label_is_the_last_column_if_there_is_one(
    path, write_blosc, particle_table, has_label: bool
) -> None:
    table = particle_table(10)
    opened = reader(write_blosc(path, table if has_label else table[:, :2100]))
    assert opened.has_label == has_label
    label = opened.read_rows(0, 10).label
    assert (label is None) if not has_label else label.tolist() == table[:, 2100].tolist()


def test_zlib_files_are_read_alike(path, write_blosc, particle_table, tmp_path) -> None:
    table = particle_table(10)
    write_blosc(path, table)
    other = tmp_path / "zlib.h5"
    pd.DataFrame(table).to_hdf(other, key="df", complib="zlib", complevel=5)
    np.testing.assert_array_equal(reader(path).read_rows(0, 10).x, reader(other).read_rows(0, 10).x)


def test_soft_events_are_not_selected(path, write_blosc, particle_table) -> None:
    table = particle_table(10)
    table[::2, 0:2100:3] *= 0.4
    status = reader(write_blosc(path, table)).read_rows(0, 10).status
    assert status.tolist() == [Status.NOT_SELECTED, Status.GOOD] * 5


def test_the_threshold_is_the_configured_one(path, write_blosc, particle_table) -> None:
    write_blosc(path, particle_table(10))
    status = reader(path, min_leading_pt_gev=5000.0).read_rows(0, 10).status
    assert (status == Status.NOT_SELECTED).all()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda event: event.fill(0.0), Status.NO_PARTICLES),
        (lambda event: event.__setitem__(0, np.nan), Status.NOT_A_NUMBER),
        (lambda event: event.__setitem__(1, np.inf), Status.INFINITE),
        (lambda event: event.__setitem__(1, 1e6), Status.TOO_LARGE),
        (lambda event: event.__setitem__(2, np.nan), Status.NOT_A_NUMBER),
        (lambda event: event.__setitem__(0, -1.0), Status.NEGATIVE),
    ],
    ids=["empty", "nan_pt", "infinite_eta", "huge_eta", "nan_phi", "negative_pt"],
)
def test_events_that_make_no_sense_are_bad_and_harm_no_other(
    path, write_blosc, particle_table, damage, reason
) -> None:
    table = particle_table(5)
    clean = reader(write_blosc(path, table)).read_rows(0, 5)
    damage(table[2, :2100])
    rows = reader(write_blosc(path.with_name("damaged.h5"), table)).read_rows(0, 5)
    assert rows.status[2] == reason
    assert np.flatnonzero(rows.status >= Status.BAD_INPUT).tolist() == [2]
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(rows.x[others], clean.x[others])


def test_only_kept_events_are_returned(path, write_blosc, particle_table) -> None:
    opened = reader(write_blosc(path, particle_table(10)))
    keep = np.arange(10) % 3 == 0
    np.testing.assert_array_equal(opened.read_rows(0, 10, keep).x, opened.read_rows(0, 10).x[keep])


def test_all_700_places_may_be_used() -> None:
    events = np.ones((1, 700, 3))
    particles, reasons = unpad(events)
    assert not reasons.any()
    assert particles.counts.tolist() == [700]


@pytest.mark.parametrize("n_columns", [15, 2099, 2102])
def test_a_wrong_number_of_columns_is_refused(path, write_blosc, n_columns: int) -> None:
    write_blosc(path, np.ones((5, n_columns)))
    with pytest.raises(InputError, match=f"expected 2100 columns.*got {n_columns}"):
        reader(path)


def test_the_published_particles_give_the_mjj_of_the_published_features(test_data) -> None:
    particles = open_particles(
        LhcoParticlesConfig(
            "lhco_particles", str(test_data("lhco/events_anomalydetection_tiny.h5"))
        )
    )
    features = open_features(
        LhcoFeaturesConfig(
            "lhco_features", str(test_data("lhco/events_anomalydetection_v2.features.80k.h5"))
        )
    )
    got, expected = particles.read(1000), features.read(1000)
    assert (got.status == Status.GOOD).all()
    np.testing.assert_array_equal(got.label, expected.label)
    np.testing.assert_allclose(got.x[:, :3], expected.x[:, :3], rtol=1e-5, atol=1e-6)
    # tau21 was published with other axes: alike, not equal.
    assert np.quantile(np.abs(got.x[:, 3:] - expected.x[:, 3:]), 0.5) < 0.02
