"""Key files: nothing is overwritten, nothing secret is open, nothing malformed is believed."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.errors import SecurityError
from streams.keyfiles import allow, read_allowed, read_public, read_secret, write_pair

SECRET, PUBLIC = bytes(range(32)), bytes(range(32, 64))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return write_pair(tmp_path / "keys", "producer", "curve", secret=SECRET, public=PUBLIC)


def test_a_pair_comes_back(pair: tuple[Path, Path]) -> None:
    assert read_secret(pair[0], "curve") == SECRET
    assert read_public(pair[1], "curve") == PUBLIC


def test_a_public_key_may_be_given_by_its_digits() -> None:
    assert read_public(PUBLIC.hex(), "curve") == PUBLIC


def test_a_secret_is_its_owners_alone(pair: tuple[Path, Path]) -> None:
    assert pair[0].stat().st_mode & 0o777 == 0o600
    assert pair[0].parent.stat().st_mode & 0o777 == 0o700
    assert "-secret" not in pair[1].read_text()


@pytest.mark.parametrize("which", [0, 1])
def test_no_key_is_ever_overwritten(pair: tuple[Path, Path], which: int) -> None:
    pair[1 - which].unlink()
    before = pair[which].read_bytes()
    with pytest.raises(SecurityError, match="never overwritten"):
        write_pair(pair[0].parent, "producer", "curve", secret=PUBLIC, public=SECRET)
    assert pair[which].read_bytes() == before
    assert not pair[1 - which].exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_secret_that_others_can_read_is_refused(pair: tuple[Path, Path], mode: int) -> None:
    pair[0].chmod(mode)
    with pytest.raises(SecurityError, match="chmod 600"):
        read_secret(pair[0], "curve")


def test_a_key_of_another_kind_is_refused(pair: tuple[Path, Path]) -> None:
    with pytest.raises(SecurityError, match="ed25519-secret"):
        read_secret(pair[0], "ed25519")
    with pytest.raises(SecurityError, match="ed25519-public"):
        read_public(pair[1], "ed25519")


def test_the_secret_file_is_not_taken_for_the_public_one(pair: tuple[Path, Path]) -> None:
    with pytest.raises(SecurityError, match="curve-public"):
        read_public(pair[0], "curve")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_a_key_needs_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(SecurityError, match="plain name"):
        write_pair(tmp_path, name, "curve", secret=SECRET, public=PUBLIC)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SecurityError, match="something else"):
        read_secret(tmp_path / "pipe", "curve")


def test_an_allow_list_grows_key_by_key(tmp_path: Path) -> None:
    path = tmp_path / "allowed"
    assert allow(path, PUBLIC, "learner at CERN")
    assert allow(path, SECRET, "other")
    assert not allow(path, PUBLIC, "again")
    assert read_allowed(path) == {PUBLIC: "learner at CERN", SECRET: "other"}


@pytest.mark.parametrize("name", ["Jörg", "Ελένη\u2028at CERN", "\udcff"])
def test_an_allow_list_survives_any_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "allowed"
    assert allow(path, PUBLIC, name)
    assert allow(path, SECRET, "other")
    assert set(read_allowed(path)) == {PUBLIC, SECRET}


def test_a_secret_that_is_taken_for_an_allow_list_is_not_repeated(pair: tuple[Path, Path]) -> None:
    with pytest.raises(SecurityError, match="line 2") as raised:
        read_allowed(pair[0])
    assert SECRET.hex()[20:] not in str(raised.value)
    assert "curve-secret" in str(raised.value)


def test_an_allow_list_may_hold_comments_and_no_last_line_break(tmp_path: Path) -> None:
    path = tmp_path / "allowed"
    path.write_text(f"# ours\n\n{SECRET.hex()} a")
    allow(path, PUBLIC, "b")
    assert set(read_allowed(path)) == {SECRET, PUBLIC}


def test_a_line_that_is_no_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "allowed"
    path.write_text(f"{PUBLIC.hex()} fine\nnot a key\n")
    with pytest.raises(SecurityError, match="line 2"):
        read_allowed(path)


def test_an_allow_list_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "allowed"
    allow(path, PUBLIC, "a")
    path.chmod(0o666)
    with pytest.raises(SecurityError, match="chmod o-w"):
        read_allowed(path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_keys_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    path.chmod(0o600)
    for read in (
        read_allowed,
        lambda p: read_secret(p, "curve"),
        lambda p: read_public(p, "curve"),
    ):
        try:
            read(path)
        except SecurityError:
            continue
