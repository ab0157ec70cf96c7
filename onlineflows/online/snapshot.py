"""The product: a fixed-size model of everything that a stream has shown.

A snapshot is a folder of two files, ``model.safetensors`` (of each model the matrix of θ and the
marginal map) and ``manifest.json`` (what they are and how they came about, padded with spaces to a
configured size). It holds no event and no optimiser, loads without executing anything, and its
size in bytes depends on the configuration alone. The folder is written under a temporary name and
renamed; the link ``latest`` beside it points to the newest.
"""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError

from onlineflows.density import Density
from onlineflows.errors import ConfigError, SnapshotError
from onlineflows.flows import flow_over
from onlineflows.flows.spec import FlowSpec, build_spec
from onlineflows.mixture import Mixture
from onlineflows.online.durable import point_to, sha256, write_folder
from onlineflows.online.seal import MAX_MANIFEST_NBYTES, sealed, unsealed
from onlineflows.online.signature import SIGNATURE_FILE, Signer
from onlineflows.preprocess import Preprocessing
from onlineflows.region import Region
from onlineflows.settings import FlowConfig
from streams import EventSchema, SchemaError
from streams.errors import nearest

FORMAT = 2
MODEL_FILE = "model.safetensors"
MANIFEST_FILE = "manifest.json"
LATEST = "latest"

MAX_MODEL_NBYTES = 4 << 30
"""No model that is read may be larger."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What a manifest says of one model.

    Args:
        name: the model's name.
        inside, outside: the region of the resonant feature that it learned (`Region`); null stands
            for an end that is infinite.
        replicas: θ beside the central one.
        bootstrap: whether they weighed events by Poisson(1) numbers.
        flow: the flow's configuration.
        knots: knots of each feature's marginal map.
        is_fitted: whether the marginal map was fitted; until then there is no density.
        n_taken: events of the region.
        n_trained: of these, trained on at least once.
        n_uses: events in all mini-batches, repeats included.
        n_steps: gradient steps.
        layout: the layout table of one θ: name, shape, offset.
    """

    name: str
    inside: tuple[float | None, float | None] | None
    outside: tuple[float | None, float | None] | None
    replicas: int
    bootstrap: bool
    flow: FlowConfig
    knots: int
    is_fitted: bool
    n_taken: int
    n_trained: int
    n_uses: int
    n_steps: int
    layout: tuple[tuple[str, tuple[int, ...], int], ...] = ()

    @property
    def region(self) -> Region:
        """The region that the model learned."""
        return Region(*(_interval(pair) for pair in (self.inside, self.outside)))


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot says of itself.

    Args:
        run_name: name of the run.
        run: number of the producer's run.
        created_utc: when it was written, ISO 8601.
        code_version: version of this package.
        schema: the events' schema as `EventSchema.to_dict` gives it.
        models: what it says of each model, in the order of the configuration.
        n_seen: events received, skipped ones included.
        n_trained: events trained on at least once.
        n_uses: events in all mini-batches of all models, repeats included.
        n_steps: gradient steps of all models.
        train_seconds: time spent learning.
        final: whether the run had ended.
        tainted: reasons why the models are not what the configuration asked for; empty if they
            are.
        ledger: the consumer's counts.
        history: NLL of new events against events seen (`NllHistory.to_dict`).
        drift: the drift monitor's counts and newest alarms.
        gate: what the gate says of the first model (`gate.Verdict`); empty where there is none.
        stream: what the producer said at the begin of the run: mode, seed, configuration, and
            its source files with their hashes.
        config: the run's configuration, without folders.
        sha256: hash of each other file of the snapshot.
        format: version of the snapshot's format.
    """

    run_name: str
    run: int
    created_utc: str
    code_version: str
    schema: dict[str, Any]
    models: tuple[ModelEntry, ...]
    n_seen: int
    n_trained: int
    n_uses: int
    n_steps: int
    train_seconds: float
    final: bool
    tainted: tuple[str, ...]
    ledger: dict[str, Any]
    history: dict[str, Any]
    drift: dict[str, Any]
    stream: dict[str, Any]
    config: dict[str, Any]
    gate: dict[str, Any] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


# The one-element tuple lets a configuration of pydantic's own reach the dataclasses inside.
_manifests: TypeAdapter[tuple[Manifest]] = TypeAdapter(
    tuple[Manifest], config=ConfigDict(extra="forbid", strict=True)
)


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


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Every model's θ and marginal map, and the manifest.

    Args:
        manifest: what they are.
        models: by name, those of the manifest.
    """

    manifest: Manifest
    models: Mapping[str, LearnedModel]

    @property
    def schema(self) -> EventSchema:
        """What the events of the run are."""
        return EventSchema.from_dict(self.manifest.schema)

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models in the order of the configuration."""
        return tuple(entry.name for entry in self.manifest.models)

    @property
    def n_parameters(self) -> int:
        """Numbers in all θ of all models."""
        return sum(model.thetas.size for model in self.models.values())

    def entry(self, model: str | None = None) -> ModelEntry:
        """Returns what the manifest says of a model.

        Args:
            model: its name; None for the first.

        Raises:
            ConfigError: there's no such model.
        """
        entries = {entry.name: entry for entry in self.manifest.models}
        name = self.model_names[0] if model is None else model
        if name not in entries:
            raise ConfigError(
                f"expected a model of the snapshot; got {name!r}; {nearest(name, entries)}"
            )
        return entries[name]

    def schema_of(self, model: str | None = None) -> EventSchema:
        """Returns the schema of a model's density: a window is its resonant feature's support."""
        entry = self.entry(model)
        return entry.region.schema_of(self.schema, model=entry.name)

    def density(self, model: str | None = None, replica: int = 0) -> Density:
        """Returns a density of the events in the schema's units.

        Args:
            model: its name; None for the first.
            replica: 0 for the central θ, 1 … R for those of the replicas.

        Raises:
            ConfigError: there's no such model or replica.
            SnapshotError: the model had not seen enough events to have a density.
        """
        entry = self.entry(model)
        if not 0 <= replica <= entry.replicas:
            raise ConfigError(
                f"expected a replica of model {entry.name!r} between 0 and {entry.replicas}; got "
                f"{replica}"
            )
        if not entry.is_fitted:
            raise SnapshotError(
                f"model {entry.name!r}: expected a fitted marginal map; it had seen "
                f"{entry.n_taken} events, too few: take a later snapshot or lower its "
                "preprocess.fit_events"
            )
        schema, learned = self.schema_of(entry.name), self.models[entry.name]
        flow = flow_over(_spec_of(entry, schema), torch.from_numpy(learned.thetas[replica].copy()))
        return Density(schema, Preprocessing.from_arrays(schema, learned.preprocessing), flow)

    def replicas(self, model: str | None = None) -> tuple[Density, ...]:
        """Returns the densities of a model's replicas, without the central one."""
        entry = self.entry(model)
        return tuple(self.density(entry.name, row) for row in range(1, 1 + entry.replicas))

    def ensemble(self, model: str | None = None) -> Mixture:
        """Returns the mixture of a model's central density and its replicas, in equal shares."""
        return Mixture((self.density(model), *self.replicas(model)))


def write_snapshot(
    folder: Path,
    snapshot: Snapshot,
    *,
    manifest_nbytes: int,
    keep: int = 0,
    signer: Signer | None = None,
) -> Path:
    """Writes a snapshot as the next in a folder and points `latest` to it.

    Args:
        folder: the folder of snapshots, made if needed.
        snapshot: what to write; its manifest's layout and hashes are filled in here.
        manifest_nbytes: size that the manifest is padded to.
        keep: how many snapshots to keep; 0 for all.
        signer: who signs it; None for no signature.

    Returns:
        The path of the new snapshot.

    Raises:
        SnapshotError: the manifest doesn't fit, or the disk refused; older snapshots and `latest`
            are as they were.
    """
    model = _encode_model(snapshot)
    document = _manifest_document(snapshot.manifest, {MODEL_FILE: sha256(model)})
    contents = {MODEL_FILE: model, MANIFEST_FILE: sealed(document, manifest_nbytes)}
    if signer is not None:
        contents[SIGNATURE_FILE] = signer.sign(contents)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        existing = _numbered(folder)
        path = folder / f"{(int(existing[-1].name) if existing else 0) + 1:06d}"
        write_folder(path, contents)
        point_to(folder / LATEST, path.name)
        if keep:
            for old in _numbered(folder)[:-keep]:
                shutil.rmtree(old)
    except OSError as error:
        raise SnapshotError(
            f"{folder}: expected to write a snapshot there; got {error}; free space or choose "
            "another run.directory"
        ) from error
    return path


def snapshot_nbytes(path: Path) -> int:
    """Returns the size of a snapshot's files in bytes."""
    return sum(file.stat().st_size for file in path.iterdir())


def required_nbytes(manifest: Manifest) -> int:
    """Returns the smallest `manifest_nbytes` that a manifest fits into."""
    return len(sealed(_manifest_document(manifest, {MODEL_FILE: sha256(b"")})))


def find_snapshot(path: Path) -> Path:
    """Returns the folder of the snapshot that a path means.

    Args:
        path: a snapshot, a folder of snapshots, or the folder of a run: the latest is taken.

    Raises:
        SnapshotError: there is none.
    """
    for candidate in (path, path / LATEST, path / "snapshots" / LATEST):
        if (candidate / MANIFEST_FILE).is_file():
            return candidate.resolve()
    raise SnapshotError(
        f"{path}: expected a snapshot ({MANIFEST_FILE} and {MODEL_FILE}), a folder of snapshots "
        f"or a run; got {'none of them' if path.exists() else 'no such folder'}"
    )


def read_snapshot(path: Path) -> Snapshot:
    """Reads a snapshot and checks it: sizes, hashes, version, layout, finite numbers.

    No byte of it can change unnoticed. That nobody wrote another one in its place is what a
    signature is for (`onlineflows.online.signature`).

    Args:
        path: what `find_snapshot` takes.

    Raises:
        SnapshotError: it is missing or damaged, or of another version.
    """
    path = find_snapshot(path)
    try:
        manifest_bytes = _read(path / MANIFEST_FILE, MAX_MANIFEST_NBYTES)
        model = _read(path / MODEL_FILE, MAX_MODEL_NBYTES)
    except OSError as error:
        raise SnapshotError(f"{path}: expected a readable snapshot; got {error}") from error
    manifest = _decode_manifest(path, manifest_bytes)
    if sha256(model) != manifest.sha256.get(MODEL_FILE):
        raise SnapshotError(
            f"{path / MODEL_FILE}: expected SHA-256 {manifest.sha256.get(MODEL_FILE)}; got "
            f"{sha256(model)}: the file is damaged or not this snapshot's"
        )
    return _decode_model(path, manifest, model)


def _numbered(folder: Path) -> list[Path]:
    numbered = (p for p in folder.iterdir() if p.name.isdigit() and p.is_dir())
    return sorted(numbered, key=lambda p: int(p.name))


def _encode_model(snapshot: Snapshot) -> bytes:
    arrays: dict[str, NDArray[Any]] = {}
    for name, model in snapshot.models.items():
        arrays[f"{name}.theta"] = model.thetas
        arrays |= {f"{name}.map.{key}": array for key, array in model.preprocessing.items()}
    content: bytes = safetensors.numpy.save(arrays)
    return content


def _read(path: Path, limit: int) -> bytes:
    """Returns a file's content; its size is looked at first."""
    with path.open("rb") as file:
        content = file.read(limit + 1) if path.stat().st_size <= limit else b""
    if not content or len(content) > limit:
        raise SnapshotError(
            f"{path}: expected a file of 1 to {limit} bytes; got {path.stat().st_size}"
        )
    return content


def _manifest_document(manifest: Manifest, hashes: dict[str, str]) -> dict[str, Any]:
    """Returns the manifest as plain JSON types with layouts and hashes filled in."""
    document = asdict(manifest)
    schema = EventSchema.from_dict(manifest.schema)
    for entry, written in zip(manifest.models, document["models"], strict=True):
        written["layout"] = _layout(_spec_of(entry, schema))
    document["sha256"] = hashes
    return document


def _decode_manifest(path: Path, content: bytes) -> Manifest:
    path = path / MANIFEST_FILE
    try:
        document = unsealed(content)
    except SnapshotError as error:
        raise SnapshotError(f"{path}: {error}") from error
    if document.get("format") != FORMAT:
        raise SnapshotError(
            f"{path}: expected snapshot format {FORMAT}; got {document.get('format')!r}"
        )
    try:
        # By way of JSON, in which a strict reading still takes lists for tuples.
        return _manifests.validate_json(json.dumps([document]))[0]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"][1:])) or "the whole"
        raise SnapshotError(
            f"{path}: expected a manifest; got {first['msg']!r} for {where}"
        ) from error


def _decode_model(path: Path, manifest: Manifest, content: bytes) -> Snapshot:
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
    return Snapshot(manifest, models)


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
        spec = _spec_of(entry, schema)
        own_schema = entry.region.schema_of(schema, model=entry.name)
    except ConfigError as error:
        raise SnapshotError(f"{where}: expected a model; got {error}") from error
    if entry.layout != _layout(spec):
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


def _spec_of(entry: ModelEntry, schema: EventSchema) -> FlowSpec:
    return build_spec(entry.flow, schema.n_features)


def _layout(spec: FlowSpec) -> tuple[tuple[str, tuple[int, ...], int], ...]:
    """The layout table of θ as a manifest has it."""
    return tuple((e.name, e.shape, e.offset) for e in spec.layout())


def _interval(pair: tuple[float | None, float | None] | None) -> tuple[float, float] | None:
    """An interval of a manifest, where JSON has no infinite numbers."""
    if pair is None:
        return None
    low, high = pair
    return (-math.inf if low is None else low, math.inf if high is None else high)
