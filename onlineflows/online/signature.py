"""Signatures of snapshots: Ed25519 (RFC 8032) over the hashes of all files, in a file beside them.

The statement that is signed names every file of the snapshot with its size and SHA-256, so none
can be changed, added or taken away. The signature's file has a fixed size: that of a snapshot
still depends on the configuration alone. Verification looks at bytes only; nothing in a snapshot is
interpreted before it is known to be genuine.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from onlineflows.errors import SnapshotError
from streams.keyfiles import read_secret

SIGNATURE_FILE = "signature"
_TITLE = "onlineflows snapshot signature 1"
_SIGNATURE_NBYTES = 64
_KEY_NBYTES = 32
SIGNATURE_FILE_NBYTES = len(_TITLE) + 1 + 2 * (_KEY_NBYTES + _SIGNATURE_NBYTES) + 2
CHUNK_NBYTES = 1 << 20
MAX_FILES = 64

State = Literal["genuine", "unsigned", "malformed", "other key", "changed"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a verification.

    Args:
        state: "genuine": signed by this key, and as it was signed. "unsigned": there is no
            signature. "malformed": its file is no signature. "other key": another key is named.
            "changed": a file, or the signature itself, isn't what was signed.
        signer: the public key that the signature names, as hexadecimal digits; empty without.
    """

    state: State
    signer: str = ""

    @property
    def is_genuine(self) -> bool:
        """Whether the snapshot is what the owner of the key signed."""
        return self.state == "genuine"


class Signer:
    """Signs snapshots with one key.

    Args:
        secret: the Ed25519 secret key, 32 bytes.

    Example:
        >>> secret, public = signing_pair()
        >>> signed = Signer(secret).sign({"manifest.json": b"{}"})
        >>> len(signed) == SIGNATURE_FILE_NBYTES
        True
    """

    def __init__(self, secret: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    @classmethod
    def from_file(cls, path: Path) -> "Signer":
        """Returns the signer with the secret key in a file.

        Raises:
            SecurityError: there is none, or others than its owner can read it.
        """
        return cls(read_secret(path.expanduser(), "ed25519"))

    def sign(self, contents: Mapping[str, bytes]) -> bytes:
        """Returns the content of `SIGNATURE_FILE` for a snapshot's other files."""
        hashes = {name: (len(c), hashlib.sha256(c).hexdigest()) for name, c in contents.items()}
        signature = self._key.sign(statement(hashes))
        return f"{_TITLE}\n{self.public.hex()}\n{signature.hex()}".encode() + b"\n"


def statement(hashes: Mapping[str, tuple[int, str]]) -> bytes:
    """Returns what is signed: a title, then size, SHA-256 and name of each file, sorted by name.

    Args:
        hashes: by the file's name, its size in bytes and its SHA-256 as hexadecimal digits.
    """
    lines = [f"{nbytes} {digest} {name!r}" for name, (nbytes, digest) in sorted(hashes.items())]
    return "\n".join([_TITLE, *lines, ""]).encode()


def verify(path: Path, public: bytes) -> Verdict:
    """Returns whether the files of a snapshot are those that the owner of a key signed.

    Args:
        path: the snapshot's own folder.
        public: the Ed25519 public key, 32 bytes.

    Raises:
        SnapshotError: a file can't be read.
    """
    try:
        files = sorted(path.iterdir())
        if not (path / SIGNATURE_FILE).is_file():
            return Verdict("unsigned")
        with (path / SIGNATURE_FILE).open("rb") as file:
            content = file.read(SIGNATURE_FILE_NBYTES + 1)
        fields = _parse(content)
        if fields is None:
            return Verdict("malformed")
        signer, signature = fields
        if signer != public:
            return Verdict("other key", signer.hex())
        if len(files) > MAX_FILES or not all(f.is_file() and not f.is_symlink() for f in files):
            return Verdict("changed", signer.hex())
        hashes = {f.name: _size_and_hash(f) for f in files if f.name != SIGNATURE_FILE}
    except OSError as error:
        raise SnapshotError(f"{path}: expected a readable snapshot; got {error}") from error
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, statement(hashes))
    except (InvalidSignature, ValueError):
        return Verdict("changed", signer.hex())
    return Verdict("genuine", signer.hex())


def signing_pair() -> tuple[bytes, bytes]:
    """Returns a new pair of keys for signatures: secret and public, 32 bytes each."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes_raw(), key.public_key().public_bytes_raw()


def _parse(content: bytes) -> tuple[bytes, bytes] | None:
    """Returns key and signature of a signature's file, None where it isn't one."""
    try:
        title, key, signature, end = content.decode("ascii").split("\n")
    except (UnicodeDecodeError, ValueError):
        return None
    is_hex = not set(key + signature) - set("0123456789abcdef")
    sizes = (len(key), len(signature))
    if title != _TITLE or end or not is_hex or sizes != (2 * _KEY_NBYTES, 2 * _SIGNATURE_NBYTES):
        return None
    return bytes.fromhex(key), bytes.fromhex(signature)


def _size_and_hash(path: Path) -> tuple[int, str]:
    """Returns a file's size and SHA-256 without holding it in memory."""
    digest, nbytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_NBYTES):
            digest.update(chunk)
            nbytes += len(chunk)
    return nbytes, digest.hexdigest()
