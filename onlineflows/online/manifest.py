"""What a snapshot says of itself: ``manifest.json``, read strictly."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from onlineflows.errors import SnapshotError
from onlineflows.flows.spec import FlowSpec, build_spec
from onlineflows.online.seal import unsealed
from onlineflows.region import Region
from onlineflows.settings import FlowConfig
from streams import EventSchema

FORMAT = 3
MANIFEST_FILE = "manifest.json"


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
        n_taken: events of the region and the share.
        n_trained: of these, trained on at least once.
        n_uses: events in all mini-batches, repeats included.
        n_steps: gradient steps.
        layout: the layout table of one θ: name, shape, offset.
        share: k and n, where it learned the k-th of n parts of the stream alone.
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
    share: tuple[int, int] | None = None

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


def manifest_document(manifest: Manifest, hashes: dict[str, str]) -> dict[str, Any]:
    """Returns the manifest as plain JSON types with layouts and hashes filled in."""
    document = asdict(manifest)
    schema = EventSchema.from_dict(manifest.schema)
    for entry, written in zip(manifest.models, document["models"], strict=True):
        written["layout"] = layout_of(spec_of(entry, schema))
    document["sha256"] = hashes
    return document


def decode_manifest(path: Path, content: bytes) -> Manifest:
    """Returns the manifest in the content of a snapshot's file.

    Raises:
        SnapshotError: it is damaged, or of another version.
    """
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


def spec_of(entry: ModelEntry, schema: EventSchema) -> FlowSpec:
    """Returns the architecture of a model's flow."""
    return build_spec(entry.flow, schema.n_features)


def layout_of(spec: FlowSpec) -> tuple[tuple[str, tuple[int, ...], int], ...]:
    """Returns the layout table of θ as a manifest has it."""
    return tuple((e.name, e.shape, e.offset) for e in spec.layout())


def _interval(pair: tuple[float | None, float | None] | None) -> tuple[float, float] | None:
    """An interval of a manifest, where JSON has no infinite numbers."""
    if pair is None:
        return None
    low, high = pair
    return (-math.inf if low is None else low, math.inf if high is None else high)
