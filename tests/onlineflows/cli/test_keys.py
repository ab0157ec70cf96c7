"""`onlineflows keys` and `inspect --verify`: made, shown, admitted, and what a signature says."""

import shutil
from pathlib import Path

import pytest

from onlineflows.cli.config import load_config, public_config
from onlineflows.errors import ConfigError
from onlineflows.online.manifest import MANIFEST_FILE
from onlineflows.online.seal import sealed, unsealed
from onlineflows.online.signature import SIGNATURE_FILE, Signer
from streams.keyfiles import read_allowed, read_public, read_secret
from streams.security import curve_public


@pytest.fixture
def folder(command, tmp_path: Path) -> Path:
    for name, kind in (("producer", ()), ("signer", ("--signing",))):
        assert command("keys", "make", name, "--folder", tmp_path / "keys", *kind).code == 0
    return tmp_path / "keys"


def test_a_pair_for_the_wire_fits_together(folder: Path) -> None:
    secret = read_secret(folder / "producer.secret", "curve")
    assert curve_public(secret) == read_public(folder / "producer.public", "curve")


def test_a_pair_for_signatures_fits_together(folder: Path) -> None:
    secret = read_secret(folder / "signer.secret", "ed25519")
    assert Signer(secret).public == read_public(folder / "signer.public", "ed25519")


def test_no_secret_is_ever_printed(command, tmp_path: Path) -> None:
    said = command("keys", "make", "a", "--folder", tmp_path, "--json")
    assert read_secret(tmp_path / "a.secret", "curve").hex() not in said.out + said.err
    assert said.document["key"] == read_public(tmp_path / "a.public", "curve").hex()
    shown = command("keys", "show", tmp_path / "a.secret", "--json")
    assert shown.document["keys"][0]["key"] == said.document["key"]


def test_a_pair_is_not_made_twice(command, folder: Path) -> None:
    before = (folder / "producer.secret").read_bytes()
    said = command("keys", "make", "producer", "--folder", folder)
    assert said.code == 2
    assert "never overwritten" in said.err
    assert (folder / "producer.secret").read_bytes() == before


def test_a_key_is_admitted_by_file_or_digits_once(command, folder: Path) -> None:
    allowed, key = folder / "allowed", read_public(folder / "producer.public", "curve")
    assert command("keys", "allow", allowed, folder / "producer.public").code == 0
    again = command("keys", "allow", allowed, key.hex(), "--name", "x", "--json")
    assert not again.document["is_new"]
    assert read_allowed(allowed) == {key: "producer"}
    assert command("keys", "show", allowed).out == f"{key.hex()} curve producer\n"


def test_a_signing_key_cannot_be_admitted(command, folder: Path) -> None:
    said = command("keys", "allow", folder / "allowed", folder / "signer.public")
    assert (said.code, said.out) == (2, "")
    assert "curve-public" in said.err
    assert not (folder / "allowed").exists()


@pytest.mark.parametrize("verb", ["make", "show", "allow"])
def test_the_help_has_an_example(command, verb: str) -> None:
    assert f"Example: onlineflows keys {verb}" in command("keys", verb, "--help").out


@pytest.fixture
def signed(finished_run: Path, folder: Path, tmp_path: Path) -> Path:
    path = Path(shutil.copytree(finished_run / "snapshots" / "latest", tmp_path / "snapshot"))
    contents = {file.name: file.read_bytes() for file in path.iterdir()}
    signer = Signer.from_file(folder / "signer.secret")
    (path / SIGNATURE_FILE).write_bytes(signer.sign(contents))
    return path


def test_a_signed_snapshot_is_genuine(command, signed: Path, folder: Path) -> None:
    said = command("inspect", signed, "--verify", folder / "signer.public")
    assert said.code == 0
    assert "genuine: signed with" in said.out


def test_a_changed_snapshot_is_not(command, signed: Path, folder: Path) -> None:
    path = signed / MANIFEST_FILE
    path.write_bytes(sealed(unsealed(path.read_bytes()) | {"n_seen": 1}))
    said = command("inspect", signed, "--verify", folder / "signer.public", "--json")
    assert said.code == 1
    assert said.document["state"] == "changed"
    assert command("inspect", signed).code == 0, "without the signature nobody could tell"


def test_another_key_and_no_signature_are_told(command, signed: Path, folder: Path) -> None:
    command("keys", "make", "other", "--folder", folder, "--signing")
    said = command("inspect", signed, "--verify", folder / "other.public")
    assert said.code == 1
    assert "another key is named" in said.out
    (signed / SIGNATURE_FILE).unlink()
    said = command("inspect", signed, "--verify", folder / "signer.public")
    assert said.code == 1
    assert "it has no signature" in said.out


def test_what_is_no_key_or_no_snapshot_ends_with_2(
    command, signed: Path, folder: Path, tmp_path: Path
) -> None:
    assert command("inspect", signed, "--verify", folder / "producer.public").code == 2
    assert command("inspect", tmp_path, "--verify", folder / "signer.public").code == 2


def test_no_name_of_a_key_is_public(tmp_path: Path) -> None:
    names = ["wire.security.allowed=/home/ann/allowed", "snapshot.signing_key=/home/ann/secret"]
    assert "/home" not in str(public_config(load_config(None, names)))


def test_an_open_address_without_keys_is_refused_when_it_is_read() -> None:
    with pytest.raises(ConfigError, match=r"wire\.security: expected keys"):
        load_config(None, ["wire.address=tcp://*:5757"])
    load_config(None, ["wire.address=tcp://*:5757", "wire.security.insecure=true"])


def test_a_misspelt_key_of_the_section_is_named() -> None:
    with pytest.raises(ConfigError, match=r"wire\.security\.alowed: unknown key"):
        load_config(None, ["wire.security.alowed=x"])
