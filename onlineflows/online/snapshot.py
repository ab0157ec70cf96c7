"""The product: a fixed-size model of everything that a stream has shown.

A snapshot is a folder of two files, ``model.safetensors`` (θ and the marginal map) and
``manifest.json`` (what they are and how they came about, padded with spaces to a configured
size). It holds no event and no optimiser, loads without executing anything, and its size in bytes
depends on the configuration alone. The folder is written under a temporary name and renamed;
the link ``latest`` beside it points to the newest.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from onlineflows.density import Density
from onlineflows.errors import SnapshotError
from onlineflows.flows import flow_over
from onlineflows.flows.spec import FlowSpec, build_spec
from onlineflows.mixture import Mixture
from onlineflows.online.durable import point_to, sha256, write_folder
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import FlowConfig
from streams import EventSchema, SchemaError
from streams.errors import nearest

FORMAT = 1
MODEL_FILE = "model.safetensors"
MANIFEST_FILE = "manifest.json"
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot says of itself.

    Args:
        run_name: name of the run.
        run: number of the producer's run.
        created_utc: when it was written, ISO 8601.
        code_version: version of this package.
        schema: the events' schema as `EventSchema.to_dict` gives it.
        flow: the flow's configuration.
        n_seen: events received, skipped ones included.
        n_trained: events trained on at least once.
        n_uses: events in all mini-batches, repeats included.
        n_steps: gradient steps.
        train_seconds: time spent learning.
        final: whether the run had ended.
        tainted: reasons why the model is not what the configuration asked for; empty if it is.
        ledger: the consumer's counts.
        history: NLL of new events against events seen (`NllHistory.to_dict`).
        drift: the drift monitor's counts and newest alarms.
        stream: what the producer said at the begin of the run: mode, seed, configuration, and
            its source files with their hashes.
        config: the run's configuration, without folders.
        layout: the layout table of θ: name, shape, offset.
        sha256: hash of each other file of the snapshot.
        format: version of the snapshot's format.
    """

    run_name: str
    run: int
    created_utc: str
    code_version: str
    schema: dict[str, Any]
    flow: FlowConfig
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
    layout: tuple[tuple[str, tuple[int, ...], int], ...] = ()
    sha256: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """θ, the marginal map and the manifest.

    Args:
        manifest: what they are.
        theta: the averaged parameters, shape (n_parameters,), float32.
        preprocessing: the arrays of `Preprocessing.to_arrays`.
    """

    manifest: Manifest
    theta: NDArray[np.float32]
    preprocessing: Mapping[str, NDArray[np.floating[Any]]]

    @property
    def schema(self) -> EventSchema:
        """What the events are."""
        return EventSchema.from_dict(self.manifest.schema)

    @property
    def flow_spec(self) -> FlowSpec:
        """The architecture of the flow."""
        return build_spec(self.manifest.flow, self.schema.n_features)

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models in the order of the configuration."""
        return ("joint",)

    def replicas(self, model: str | None = None) -> tuple[Density, ...]:
        """Returns the densities of a model's bootstrap replicas."""
        self._require(model)
        return ()

    def ensemble(self, model: str | None = None) -> Mixture:
        """Returns the mixture of a model's central density and its replicas, equal weights."""
        return Mixture((self.density(model), *self.replicas(model)))

    def _require(self, model: str | None) -> None:
        if model is not None and model not in self.model_names:
            raise SnapshotError(
                f"expected a model of this snapshot; got {model!r}; "
                f"{nearest(model, self.model_names)}"
            )

    def density(self, model: str | None = None, replica: int = 0) -> Density:
        """Returns the density of the events in the schema's units.

        Args:
            model: its name; None for the first.
            replica: 0 for the central density, 1 … R for the bootstrap replicas.
        """
        self._require(model)
        if replica != 0:
            raise SnapshotError(f"replica: expected 0 in this snapshot; got {replica}")
        flow = flow_over(self.flow_spec, torch.from_numpy(self.theta.copy()))
        return Density(
            self.schema, Preprocessing.from_arrays(self.schema, self.preprocessing), flow
        )


def write_snapshot(
    folder: Path, snapshot: Snapshot, *, manifest_nbytes: int, keep: int = 0
) -> Path:
    """Writes a snapshot as the next in a folder and points `latest` to it.

    Args:
        folder: the folder of snapshots, made if needed.
        snapshot: what to write; its manifest's layout and hashes are filled in here.
        manifest_nbytes: size that the manifest is padded to.
        keep: how many snapshots to keep; 0 for all.

    Returns:
        The path of the new snapshot.

    Raises:
        SnapshotError: the manifest doesn't fit, or the disk refused; older snapshots and `latest`
            are as they were.
    """
    model = _encode_model(snapshot)
    manifest = _encode_manifest(snapshot.manifest, {MODEL_FILE: sha256(model)}, manifest_nbytes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        existing = _numbered(folder)
        path = folder / f"{(int(existing[-1].name) if existing else 0) + 1:06d}"
        write_folder(path, {MODEL_FILE: model, MANIFEST_FILE: manifest})
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
    return len(_manifest_json(manifest, {MODEL_FILE: sha256(b"")})) + 1


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
    """Reads a snapshot and checks it: sizes, hash, version, layout, finite numbers.

    Args:
        path: what `find_snapshot` takes.

    Raises:
        SnapshotError: it is missing or damaged, or of another version.
    """
    path = find_snapshot(path)
    try:
        manifest_bytes = (path / MANIFEST_FILE).read_bytes()
        model = (path / MODEL_FILE).read_bytes()
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
    arrays = {f"map.{name}": array for name, array in snapshot.preprocessing.items()}
    content: bytes = safetensors.numpy.save({"theta": snapshot.theta, **arrays})
    return content


def _encode_manifest(manifest: Manifest, hashes: dict[str, str], nbytes: int) -> bytes:
    content = _manifest_json(manifest, hashes)
    if len(content) >= nbytes:
        raise SnapshotError(
            f"expected a manifest of at most {nbytes} bytes; got {len(content) + 1}: raise "
            "snapshot.manifest_nbytes"
        )
    return content + b" " * (nbytes - len(content) - 1) + b"\n"


def _manifest_json(manifest: Manifest, hashes: dict[str, str]) -> bytes:
    """Returns the manifest's JSON with layout and hashes filled in."""
    document = asdict(manifest)
    spec = build_spec(manifest.flow, len(manifest.schema["features"]))
    document["layout"] = [[e.name, e.shape, e.offset] for e in spec.layout()]
    document["sha256"] = hashes
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()


def _decode_manifest(path: Path, content: bytes) -> Manifest:
    try:
        document = json.loads(content)
        if isinstance(document, dict) and document.get("format") != FORMAT:
            raise SnapshotError(
                f"{path}: expected snapshot format {FORMAT}; got {document.get('format')!r}"
            )
        return TypeAdapter(Manifest).validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise SnapshotError(
            f"{path / MANIFEST_FILE}: expected a manifest; got {first['msg']!r} for {where}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise SnapshotError(f"{path / MANIFEST_FILE}: expected a manifest; got {error}") from error


def _decode_model(path: Path, manifest: Manifest, content: bytes) -> Snapshot:
    try:
        arrays = safetensors.numpy.load(content)
        theta = arrays.pop("theta")
        preprocessing = {name.removeprefix("map."): a for name, a in arrays.items()}
        snapshot = Snapshot(manifest, theta, preprocessing)
        spec = snapshot.flow_spec
    except (SafetensorError, KeyError, SchemaError) as error:
        raise SnapshotError(f"{path / MODEL_FILE}: expected a model; got {error!r}") from error
    layout = tuple((e.name, e.shape, e.offset) for e in spec.layout())
    if layout != manifest.layout or theta.shape != (spec.n_parameters,):
        raise SnapshotError(
            f"{path}: expected θ of {spec.n_parameters} parameters in the layout of its flow; "
            f"got {theta.shape} and another layout: the snapshot is of another version"
        )
    is_finite = all(np.isfinite(array).all() for array in (theta, *arrays.values()))
    if theta.dtype != np.float32 or not is_finite:
        raise SnapshotError(f"{path / MODEL_FILE}: expected finite float32 parameters; got others")
    return snapshot
