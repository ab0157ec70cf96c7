"""What a snapshot holds of its models: ``model.safetensors``, checked against the manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from onlineflows.errors import ConfigError, SnapshotError
from onlineflows.online.manifest import MANIFEST_FILE, Manifest, ModelEntry, layout_of, spec_of
from onlineflows.preprocess import Preprocessing
from streams import EventSchema, SchemaError

MODEL_FILE = "model.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class LearnedModel:
    """What a snapshot holds of one model.

    Args:
        thetas: the averaged parameters, the central ones first, shape (1 + R, n_parameters),
            float32.
        preprocessing: the arrays of `Preprocessing.to_arrays`, float64; zeros until it is fitted.
    """

    thetas: NDArray[np.float32]
    preprocessing: Mapping[str, NDArray[np.floating[Any]]]


def encode_models(models: Mapping[str, LearnedModel]) -> bytes:
    """Returns the file's content."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, model in models.items():
        arrays[f"{name}.theta"] = model.thetas
        arrays |= {f"{name}.map.{key}": array for key, array in model.preprocessing.items()}
    content: bytes = safetensors.numpy.save(arrays)
    return content


def decode_models(path: Path, manifest: Manifest, content: bytes) -> dict[str, LearnedModel]:
    """Returns the models in the file's content, by name, each checked.

    Args:
        path: the snapshot, for messages.
        manifest: what is expected.
        content: of the file.

    Raises:
        SnapshotError: it isn't what the manifest says.
    """
    try:
        arrays = safetensors.numpy.load(content)
        schema = EventSchema.from_dict(manifest.schema)
    except (SafetensorError, SchemaError) as error:
        raise SnapshotError(f"{path / MODEL_FILE}: expected a model; got {error!r}") from error
    names = [entry.name for entry in manifest.models]
    if not names or len({*names}) < len(names):
        raise SnapshotError(f"{path / MANIFEST_FILE}: expected distinct models; got {names}")
    for entry in manifest.models:
        _require_possible(path, entry, schema, len(content))
    models = {e.name: _take_model(path, e, schema, arrays) for e in manifest.models}
    if arrays:
        raise SnapshotError(
            f"{path / MODEL_FILE}: expected the arrays of models {names}; got also {[*arrays]}"
        )
    return models


def _require_possible(path: Path, entry: ModelEntry, schema: EventSchema, nbytes: int) -> None:
    """Raises SnapshotError before a specification is built that no file of this size can fill."""
    flow = entry.flow
    n_units = 2 * flow.blocks * flow.hidden
    if max(4 * n_units, flow.bins, flow.hidden * schema.n_features) > 4 * nbytes:
        raise SnapshotError(
            f"{path}: model {entry.name!r}: expected a flow whose θ fits into {nbytes} bytes; got "
            f"{flow}"
        )


def _take_model(
    path: Path, entry: ModelEntry, schema: EventSchema, arrays: dict[str, NDArray[Any]]
) -> LearnedModel:
    """Takes one model out of the arrays of a file, checked."""
    where = f"{path}: model {entry.name!r}"
    try:
        spec = spec_of(entry, schema)
        own_schema = entry.region.schema_of(schema, model=entry.name)
    except ConfigError as error:
        raise SnapshotError(f"{where}: expected a model; got {error}") from error
    if entry.layout != layout_of(spec):
        raise SnapshotError(
            f"{where}: expected θ in the layout of its flow; got another layout: the snapshot is "
            "of another version"
        )
    thetas = _take(where, arrays, entry.name, "theta", (1 + entry.replicas, spec.n_parameters))
    shape = schema.n_features, entry.knots
    names = ("v", "z", "slope")
    fitted = {name: _take(where, arrays, entry.name, f"map.{name}", shape) for name in names}
    if entry.is_fitted:
        try:
            Preprocessing.from_arrays(own_schema, fitted)
        except SnapshotError as error:
            raise SnapshotError(f"{where}: {error}") from error
    return LearnedModel(thetas, fitted)


def _take(
    where: str, arrays: dict[str, NDArray[Any]], model: str, name: str, shape: tuple[int, ...]
) -> NDArray[Any]:
    """Takes an array out of those of a file; it must have the shape and hold finite numbers."""
    dtype = np.float32 if name == "theta" else np.float64
    array = arrays.pop(f"{model}.{name}", None)
    found = "none" if array is None else f"{array.dtype} of shape {array.shape}"
    if array is None or array.shape != shape or array.dtype != dtype:
        raise SnapshotError(
            f"{where}: expected {name!r} as {np.dtype(dtype)} of shape {shape}; got {found}"
        )
    if not np.isfinite(array).all():
        raise SnapshotError(f"{where}: expected finite numbers in {name!r}; got others")
    return array
