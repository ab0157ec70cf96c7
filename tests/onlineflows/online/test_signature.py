"""Signatures: genuine, or why not. The truth comes from OpenSSL by way of `cryptography`."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from onlineflows.online.signature import (
    SIGNATURE_FILE,
    SIGNATURE_FILE_NBYTES,
    Signer,
    signing_pair,
    statement,
    verify,
)

SECRET, PUBLIC = signing_pair()
CONTENTS = {"model.safetensors": bytes(100), "manifest.json": b"{}"}


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / SIGNATURE_FILE).write_bytes(Signer(SECRET).sign(CONTENTS))
    return tmp_path


def test_an_untouched_snapshot_is_genuine(snapshot: Path) -> None:
    assert verify(snapshot, PUBLIC).is_genuine


def test_the_signature_has_always_the_same_size() -> None:
    for n in (0, 1, 1000):
        assert len(Signer(SECRET).sign({"a": bytes(n)})) == SIGNATURE_FILE_NBYTES


def test_the_signature_is_plain_ed25519_over_the_statement(snapshot: Path) -> None:
    title, key, signature, _ = (snapshot / SIGNATURE_FILE).read_text().split("\n")
    assert bytes.fromhex(key) == PUBLIC == Signer(SECRET).public
    said = (
        f"{title}\n"
        "2 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a 'manifest.json'\n"
        "100 cd00e292c5970d3c5e2f0ffa5171e555bc46bfc4faddfb4a418b6840b86e79a3 "
        "'model.safetensors'\n"
    )
    Ed25519PublicKey.from_public_bytes(PUBLIC).verify(bytes.fromhex(signature), said.encode())


def test_names_cannot_be_confused_with_lines() -> None:
    one = statement({"a": (1, "00"), "b": (2, "11")})
    other = statement({"a'\n2 11 'b": (1, "00")})
    assert one != other
    assert other.count(b"\n") == 2


def test_another_key_is_told_from_a_change(snapshot: Path) -> None:
    verdict = verify(snapshot, signing_pair()[1])
    assert (verdict.state, verdict.signer) == ("other key", PUBLIC.hex())


def test_a_missing_signature_is_told(snapshot: Path) -> None:
    (snapshot / SIGNATURE_FILE).unlink()
    assert verify(snapshot, PUBLIC).state == "unsigned"


@pytest.mark.parametrize("name", CONTENTS)
def test_a_changed_file_is_told(snapshot: Path, name: str) -> None:
    (snapshot / name).write_bytes(CONTENTS[name][:-1] + b"!")
    assert verify(snapshot, PUBLIC).state == "changed"


def test_a_file_added_or_taken_away_is_told(snapshot: Path) -> None:
    (snapshot / "extra").touch()
    assert verify(snapshot, PUBLIC).state == "changed"
    (snapshot / "extra").unlink()
    (snapshot / "manifest.json").unlink()
    assert verify(snapshot, PUBLIC).state == "changed"


def test_swapped_files_are_told(snapshot: Path) -> None:
    for name, content in zip(CONTENTS, reversed(CONTENTS.values()), strict=True):
        (snapshot / name).write_bytes(content)
    assert verify(snapshot, PUBLIC).state == "changed"


def test_a_link_is_no_file_of_a_signed_snapshot(snapshot: Path, tmp_path: Path) -> None:
    (snapshot / "manifest.json").rename(tmp_path.parent / "elsewhere.json")
    (snapshot / "manifest.json").symlink_to(tmp_path.parent / "elsewhere.json")
    assert verify(snapshot, PUBLIC).state == "changed"


def test_no_bit_of_the_signature_can_change(snapshot: Path) -> None:
    content = (snapshot / SIGNATURE_FILE).read_bytes()
    for position in range(0, 8 * len(content), 3):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        (snapshot / SIGNATURE_FILE).write_bytes(bytes(damaged))
        assert not verify(snapshot, PUBLIC).is_genuine


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 500, b"\n\n\n", bytes(1 << 20)])
def test_a_file_that_is_no_signature_is_told(snapshot: Path, content: bytes) -> None:
    (snapshot / SIGNATURE_FILE).write_bytes(content)
    assert verify(snapshot, PUBLIC).state == "malformed"


def test_a_signature_of_another_snapshot_does_not_fit(snapshot: Path) -> None:
    signed = Signer(SECRET).sign(CONTENTS | {"manifest.json": b"{ }"})
    (snapshot / SIGNATURE_FILE).write_bytes(signed)
    assert verify(snapshot, PUBLIC).state == "changed"
