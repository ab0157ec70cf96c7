"""The outer form of a manifest: every byte counts, and reading is bounded."""

import hashlib
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlineflows.errors import SnapshotError
from onlineflows.online.seal import MAX_DEPTH, MAX_MANIFEST_NBYTES, sealed, unsealed

DOCUMENT = {"run": 1, "text": 'a "seal":" of 0', "list": [1.5, None, True]}

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text().filter(lambda key: key != "seal"), plain, min_size=1), st.booleans()
)
def test_a_document_comes_back_as_it_was(document: dict[str, Any], is_padded: bool) -> None:
    content = sealed(document)
    if is_padded:
        content = sealed(document, len(content) + 100)
    assert unsealed(content) == document


def test_the_size_is_the_one_asked_for() -> None:
    assert len(sealed(DOCUMENT, 500)) == 500
    least = len(sealed(DOCUMENT))
    assert len(sealed(DOCUMENT, least)) == least
    with pytest.raises(SnapshotError, match=f"got {least}: raise"):
        sealed(DOCUMENT, least - 1)


def test_a_flipped_bit_anywhere_is_noticed() -> None:
    content = sealed(DOCUMENT, 200)
    for position in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(SnapshotError):
            unsealed(bytes(damaged))


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_by_name(content: bytes) -> None:
    with pytest.raises(SnapshotError, match="expected a manifest"):
        unsealed(content)


def resealed(text: str) -> bytes:
    """Text as if it had been sealed by somebody who knows how."""
    head = text.rstrip("}").encode() + b',"seal":"'
    digest = hashlib.sha256(head + b"0" * 64 + b'"}').hexdigest().encode()
    return head + digest + b'"}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a":NaN}', "finite"),
        ('{"a":Infinity}', "finite"),
        ('{"a":1e999}', "finite"),
        ('{"a":9223372036854775808}', "63 bits"),
        ('{"a":' + "9" * 5000 + "}", "no JSON"),
        ('{"a":1,"a":2}', "twice"),
        ('{"a"}', "no JSON"),
    ],
)
def test_what_was_never_written_is_refused_even_if_it_is_sealed(text: str, message: str) -> None:
    with pytest.raises(SnapshotError, match=message):
        unsealed(resealed(text))


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 500, 100_000, 1_000_000])
def test_depth_is_bounded(depth: int) -> None:
    content = resealed('{"a":' + "[" * depth + "]" * depth + ',"b":1}')
    with pytest.raises(SnapshotError):
        unsealed(content)


def test_a_list_at_the_outside_is_no_manifest() -> None:
    head = b'[1,{"a":1,"seal":"'
    digest = hashlib.sha256(head + b"0" * 64 + b'"}]').hexdigest().encode()
    with pytest.raises(SnapshotError, match="no sealed table"):
        unsealed(head + digest + b'"}]')


def test_a_giant_is_refused_before_it_is_read() -> None:
    giant = bytes(MAX_MANIFEST_NBYTES + 1)
    tracemalloc.start()
    with pytest.raises(SnapshotError, match="at most"):
        unsealed(giant)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_other_programs_can_read_it_as_json() -> None:
    assert json.loads(sealed(DOCUMENT, 300))["list"] == [1.5, None, True]
