"""Whatever is in a checkpoint or a snapshot, hash and seal included, the error is ours."""

import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from onlineflows.errors import CheckpointError, SnapshotError
from onlineflows.online.checkpoint import read_checkpoint
from onlineflows.online.durable import sha256
from onlineflows.online.learned import MODEL_FILE
from onlineflows.online.manifest import MANIFEST_FILE
from onlineflows.online.seal import sealed
from onlineflows.online.snapshot import read_snapshot

DOCUMENT = json.dumps({"format": 1, "position": {"next_event": 3}})
VALID = safetensors.numpy.save(
    {"theta": np.zeros((2, 3), np.float32), "rows": np.zeros(4, np.int64)},
    metadata={"checkpoint": DOCUMENT},
)

values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**64) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["F32", "F64", "BF16", "F8_E4M3", "F4", "I64", "BOOL", "C64", "U4"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
tensors = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F64", "BF16", "F8_E4M3", "I64", "BOOL", "?"]) | values,
        "shape": st.lists(st.integers(0, 2**63), max_size=3) | values,
        "data_offsets": st.lists(st.integers(0, 80), min_size=2, max_size=2) | values,
    }
)
headers = st.dictionaries(
    st.sampled_from(["theta", "rows", "__metadata__", "joint.theta", "x"]), tensors | values
)


@st.composite
def files(draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes:
    """Bytes that are more or less a safetensors file."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return bytes(draw(st.binary(max_size=100)))
    if kind == 1:
        content = bytearray(VALID)
        for at, byte in draw(
            st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=4)
        ):
            content[at] = byte
        return bytes(content)
    header = draw(headers)
    if kind == 3:
        document = draw(values | st.just({"format": 1}))
        header["__metadata__"] = {"checkpoint": json.dumps(document)}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(draw(st.integers(0, 80)))


@settings(max_examples=200, deadline=None)
@given(files())
def test_any_file_is_a_checkpoint_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        name = f"{1:020d}-{sha256(content)[:32]}.checkpoint"
        (Path(folder) / name).write_bytes(content)
        try:
            checkpoint, _ = read_checkpoint(Path(folder))
        except CheckpointError:
            return
        assert isinstance(checkpoint.document, dict)


@settings(max_examples=100, deadline=None)
@given(files(), st.dictionaries(st.sampled_from(["format", "run", "schema", "models"]), values))
def test_any_sealed_files_are_a_snapshot_or_refused(
    content: bytes, document: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            manifest = sealed({"format": 3} | document | {"sha256": {MODEL_FILE: sha256(content)}})
        except SnapshotError:
            return
        (Path(folder) / MODEL_FILE).write_bytes(content)
        (Path(folder) / MANIFEST_FILE).write_bytes(manifest)
        try:
            read_snapshot(Path(folder))
        except SnapshotError:
            return
        raise AssertionError("there is no such snapshot")
