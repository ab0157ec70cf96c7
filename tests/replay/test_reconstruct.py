"""Jets and N-subjettiness against events that can be computed by hand, and published ones."""

import sys

import h5py
import hdf5plugin  # noqa: F401 (registers Blosc)
import numpy as np
import pytest

from replay.reconstruct import Particles, dijet_features, load_fastjet
from replay.sources.particles import unpad
from streams import InputError


def features(*events: list[tuple[float, float, float]]) -> np.ndarray:
    flat = np.array([particle for event in events for particle in event]).reshape(-1, 3)
    counts = np.array([len(event) for event in events])
    return dijet_features(Particles(flat[:, 0], flat[:, 1], flat[:, 2], counts), jet_radius=1.0)


def test_two_particles_far_apart_are_two_jets_the_harder_first() -> None:
    jets = features([(100.0, 0.0, 1.0), (300.0, 0.5, -2.0)])
    np.testing.assert_allclose(
        jets[0, :3], [300 * np.cos(-2), 300 * np.sin(-2), 300 * np.sinh(0.5)]
    )
    np.testing.assert_allclose(jets[0, 7:9], [100 * np.cos(1), 100 * np.sin(1)])


def test_near_particles_are_one_jet_with_their_invariant_mass() -> None:
    jets = features([(100.0, 0.1, 0.0), (50.0, -0.1, 0.3)])
    mass2 = 2 * 100 * 50 * (np.cosh(0.2) - np.cos(0.3))
    assert jets[0, 3] == pytest.approx(np.sqrt(mass2))
    assert np.isnan(jets[0, 7:]).all()


def test_a_jet_of_one_particle_has_no_substructure() -> None:
    jets = features([(100.0, 0.0, 0.0), (90.0, 0.0, 3.0)])
    assert jets[0, 4:7].tolist() == [0, 0, 0]


def test_two_prongs_have_a_tau1_and_no_tau2() -> None:
    # One axis: the jet's own direction, from adding the momenta.
    one, two = np.array([200.0, 0.0, 0.2]), np.array([200.0, 0.0, -0.2])
    jets = features([tuple(one), tuple(two)])
    assert jets[0, 4] == pytest.approx(0.2)
    assert jets[0, 5:7].tolist() == [0, 0]


def test_tau2_of_three_particles_is_the_distance_to_the_nearest_subjet() -> None:
    # The two soft ones are the nearer pair in kT and merge; equal pT puts the axis between them.
    jets = features([(500.0, 0.0, 0.5), (50.0, 0.0, -0.1), (50.0, 0.0, -0.2)])
    assert jets[0, 5] == pytest.approx(100 * 0.05 / 600)


def test_an_event_without_particles_has_no_jets() -> None:
    jets = features([], [(100.0, 0.0, 0.0), (90.0, 0.0, 3.0)], [])
    assert np.isnan(jets[[0, 2]]).all()
    assert np.isfinite(jets[1]).all()


def test_no_particles_at_all_are_no_jets() -> None:
    assert np.isnan(features([], [])).all()


def test_soft_particles_are_no_jets() -> None:
    assert np.isnan(features([(1.0, 0.0, 0.0), (2.0, 0.0, 3.0)])).all()


def test_nothing_is_printed(capfd) -> None:
    features([(100.0, 0.0, 0.0), (90.0, 0.0, 3.0)])
    assert capfd.readouterr() == ("", "")


def test_a_missing_fastjet_is_named_with_its_remedy(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "fastjet", None)
    with pytest.raises(InputError, match=r"pip install .onlineflows\[particles\]"):
        load_fastjet()


def read(path, n: int) -> np.ndarray:
    with h5py.File(path) as file:
        return file["df/block0_values"][:n]


def reconstructed(path, n: int) -> np.ndarray:
    particles, reasons = unpad(read(path, n)[:, :2100].reshape(-1, 700, 3))
    assert not reasons.any()
    return dijet_features(particles, jet_radius=1.0)


def test_the_features_of_generated_events_are_reproduced_from_their_particles(test_data) -> None:
    expected = read(test_data("pythia/lhco_like_particles_5500.features.h5"), 400)[:, :14]
    got = reconstructed(test_data("pythia/lhco_like_particles_5500.h5"), 400)
    # The particles were stored in float32 for compression: relative precision 6e-8 of TeV.
    np.testing.assert_allclose(got[:, :4], expected[:, :4], atol=5e-4)
    np.testing.assert_allclose(got[:, 7:11], expected[:, 7:11], atol=5e-4)
    np.testing.assert_allclose(got[:, 4:7], expected[:, 4:7], atol=1e-6)
    np.testing.assert_allclose(got[:, 11:14], expected[:, 11:14], atol=1e-6)


def test_the_published_jets_are_reproduced_from_the_published_particles(test_data) -> None:
    # Momenta and masses agree; the published tau_N were made with other axes.
    expected = read(test_data("lhco/events_anomalydetection_v2.features.80k.h5"), 400)
    got = reconstructed(test_data("lhco/events_anomalydetection_tiny.h5"), 400)
    np.testing.assert_allclose(got[:, :3], expected[:, :3], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(got[:, 7:10], expected[:, 7:10], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(got[:, [3, 10]], expected[:, [3, 10]], atol=1e-4)
    assert (np.hypot(got[:, 0], got[:, 1]) >= np.hypot(got[:, 7], got[:, 8])).all()
