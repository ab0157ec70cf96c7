"""`onlineflows data` as users and scripts meet it."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

from onlineflows.cli import data as program
from onlineflows.cli import main
from replay.public.catalogue import catalogue, find_public
from replay.public.web import Patience
from replay.sources.hdf5 import JET_COLUMNS

PUBLIC = find_public("lhco-qqq-particles")
NO_SERVER = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch) -> None:
    monkeypatch.setattr(program, "Patience", lambda **_: Patience(tries=1))


@pytest.fixture
def particles(tmp_path: Path) -> Path:
    """Twenty events of two sprays of particles each, back to back, with a label."""
    rng = np.random.default_rng(1)
    events = np.zeros((20, 700, 3))
    side = np.arange(60) % 2
    events[:, :60, 0] = 4000 * rng.dirichlet(np.ones(60), 20)
    events[:, :60, 1] = rng.normal(0.5 * side, 0.2, (20, 60))
    events[:, :60, 2] = rng.normal(np.pi * side - np.pi / 2, 0.2, (20, 60))
    table = pd.DataFrame(np.column_stack([events.reshape(20, 2100), np.arange(20) % 2]))
    table.to_hdf(tmp_path / "particles.h5", key="df")
    return tmp_path / "particles.h5"


def record_of(content: bytes) -> bytes:
    md5 = hashlib.md5(content).hexdigest()
    file = {"key": PUBLIC.file, "size": len(content), "checksum": f"md5:{md5}"}
    return json.dumps({"files": [file], "metadata": {"license": {"id": "cc-by-4.0"}}}).encode()


def serve(file_server, content: bytes, **how: object) -> None:
    file_server.serve(f"/api/records/{PUBLIC.record.number}", record_of(content))
    file_server.serve(PUBLIC.url(""), content, **how)


def test_the_verbs_their_arguments_and_options_are_these() -> None:
    group = typer.main.get_command(main.data)
    found = {
        name: {p.opts[0] for p in command.params}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }
    assert found == {
        "list": {"--json"},
        "fetch": {"names", "--folder", "--server", "--overwrite", "--json", "--quiet"},
        "verify": {"paths", "--offline", "--server", "--json", "--quiet"},
        "convert": {
            *("particles", "features", "--jobs", "--key", "--jet-radius", "--min-leading-pt"),
            *("--overwrite", "--json", "--quiet"),
        },
    }


@pytest.mark.parametrize("verb", ["list", "fetch", "verify", "convert"])
def test_the_help_has_an_example(command, verb: str) -> None:
    assert f"Example: onlineflows data {verb}" in command("data", verb, "--help").out


def test_the_list_names_every_file(command) -> None:
    said = command("data", "list")
    assert said.code == 0
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(catalogue())]] == [
        public.name for public in catalogue()
    ]
    assert max(map(len, lines)) <= program.WIDTH


def test_the_list_as_json_has_all_that_is_known(command) -> None:
    first = command("data", "list", "--json").document["files"][0]
    assert first["name"] == "lhco-features"
    assert first["md5"] == "271cf5e71fc756b2a8d2b32730689bdb"
    assert first["url"].startswith("https://zenodo.org/api/records/6466204/files/")
    assert (first["config"], first["licence"]) == ("configs/lhco.toml", "CC-BY-4.0")


def test_a_file_is_fetched_and_compared_with_what_zenodo_says(
    command, file_server, particles, tmp_path
) -> None:
    content = particles.read_bytes()
    serve(file_server, content)
    folder = tmp_path / "files"
    folder.mkdir()
    said = command("data", "fetch", PUBLIC.name, "--folder", folder, "--server", file_server.url)
    assert said.code == 0
    assert (folder / PUBLIC.file).read_bytes() == content
    assert "as published (zenodo)" in said.out
    assert hashlib.sha256(content).hexdigest() in said.out
    assert f"onlineflows data convert {folder / PUBLIC.file}" in said.out


def test_a_fetched_file_as_json(command, file_server, tmp_path) -> None:
    serve(file_server, b"abc")
    options = ("--folder", tmp_path, "--server", file_server.url, "--json", "-q")
    (file,) = command("data", "fetch", PUBLIC.name, *options).document["files"]
    assert file["published_md5"] == file["md5"] == hashlib.md5(b"abc").hexdigest()
    assert not file["was_there"]


def test_a_checksum_that_nobody_knows_is_said_to_be_unknown(command, file_server, tmp_path) -> None:
    file_server.serve(PUBLIC.url(""), b"abc")
    said = command("data", "fetch", PUBLIC.name, "--folder", tmp_path, "--server", file_server.url)
    assert said.code == 0
    assert "compared with nothing: the catalogue has none, and Zenodo didn't tell" in said.out
    assert hashlib.sha256(b"abc").hexdigest() in said.out


def test_a_wrong_file_ends_with_1(command, file_server, tmp_path) -> None:
    serve(file_server, b"abc")
    file_server.files[PUBLIC.url("")].content = b"xyz"
    said = command("data", "fetch", PUBLIC.name, "--folder", tmp_path, "--server", file_server.url)
    assert (said.code, said.out) == (1, "")
    assert "error: expected the published MD5" in said.err
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_it_says_what_to_do(command, tmp_path) -> None:
    said = command("data", "fetch", "lhco-features", "--folder", tmp_path, "--server", NO_SERVER)
    assert (said.code, said.out) == (1, "")
    assert "is this machine connected to the network" in said.err
    assert "onlineflows data verify" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("name", ["lhco-feature", "features.h5"])
def test_an_unknown_name_ends_with_2_before_anything_is_fetched(refused, name: str) -> None:
    assert "onlineflows data list" in refused("data", "fetch", "lhco-features", name)


def test_an_absent_folder_ends_with_2(refused, tmp_path) -> None:
    assert "create it" in refused(
        "data", "fetch", "lhco-features", "--folder", tmp_path / "absent", "--server", NO_SERVER
    )


@pytest.mark.parametrize("words", [("fetch", "lhco-features"), ("verify", "file.h5")])
def test_a_server_without_an_address_ends_with_2(refused, words: tuple[str, ...]) -> None:
    assert "--server: expected an address" in refused("data", *words, "--server", "mirror")


def test_verify_finds_a_sound_file_sound(command, particles) -> None:
    said = command("data", "verify", particles)
    assert said.code == 0
    assert "particles: 20 events" in said.out
    assert "sound" in said.out


def test_verify_ends_with_1_where_a_file_is_not_what_it_should_be(
    command, particles, tmp_path
) -> None:
    wrong = tmp_path / "events_anomalydetection_v2.features.h5"
    columns = [*JET_COLUMNS, "label"]
    pd.DataFrame(np.ones((5, 15)), columns=columns).to_hdf(wrong, key="df")
    said = command("data", "verify", particles, wrong, "--json")
    assert said.code == 1
    sound, other = said.document["files"]
    assert sound["is_sound"]
    assert other["name"] == "lhco-features"
    assert not other["is_sound"]
    assert any("MD5" in problem for problem in other["problems"])
    assert "expected 1,100,000 events; got 5" in other["problems"]


def test_verify_asks_zenodo_unless_told_not_to(command, file_server, particles) -> None:
    path = particles.rename(particles.with_name(PUBLIC.file))
    serve(file_server, path.read_bytes())
    said = command("data", "verify", path, "--server", file_server.url, "--json")
    assert said.document["files"][0]["known_from"] == "zenodo"
    n_asked = len(file_server.asked)
    offline = command("data", "verify", path, "--server", file_server.url, "--offline")
    assert len(file_server.asked) == n_asked
    assert "Zenodo wasn't asked" in offline.out


def test_verify_of_no_file_ends_with_2(refused, tmp_path) -> None:
    assert "expected a readable file" in refused("data", "verify", tmp_path / "none.h5")


def test_particles_become_features_that_can_be_verified(command, particles, tmp_path) -> None:
    features = tmp_path / "features.h5"
    said = command("data", "convert", particles, features, "--jobs", 1, "--json")
    assert said.code == 0
    assert said.document["n_written"] == len(pd.read_hdf(features)) == 20
    assert said.document["left_out"] == {}
    assert said.document["events_per_s"] > 0
    assert command("data", "verify", features).code == 0


def test_what_is_left_out_is_printed(command, particles, tmp_path) -> None:
    options = ("--jobs", 1, "--min-leading-pt", 9000)
    said = command("data", "convert", particles, tmp_path / "f.h5", *options)
    assert "0 of 20 events" in said.out
    assert "left out: 20 soft_leading_jet" in said.out


def test_an_existing_feature_file_is_replaced_only_if_asked(
    command, refused, particles, tmp_path
) -> None:
    features = tmp_path / "features.h5"
    features.write_text("mine")
    assert "--overwrite" in refused("data", "convert", particles, features)
    assert features.read_text() == "mine"
    assert command("data", "convert", particles, features, "--jobs", 1, "--overwrite").code == 0
    assert len(pd.read_hdf(features)) == 20


def test_the_particles_are_never_overwritten(refused, particles) -> None:
    before = particles.read_bytes()
    said = refused("data", "convert", particles, particles, "--overwrite")
    assert "another file than PARTICLES" in said
    assert particles.read_bytes() == before


def test_particles_that_are_not_there_end_with_2(refused, tmp_path) -> None:
    features = tmp_path / "features.h5"
    features.touch()
    said = refused("data", "convert", tmp_path / "absent.h5", features, "--overwrite")
    assert "PARTICLES: expected a file that exists" in said


@pytest.mark.parametrize("name", ["features.root", "absent/features.h5"])
def test_an_impossible_feature_file_ends_with_2(refused, particles, tmp_path, name: str) -> None:
    refused("data", "convert", particles, tmp_path / name)


@pytest.mark.slow
def test_an_interrupted_fetch_goes_on(command, file_server, tmp_path) -> None:
    content = bytes(range(256)) * 4000
    serve(file_server, content, pause_s=0.005)
    words = ["data", "fetch", PUBLIC.name, "--folder", tmp_path, "--server", file_server.url]
    process = subprocess.Popen(
        [sys.executable, "-m", "onlineflows", *map(str, words)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    partial = tmp_path / f"{PUBLIC.file}.partial"
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s and not (partial.exists() and partial.stat().st_size):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the same command goes on" in said
    file_server.files[PUBLIC.url("")].pause_s = 0.0
    assert command(*words).code == 0
    assert (tmp_path / PUBLIC.file).read_bytes() == content
    assert file_server.ranges()[-1] is not None
