"""The outer form of a manifest: JSON, padded to a size, that carries a hash of itself.

The last key of the document is ``"seal"``, with 64 digits: the SHA-256 of the whole file, in which
these digits are zeros. So no byte of a manifest can change unnoticed, padding included. Reading is
bounded: size before content, then depth and kinds of values; nothing is built from a document that
is not what was written.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from onlineflows.errors import SnapshotError

MAX_MANIFEST_NBYTES = 64 << 20
MAX_DEPTH = 32
LARGEST_WHOLE = 2**63 - 1
_DIGITS = 64
_KEY = b',"seal":"'
_END = b'"}'
SEAL_NBYTES = len(_KEY) + _DIGITS + len(_END) - 1
"""By how much a seal makes a document longer."""


def sealed(document: Mapping[str, Any], nbytes: int = 0) -> bytes:
    """Returns a document as sealed JSON.

    Args:
        document: plain JSON types, not empty, without the key "seal".
        nbytes: size that it is padded to, a line break at its end included; 0 for the least.

    Raises:
        SnapshotError: it doesn't fit, or has values that JSON hasn't.

    Example:
        >>> unsealed(sealed({"run": 1}, 128))
        {'run': 1}
    """
    try:
        text = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise SnapshotError(f"expected a manifest of plain JSON types; {error}") from error
    needed = len(text) + SEAL_NBYTES + 1
    if nbytes and needed > nbytes:
        raise SnapshotError(
            f"expected a manifest of at most {nbytes} bytes; got {needed}: raise "
            "snapshot.manifest_nbytes"
        )
    head, tail = text[:-1] + _KEY, _END + b" " * (max(nbytes, needed) - needed) + b"\n"
    digest = hashlib.sha256(head + b"0" * _DIGITS + tail).hexdigest().encode()
    return head + digest + tail


def unsealed(content: bytes) -> dict[str, Any]:
    """Returns the document of sealed JSON, without its seal.

    Raises:
        SnapshotError: it is too large, damaged, or no such document.
    """
    if len(content) > MAX_MANIFEST_NBYTES:
        raise SnapshotError(
            f"expected a manifest of at most {MAX_MANIFEST_NBYTES} bytes; got {len(content)}"
        )
    before, key, rest = content.rpartition(_KEY)
    head, digits, tail = before + key, rest[:_DIGITS], rest[_DIGITS:]
    if not key or len(digits) < _DIGITS:
        raise SnapshotError(
            "expected a manifest; got one without a seal: damaged, or of another format"
        )
    if hashlib.sha256(head + b"0" * _DIGITS + tail).hexdigest().encode() != digits:
        raise SnapshotError(
            "expected a manifest; got one that hasn't the hash it carries: damaged or edited"
        )
    try:
        document = json.loads(content, object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise SnapshotError(f"expected a manifest; got no JSON: {error}") from error
    if not isinstance(document, dict) or "seal" not in document:
        raise SnapshotError("expected a manifest; got no sealed table")
    del document["seal"]
    require_plain(document)
    return document


def require_plain(document: Any) -> None:
    """Raises SnapshotError where a document is too deep, or has numbers nothing can hold."""
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise SnapshotError(f"expected a manifest of at most {MAX_DEPTH} levels; got more")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise SnapshotError("expected finite numbers; got one that isn't")
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
        raise SnapshotError("expected numbers of at most 63 bits; got a larger one")
    return []


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise SnapshotError("expected distinct keys; got one twice")
    return document


def _no_constant(name: str) -> float:
    raise SnapshotError(f"expected finite numbers; got {name}")
