"""Key files: one line of text per key, secrets readable by their owner alone.

A pair is two files, ``NAME.secret`` and ``NAME.public``; each holds comment lines and one line
``<kind>-secret <64 hexadecimal digits>`` or ``<kind>-public ...``. Kinds are "curve" for the wire
(CurveZMQ) and "ed25519" for signatures. An allow-list holds one public key of the wire per line,
with a name behind it.
"""

import os
import stat
from pathlib import Path
from typing import Literal

from streams.errors import SecurityError

Kind = Literal["curve", "ed25519"]

KEY_NBYTES = 32
SECRET_SUFFIX = ".secret"  # noqa: S105 - the end of a name
PUBLIC_SUFFIX = ".public"

MAX_KEY_FILE_NBYTES = 4096
MAX_ALLOWED_NBYTES = 1 << 20


def write_pair(
    folder: Path, name: str, kind: Kind, *, secret: bytes, public: bytes
) -> tuple[Path, Path]:
    """Writes a pair of key files and returns their paths, the secret one first.

    Args:
        folder: where to; made if needed, for its owner alone.
        name: the files' name without suffix.
        kind: what the keys are for.
        secret: the secret key, 32 bytes.
        public: the public key, 32 bytes.

    Raises:
        SecurityError: one of the files exists already, or the folder can't be written.
    """
    if not name or name != Path(name).name or name.startswith("."):
        raise SecurityError(f"expected the plain name of a key; got {name!r}")
    paths = folder / f"{name}{SECRET_SUFFIX}", folder / f"{name}{PUBLIC_SUFFIX}"
    for path in paths:
        if path.exists():
            raise SecurityError(
                f"{path}: expected no such file, keys are never overwritten; choose another name, "
                "or move the old pair away"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_new(paths[0], f"# Secret key: keep it here.\n{kind}-secret {secret.hex()}\n", 0o600)
        _write_new(paths[1], f"# Public key: for the other side.\n{kind}-public {public.hex()}\n")
    except OSError as error:
        raise SecurityError(f"{folder}: expected to write keys there; got {error}") from error
    return paths


def read_secret(path: Path, kind: Kind) -> bytes:
    """Returns a secret key, 32 bytes.

    Raises:
        SecurityError: there is none, or others than its owner can read it.
    """
    content, status = _read(path, MAX_KEY_FILE_NBYTES)
    if status.st_mode & 0o077:
        raise SecurityError(
            f"{path}: expected a secret key that only its owner can read; got mode "
            f"{stat.S_IMODE(status.st_mode):o}: chmod 600 {path}, and make a new pair if it was "
            "open to others"
        )
    return _key(path, content, f"{kind}-secret")


def read_public(source: str | Path, kind: Kind) -> bytes:
    """Returns a public key, 32 bytes.

    Args:
        source: the key's file, or its 64 hexadecimal digits.
        kind: what the key is for.

    Raises:
        SecurityError: it is neither.
    """
    digits = str(source)
    if len(digits) == 2 * KEY_NBYTES and (key := _from_hex(digits)) is not None:
        return key
    path = Path(source).expanduser()
    return _key(path, _read(path, MAX_KEY_FILE_NBYTES)[0], f"{kind}-public")


def read_allowed(path: Path) -> dict[bytes, str]:
    """Returns the public keys in an allow-list, with their names.

    Raises:
        SecurityError: the file can't be read, anybody may write to it, or a line isn't a key.
    """
    content, status = _read(path, MAX_ALLOWED_NBYTES)
    if status.st_mode & 0o002:
        raise SecurityError(
            f"{path}: expected an allow-list that not everybody can write to; chmod o-w {path}"
        )
    allowed: dict[bytes, str] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        key = _from_hex(words[0])
        if key is None:
            raise SecurityError(
                f"{path}, line {number}: expected a public key of {2 * KEY_NBYTES} hexadecimal "
                f"digits and a name; got {words[0][:20]!r}"
            )
        allowed[key] = " ".join(words[1:])[:80]
    return allowed


def allow(path: Path, key: bytes, name: str) -> bool:
    """Adds a public key to an allow-list, made if needed; returns whether it is new there.

    Raises:
        SecurityError: the file is no allow-list, or can't be written.
    """
    if path.exists() and key in read_allowed(path):
        return False
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
        try:
            # A line of its own even where the last one has no end.
            line = f"\n{key.hex()} {' '.join(name.split())}\n"
            os.write(descriptor, line.encode(errors="replace"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SecurityError(f"{path}: expected to write an allow-list; got {error}") from error
    return True


def _write_new(path: Path, text: str, mode: int = 0o644) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, limit: int) -> tuple[str, os.stat_result]:
    """Returns a small regular file's text and status, without ever waiting for a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SecurityError(f"{path}: expected a file of keys; got something else")
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise SecurityError(f"{path}: expected a file of keys; got {error}") from error
    if len(content) > limit:
        raise SecurityError(f"{path}: expected at most {limit} bytes of keys; got more")
    try:
        return content.decode(), status
    except UnicodeDecodeError as error:
        raise SecurityError(f"{path}: expected plain text; got {error}") from error


def _key(path: Path, content: str, label: str) -> bytes:
    """Returns the one key in a file's text."""
    lines = [line.split() for line in content.splitlines() if line.strip()]
    keys = [words for words in lines if not words[0].startswith("#")]
    if len(keys) != 1 or len(keys[0]) != 2 or keys[0][0] != label:
        found = keys[0][0][:20] if keys else "nothing"
        raise SecurityError(f"{path}: expected one line '{label} <key>'; got {found!r}")
    key = _from_hex(keys[0][1])
    if key is None:
        raise SecurityError(f"{path}: expected a key of {2 * KEY_NBYTES} hexadecimal digits")
    return key


def _from_hex(digits: str) -> bytes | None:
    """Returns a key from its digits, None where it isn't one."""
    if len(digits) != 2 * KEY_NBYTES or set(digits.lower()) - set("0123456789abcdef"):
        return None
    return bytes.fromhex(digits)
