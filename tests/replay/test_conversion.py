"""Feature files from particles: the same events as the particle source's, in order, once."""

import json
import multiprocessing
import os
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from replay import conversion
from replay.clustered import NOTE, ROW
from replay.conversion import Conversion, convert
from replay.settings import LhcoFeaturesConfig, LhcoParticlesConfig
from replay.sources.hdf5 import JET_COLUMNS, open_features
from replay.sources.particles import open_particles
from streams import InputError, Status


class Stop(BaseException):
    """What kills a conversion in the middle."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch) -> None:
    monkeypatch.setattr(conversion, "BLOCK_ROWS", 8)


@pytest.fixture
def particles(folder, write_blosc, particle_table) -> Path:
    """Thirty events, among them two soft ones, one with a single jet and two bad ones."""
    table = particle_table(30)
    table[[4, 20], 0:2100:3] *= 0.4
    one_jet = table[9, :2100].reshape(700, 3)
    one_jet[:, 2] = np.where(one_jet[:, 0] > 0, 1.0, 0.0)
    table[11, 0] = np.nan
    table[25, :2100] = 0.0
    return write_blosc(folder / "particles.h5", table)


def run(particles: Path, features: Path, *, jobs: int = 1, **settings) -> Conversion:
    config = LhcoParticlesConfig("lhco_particles", str(particles), **settings)
    return convert(config, features, jobs=jobs, track=lambda *_: None)


def stop_after(n_rows: int):
    def track(done: int, total: int | None) -> None:
        if done >= n_rows:
            raise Stop

    return track


def interrupted(particles: Path, features: Path, n_rows: int, **settings) -> None:
    config = LhcoParticlesConfig("lhco_particles", str(particles), **settings)
    with pytest.raises(Stop):
        convert(config, features, jobs=1, track=stop_after(n_rows))


def test_the_feature_file_holds_the_events_that_the_particle_source_sends(
    particles, folder
) -> None:
    features = folder / "features.h5"
    run(particles, features)
    expected = open_particles(LhcoParticlesConfig("lhco_particles", str(particles))).read(30)
    got = open_features(LhcoFeaturesConfig("lhco_features", str(features))).read(30)
    good = expected.status == Status.GOOD
    assert 0 < good.sum() < 30
    np.testing.assert_array_equal(got.x, expected.x[good])
    np.testing.assert_array_equal(got.label, expected.label[good])
    assert (got.status == Status.GOOD).all()


def test_what_is_left_out_is_counted_by_reason(particles, folder) -> None:
    done = run(particles, folder / "features.h5")
    assert done.n_rows == 30
    assert done.left_out == {
        "fewer_than_two_jets": 1,
        "soft_leading_jet": 2,
        "not_a_number": 1,
        "no_particles": 1,
    }
    assert done.n_written + sum(done.left_out.values()) == done.n_rows


def test_pandas_reads_it_and_the_index_is_the_row_of_the_particle_file(particles, folder) -> None:
    run(particles, folder / "features.h5")
    frame = pd.read_hdf(folder / "features.h5")
    assert list(frame.columns) == [*JET_COLUMNS, "label"]
    assert set(frame.dtypes[:14]) == {np.dtype(np.float64)}
    assert sorted(set(range(30)) - set(frame.index)) == [4, 9, 11, 20, 25]
    assert frame.index.is_monotonic_increasing


def test_the_file_says_where_it_came_from(particles, folder) -> None:
    done = run(particles, folder / "features.h5", jet_radius=0.8)
    with h5py.File(folder / "features.h5") as file:
        note = json.loads(file.attrs[NOTE])
    assert (note["particles"], note["jet_radius"], note["n_rows"]) == ("particles.h5", 0.8, 30)
    assert (note["n_written"], note["left_out"]) == (done.n_written, done.left_out)


def test_several_processes_write_the_same_bytes(particles, folder) -> None:
    run(particles, folder / "one.h5")
    run(particles, folder / "two.h5", jobs=2)
    assert (folder / "one.h5").read_bytes() == (folder / "two.h5").read_bytes()


def test_files_without_labels_stay_without(folder, write_blosc, particle_table) -> None:
    particles = write_blosc(folder / "p.h5", particle_table(10)[:, :2100])
    assert not run(particles, folder / "features.h5").has_label
    assert list(pd.read_hdf(folder / "features.h5").columns) == list(JET_COLUMNS)


def test_the_threshold_and_the_radius_are_the_given_ones(particles, folder) -> None:
    assert run(particles, folder / "a.h5", min_leading_pt_gev=9000.0).n_written == 0
    all_hard = run(particles, folder / "b.h5", min_leading_pt_gev=0.0)
    assert "soft_leading_jet" not in all_hard.left_out
    run(particles, folder / "c.h5")
    run(particles, folder / "d.h5", jet_radius=0.2)
    assert (pd.read_hdf(folder / "d.h5")["mj1"].mean()) < pd.read_hdf(folder / "c.h5")["mj1"].mean()


def test_nothing_but_the_feature_file_is_left(particles, folder) -> None:
    run(particles, folder / "features.h5")
    assert sorted(p.name for p in folder.iterdir()) == ["features.h5", "particles.h5"]


def test_a_stopped_conversion_goes_on_where_it_was(particles, folder) -> None:
    interrupted(particles, folder / "features.h5", 16)
    assert not (folder / "features.h5").exists()
    assert run(particles, folder / "features.h5").n_resumed == 16
    run(particles, folder / "whole.h5")
    assert (folder / "features.h5").read_bytes() == (folder / "whole.h5").read_bytes()


def test_a_conversion_that_stops_before_the_first_event_leaves_nothing(particles, folder) -> None:
    interrupted(particles, folder / "features.h5", 0)
    assert [p.name for p in folder.iterdir()] == ["particles.h5"]


def test_progress_is_of_all_rows(particles, folder) -> None:
    seen: list[tuple[int, int | None]] = []
    config = LhcoParticlesConfig("lhco_particles", str(particles))
    convert(config, folder / "f.h5", jobs=1, track=lambda *done: seen.append(done))
    assert seen == [(0, 30), (8, 30), (16, 30), (24, 30), (30, 30)]


@pytest.mark.parametrize("n_lost", [1, 50, 200])
def test_rows_that_were_cut_off_are_done_again(particles, folder, n_lost: int) -> None:
    interrupted(particles, folder / "features.h5", 16)
    partial = folder / "features.h5.partial"
    os.truncate(partial, partial.stat().st_size - n_lost)
    assert run(particles, folder / "features.h5").n_resumed == 15 - n_lost // ROW.itemsize
    run(particles, folder / "whole.h5")
    assert (folder / "features.h5").read_bytes() == (folder / "whole.h5").read_bytes()


def test_rows_that_a_power_cut_left_empty_are_done_again(particles, folder) -> None:
    interrupted(particles, folder / "features.h5", 16)
    partial = folder / "features.h5.partial"
    content = bytearray(partial.read_bytes())
    content[3 * ROW.itemsize : 6 * ROW.itemsize] = bytes(3 * ROW.itemsize)
    partial.write_bytes(content)
    assert run(particles, folder / "features.h5").n_resumed == 3


@pytest.mark.parametrize("settings", [{"jet_radius": 0.8}, {"min_leading_pt_gev": 1000.0}])
def test_with_other_settings_it_begins_again(particles, folder, settings) -> None:
    interrupted(particles, folder / "features.h5", 16)
    assert run(particles, folder / "features.h5", **settings).n_resumed == 0


def test_with_another_particle_file_it_begins_again(particles, folder) -> None:
    interrupted(particles, folder / "features.h5", 16)
    os.utime(particles, ns=(1, 1))
    assert run(particles, folder / "features.h5").n_resumed == 0


def test_a_particle_file_that_changes_meanwhile_is_refused(particles, folder) -> None:
    config = LhcoParticlesConfig("lhco_particles", str(particles))

    def track(done: int, total: int | None) -> None:
        os.utime(particles, ns=(1, 1))

    with pytest.raises(InputError, match="expected the file as it was"):
        convert(config, folder / "features.h5", jobs=1, track=track)
    assert [p.name for p in folder.iterdir()] == ["particles.h5"]


def test_two_at_once_do_not_write_the_same_file(particles, folder) -> None:
    config = LhcoParticlesConfig("lhco_particles", str(particles))

    def again(done: int, total: int | None) -> None:
        with pytest.raises(InputError, match="another process that writes it"):
            run(particles, folder / "features.h5")

    convert(config, folder / "features.h5", jobs=1, track=again)


@pytest.mark.parametrize("name", ["features.npy", "features", "features.root"])
def test_other_formats_are_refused(particles, folder, name: str) -> None:
    with pytest.raises(InputError, match=r"ends in \.h5"):
        run(particles, folder / name)


def test_an_absent_folder_is_refused(particles, folder) -> None:
    with pytest.raises(InputError, match="expected an existing folder"):
        run(particles, folder / "absent" / "features.h5")


def test_a_feature_file_is_no_particle_file(folder, jet_events) -> None:
    jet_events(10).frame().to_hdf(folder / "f.h5", key="df")
    with pytest.raises(InputError, match="is it a feature file"):
        run(folder / "f.h5", folder / "features.h5")


def test_a_full_disk_keeps_what_was_done(particles, folder, monkeypatch) -> None:
    def fail(temporary: Path, path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("replay.clustered.complete", fail)
        with pytest.raises(InputError, match=r"No space left.*what was done is kept"):
            run(particles, folder / "features.h5")
    assert not any(p.name.startswith(".") for p in folder.iterdir())
    assert run(particles, folder / "features.h5").n_resumed == 30


def test_a_process_that_is_killed_is_told_and_costs_nothing(particles, folder) -> None:
    config = LhcoParticlesConfig("lhco_particles", str(particles))

    def kill_after_the_first_block(done: int, total: int | None) -> None:
        if done:
            for child in multiprocessing.active_children():
                child.kill()

    with pytest.raises(InputError, match="got one that was killed"):
        convert(config, folder / "features.h5", jobs=2, track=kill_after_the_first_block)
    assert run(particles, folder / "features.h5").n_resumed >= 8


@pytest.mark.slow
def test_the_reference_features_are_reproduced_from_their_particles(
    test_data, folder, monkeypatch
) -> None:
    monkeypatch.setattr(conversion, "BLOCK_ROWS", 256)
    particles = test_data("pythia/lhco_like_particles_5500.h5")
    expected = pd.read_hdf(test_data("pythia/lhco_like_particles_5500.features.h5"))
    done = run(particles, folder / "features.h5")
    got = pd.read_hdf(folder / "features.h5")
    assert Counter(done.left_out) == {}
    assert list(got.columns) == list(expected.columns)
    difference = (got - expected).abs().max()
    # The particles were stored in float32: relative precision 6e-8, of momenta up to some TeV.
    is_tau = [name.startswith("tau") for name in got.columns]
    assert difference[is_tau].max() < 1e-7
    assert difference[[not tau for tau in is_tau]].max() < 3e-4  # GeV
    np.testing.assert_array_equal(got["label"], expected["label"])
