"""The catalogue is complete, and every file in it can be found."""

import re
from pathlib import Path

import pytest

from onlineflows.cli.config import load_config
from replay.public.catalogue import (
    PublicFile,
    catalogue,
    find_public,
    public_file_of,
    public_file_with,
)
from replay.settings import LhcoFeaturesConfig, LhcoParticlesConfig
from streams import InputError

ROOT = Path(__file__).parents[3]
FILES = pytest.mark.parametrize("public", catalogue(), ids=lambda p: p.name)
READERS = {"features": LhcoFeaturesConfig, "particles": LhcoParticlesConfig}


def test_names_and_files_are_unique() -> None:
    known = [name for p in catalogue() for name in (p.name, p.file)]
    assert len(set(known)) == len(known)


@FILES
def test_a_file_is_found_by_both_its_names(public: PublicFile, tmp_path) -> None:
    assert find_public(public.name) is public
    assert find_public(public.file) is public
    assert public_file_of(tmp_path / public.file) is public


@FILES
def test_an_entry_is_of_the_form_that_programs_expect(public: PublicFile) -> None:
    assert re.fullmatch(r"[a-z0-9-]+", public.name)
    assert public.kind in {"features", "particles", "labels"}
    assert public.md5 is None or re.fullmatch(r"[0-9a-f]{32}", public.md5)
    assert public.n_rows is None or public.n_rows > 0
    assert public.about


@FILES
def test_the_configuration_that_reads_it_reads_its_kind(public: PublicFile) -> None:
    if public.kind == "labels":
        assert public.config == ""
    else:
        assert isinstance(load_config(ROOT / public.config).source, READERS[public.kind])


def test_a_file_is_found_by_its_checksum() -> None:
    public = find_public("lhco-features")
    assert public.md5 is not None
    assert public_file_with(public.md5) is public
    assert public_file_with("0" * 32) is None


def test_an_address_is_below_any_server() -> None:
    public = find_public("lhco-qqq-features")
    tail = "/api/records/6466204/files/events_anomalydetection_Z_XY_qqq.features.h5/content"
    assert public.url() == f"https://zenodo.org{tail}"
    assert public.url("http://mirror/") == f"http://mirror{tail}"


@pytest.mark.parametrize("name", ["lhco-feature", "", "folder/lhco-features", "events.h5"])
def test_an_unknown_name_is_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(InputError, match="onlineflows data list"):
        find_public(name)
