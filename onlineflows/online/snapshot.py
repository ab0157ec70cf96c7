"""The product: a fixed-size model of everything that a stream has shown.

A snapshot is a folder of two files, ``model.safetensors`` (of each model the matrix of θ and the
marginal map) and ``manifest.json`` (what they are and how they came about, padded with spaces to a
configured size). It holds no event and no optimiser, loads without executing anything, and its
size in bytes depends on the configuration alone. The folder is written under a temporary name and
renamed; the link ``latest`` beside it points to the newest.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from onlineflows.density import Density
from onlineflows.errors import ConfigError, SnapshotError
from onlineflows.flows import flow_over
from onlineflows.mixture import Mixture
from onlineflows.online.durable import point_to, sha256, write_folder
from onlineflows.online.learned import (
    MODEL_FILE,
    LearnedModel,
    decode_models,
    encode_models,
)
from onlineflows.online.manifest import (
    MANIFEST_FILE,
    Manifest,
    ModelEntry,
    decode_manifest,
    manifest_document,
    spec_of,
)
from onlineflows.online.rundir import RunDirectory, is_number, lane_folders
from onlineflows.online.seal import MAX_MANIFEST_NBYTES, sealed
from onlineflows.online.signature import SIGNATURE_FILE, Signer
from onlineflows.preprocess import Preprocessing
from streams import EventSchema
from streams.errors import nearest

LATEST = "latest"


MAX_MODEL_NBYTES = 4 << 30

"""No model that is read may be larger."""


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
        flow = flow_over(spec_of(entry, schema), torch.from_numpy(learned.thetas[replica].copy()))
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
    model = encode_models(snapshot.models)
    document = manifest_document(snapshot.manifest, {MODEL_FILE: sha256(model)})
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
    return len(sealed(manifest_document(manifest, {MODEL_FILE: sha256(b"")})))


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
    found = "none of them" if path.exists() else "no such folder"
    if (ledger := RunDirectory(path).ledger).is_file():
        found = f"a run that left none: {ledger} tells what became of its events"
    if lanes := lane_folders(path):
        found = (
            f"a run of lanes, each with snapshots of its own: choose {path / lanes[0].name} or "
            f"another of {', '.join(lane.name for lane in lanes)}"
        )
    raise SnapshotError(
        f"{path}: expected a snapshot ({MANIFEST_FILE} and {MODEL_FILE}), a folder of snapshots "
        f"or a run; got {found}"
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
    manifest = decode_manifest(path, manifest_bytes)
    if sha256(model) != manifest.sha256.get(MODEL_FILE):
        raise SnapshotError(
            f"{path / MODEL_FILE}: expected SHA-256 {manifest.sha256.get(MODEL_FILE)}; got "
            f"{sha256(model)}: the file is damaged or not this snapshot's"
        )
    return Snapshot(manifest, decode_models(path, manifest, model))


def _numbered(folder: Path) -> list[Path]:
    numbered = (p for p in folder.iterdir() if is_number(p.name) and p.is_dir())
    return sorted(numbered, key=lambda p: int(p.name))


def _read(path: Path, limit: int) -> bytes:
    """Returns a file's content; its size is looked at first."""
    with path.open("rb") as file:
        content = file.read(limit + 1) if path.stat().st_size <= limit else b""
    if not content or len(content) > limit:
        raise SnapshotError(
            f"{path}: expected a file of 1 to {limit} bytes; got {path.stat().st_size}"
        )
    return content
