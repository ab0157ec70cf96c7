"""The private state of a learner, for resuming after a crash.

A checkpoint is one safetensors file: named arrays and one JSON document. Its name carries its
hash, so that a torn or damaged file is recognised; the newest two are kept and, once a run has
ended well, all are deleted: they hold the buffer's events. Nothing in them is executed on load.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from onlineflows.errors import CheckpointError
from onlineflows.online.durable import sha256, write_file

FORMAT = 1
_KEEP = 2
_HASH_DIGITS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Everything that a learner and its ledger need to go on.

    Args:
        document: plain JSON types: position, ledger, histories, counters.
        arrays: θ, optimiser, buffer, marginal map.
    """

    document: Mapping[str, Any]
    arrays: Mapping[str, NDArray[np.generic]]


def write_checkpoint(folder: Path, checkpoint: Checkpoint, *, serial: int) -> Path:
    """Writes a checkpoint durably, readable by its owner alone, and drops all but the newest two.

    Args:
        folder: the daemon's private folder, made if needed.
        checkpoint: what to write.
        serial: ascending number: the newest checkpoint has the largest.

    Raises:
        CheckpointError: the disk refused; older checkpoints are as they were.
    """
    document = json.dumps({"format": FORMAT, **checkpoint.document}, separators=(",", ":"))
    content = safetensors.numpy.save(dict(checkpoint.arrays), metadata={"checkpoint": document})
    path = folder / f"{serial:020d}-{sha256(content)[:_HASH_DIGITS]}.checkpoint"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _delete_torn(folder)  # first: they take room
        write_file(path, content, mode=0o600)
        for old in _files(folder)[:-_KEEP]:
            old.unlink()
    except OSError as error:
        raise CheckpointError(
            f"{folder}: expected to write a checkpoint there; got {error}"
        ) from error
    return path


def read_checkpoint(folder: Path) -> tuple[Checkpoint, tuple[str, ...]]:
    """Reads the newest undamaged checkpoint.

    Returns:
        The checkpoint and, for the log, what is wrong with each newer one that was passed over.

    Raises:
        CheckpointError: there is no undamaged checkpoint.
    """
    nothing = "none; a run that has ended keeps none: start anew with --overwrite"
    damaged: list[str] = []
    for path in reversed(_files(folder) if folder.is_dir() else []):
        try:
            content = path.read_bytes()
        except OSError as error:
            damaged.append(f"{path.name}: {error}")
            continue
        if sha256(content)[:_HASH_DIGITS] != path.stem.partition("-")[2]:
            damaged.append(f"{path.name}: its content doesn't have the hash in its name")
            continue
        return _decode(path, content), tuple(damaged)
    raise CheckpointError(
        f"{folder}: expected a checkpoint to resume from; got " + ("; ".join(damaged) or nothing)
    )


def delete_checkpoints(folder: Path) -> None:
    """Deletes all checkpoints: a run that has ended well keeps no events."""
    for path in _files(folder) if folder.is_dir() else []:
        path.unlink()
    _delete_torn(folder)


def _delete_torn(folder: Path) -> None:
    """Deletes what a process left that was killed while it wrote: it holds events, too."""
    for path in folder.glob(".*.checkpoint.partial"):
        path.unlink()


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.checkpoint"))


def _decode(path: Path, content: bytes) -> Checkpoint:
    try:
        arrays = safetensors.numpy.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        document = json.loads(header["__metadata__"]["checkpoint"])
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected a checkpoint; got {error!r}") from error
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise CheckpointError(f"{path}: expected checkpoint format {FORMAT}; got another")
    return Checkpoint(document, arrays)
