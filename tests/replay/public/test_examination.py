"""A look at a file says which one it is, what it holds, and what is wrong with it."""

import hashlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from replay.public import catalogue as catalogue_module
from replay.public import examination
from replay.public.catalogue import PublicFile, find_public
from replay.public.download import Track
from replay.public.examination import Examination, examine
from replay.public.fetching import Checksum, published_checksum
from streams import InputError

FEATURES = find_public("lhco-features")
PARTICLES = find_public("lhco-particles")
KEY_FILE = find_public("lhco-blackbox3-key")


def silent(name: str) -> AbstractContextManager[Track]:
    return nullcontext(lambda *_: None)


def offline(public: PublicFile) -> Checksum:
    return published_checksum(public, None)


@pytest.fixture
def look(monkeypatch) -> Callable[..., Examination]:
    """Examines a file as if the catalogue said something else of the public one of its name."""

    def look(path: Path, public: PublicFile, **changes: object) -> Examination:
        changed = replace(public, **changes)  # type: ignore[arg-type]
        monkeypatch.setattr(examination, "public_file_of", lambda _: changed)
        return examine(path, offline, silent, silent)

    return look


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def features(tmp_path, jet_events) -> Path:
    path = tmp_path / FEATURES.file
    jet_events(40).frame().to_hdf(path, key="df")
    return path


@pytest.fixture
def particles(tmp_path, write_blosc, particle_table) -> Path:
    return write_blosc(tmp_path / PARTICLES.file, particle_table(20))


def test_a_sound_feature_file_is_called_sound(features, look, jet_events) -> None:
    seen = look(features, FEATURES, n_rows=40, md5=md5_of(features))
    assert seen.problems == ()
    assert (seen.content.kind, seen.content.n_rows) == ("features", 40)
    assert seen.content.n_signal == jet_events(40).label.sum()
    assert seen.content.columns[0] == "pxj1"
    assert seen.checksum.known_from == "catalogue"


def test_sound_particles_are_called_sound_without_clustering(
    particles, look, particle_table, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastjet", None)
    seen = look(particles, PARTICLES, n_rows=20)
    assert seen.problems == ()
    assert (seen.content.kind, seen.content.n_rows) == ("particles", 20)
    assert seen.content.n_signal == particle_table(20)[:, -1].sum()
    assert seen.digests.sha256 == hashlib.sha256(particles.read_bytes()).hexdigest()


def test_another_checksum_is_a_problem(features, look) -> None:
    seen = look(features, FEATURES, n_rows=40)
    assert len(seen.problems) == 1
    assert f"expected the published MD5 {FEATURES.md5}; got {md5_of(features)}" in seen.problems[0]


def test_another_size_than_zenodos_is_a_problem(features, monkeypatch) -> None:
    monkeypatch.setattr(examination, "public_file_of", lambda _: replace(FEATURES, n_rows=40))
    seen = examine(features, lambda _: Checksum(None, "zenodo", 7), silent, silent)
    assert seen.problems == (f"expected the published 7 bytes; got {seen.digests.nbytes:,}",)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"n_rows": 41}, "expected 41 events; got 40"),
        ({"kind": "particles"}, "expected particles; got features"),
        ({"has_label": False}, "expected no label column; got one"),
    ],
)
def test_what_the_catalogue_says_is_looked_at(features, look, changes, problem) -> None:
    seen = look(features, FEATURES, **({"n_rows": 40, "md5": None} | changes))
    assert seen.problems == (problem,)


def test_a_missing_label_is_a_problem(tmp_path, look, write_blosc, jet_events) -> None:
    path = write_blosc(tmp_path / "f.h5", jet_events(40).table)
    seen = look(path, FEATURES, n_rows=40, md5=None)
    assert seen.problems == ("expected a label column; got none",)


def test_a_file_is_known_by_its_checksum_under_any_name(features, monkeypatch) -> None:
    path = features.rename(features.with_name("mine.h5"))
    known = replace(FEATURES, md5=md5_of(path), n_rows=40)
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: (known,))
    seen = examine(path, offline, silent, silent)
    assert seen.public is known
    assert seen.problems == ()


def test_a_file_that_nobody_knows_is_described(tmp_path, jet_events) -> None:
    path = tmp_path / "mine.h5"
    jet_events(7).frame().to_hdf(path, key="df")
    seen = examine(path, offline, silent, silent)
    assert seen.public is None
    assert seen.problems == ()
    assert seen.content.n_rows == 7


def test_events_that_cannot_be_used_are_counted_and_no_problem(tmp_path, look, jet_events) -> None:
    events = jet_events(40)
    events.table[[5, 9], 0] = np.nan
    events.table[7, 3] = -50.0
    path = tmp_path / "f.h5"
    events.frame().to_hdf(path, key="df")
    seen = look(path, FEATURES, n_rows=40, md5=None)
    assert seen.problems == ()
    assert dict(seen.content.unusable) == {"not_a_number": 2, "negative": 1}
    assert seen.content.first_unusable == 5


def test_particles_that_make_no_sense_are_counted(
    tmp_path, look, write_blosc, particle_table
) -> None:
    table = particle_table(600)
    table[[300, 599], 0] = np.nan
    path = write_blosc(tmp_path / "p.h5", table)
    seen = look(path, PARTICLES, n_rows=600)
    assert dict(seen.content.unusable) == {"not_a_number": 2}
    assert seen.content.first_unusable == 300


def test_labels_that_are_none_are_a_problem(tmp_path, look, write_blosc, particle_table) -> None:
    table = particle_table(20)
    table[3, -1] = 7.0
    seen = look(write_blosc(tmp_path / "p.h5", table), PARTICLES, n_rows=20)
    assert "expected labels 0 or 1; got 7.0" in seen.problems[0]


def test_a_truncated_file_is_a_problem(features, look) -> None:
    features.write_bytes(features.read_bytes()[:5000])
    seen = look(features, FEATURES, md5=None)
    assert "expected an HDF5 file" in seen.problems[0]
    assert seen.content.kind is None


def test_another_layout_is_a_problem(tmp_path, look) -> None:
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["df"] = np.zeros((3, 15))
    assert "expected" in look(path, FEATURES, md5=None).problems[0]


def test_a_key_to_a_black_box_is_read(tmp_path, look) -> None:
    path = tmp_path / KEY_FILE.file
    path.write_text("0.0\n1.0\n2.0\n0.0\n")
    seen = look(path, KEY_FILE, n_rows=4)
    assert seen.problems == ()
    assert (seen.content.n_rows, seen.content.n_signal) == (4, 2)


@pytest.mark.parametrize("text", ["0\n3\n", "0\nnan\n", "zero\n", "\u00e9\n"])
def test_a_key_with_something_else_is_a_problem(tmp_path, look, text: str) -> None:
    path = tmp_path / KEY_FILE.file
    path.write_text(text)
    assert "label" in look(path, KEY_FILE).problems[0]


def test_a_missing_file_is_the_users_mistake(tmp_path) -> None:
    with pytest.raises(InputError, match="expected a readable file"):
        examine(tmp_path / "none.h5", offline, silent, silent)


@pytest.mark.parametrize(
    ("name", "n_rows", "n_signal"),
    [
        ("lhco/events_anomalydetection_tiny.h5", 1000, 93),
        ("lhco/events_anomalydetection_v2.features.80k.h5", 80_000, 7212),
        ("pythia/lhco_like_particles_5500.features.h5", 5500, 500),
    ],
)
def test_real_files_are_sound(test_data, name: str, n_rows: int, n_signal: int) -> None:
    seen = examine(test_data(name), offline, silent, silent)
    assert seen.problems == ()
    assert (seen.content.n_rows, seen.content.n_signal) == (n_rows, n_signal)
    assert seen.content.unusable == ()
