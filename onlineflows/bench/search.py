"""`search`: every method on the data, on the snapshot and on stored events of the snapshot's size.

A cell is one stream searched in one place: on all its data ("data"), on what the snapshot holds
("snapshot"), on one draw of stored events ("byte_equal"), or with truth ("truth": the ceilings and
the optimum).
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.bench.learning import feed
from onlineflows.bench.stored import Passes, learn_stored
from onlineflows.bench.study import Key, Row
from onlineflows.density import AnyDensity
from onlineflows.errors import TooFewEventsError
from onlineflows.offline.inputs import MethodConfig, MethodInputs
from onlineflows.offline.methods import METHODS, best_possible, learned_nothing, search
from onlineflows.offline.roles import models_by_role
from onlineflows.offline.scores import Evaluation, MethodResult
from onlineflows.online.learner import Learner
from onlineflows.online.publisher import About, Publisher
from onlineflows.online.snapshot import Snapshot, read_snapshot, snapshot_nbytes
from onlineflows.region import Region
from onlineflows.settings import LearnerConfig, SnapshotConfig
from streams import EventSchema

Events = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SearchData:
    """One stream and what is needed to search it and to rate the search.

    Args:
        schema: of the events.
        x: the stream, shape (n, d), in its order.
        evaluation: labelled events of the signal region that aren't in the stream.
        background: true background for the ceilings, shape (k, d).
        signal: true signal for the ceilings, shape (k, d).
        has_own_background: whether the background isn't in the stream: without, there is no
            idealised anomaly detection.
    """

    schema: EventSchema
    x: Events
    evaluation: Evaluation
    background: Events
    signal: Events
    has_own_background: bool = True


OpenData = Callable[[float, int], SearchData]
"""Returns the stream of a signal fraction and a seed."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A method with settings of its own.

    Args:
        method: name in `METHODS`.
        changes: of `MethodConfig`.
    """

    method: str
    changes: Mapping[str, Any] = field(default_factory=dict)


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {name: Variant(name) for name in METHODS}
    | {
        "anode_fiducial": Variant("anode", {"fiducial": 0.005}),
        "cathode_input": Variant("cathode", {"mass": "input"}),
        "cathode_removed": Variant("cathode", {"mass": "removed"}),
    }
)
"""What is run in every place where its inputs exist."""

CEILINGS = ("idealised", "supervised")
COSTLY = ("cathode_input", "cathode_removed")
"""Variants that are run on the first seed's data and snapshot only."""


@dataclass(frozen=True, slots=True)
class SearchSetting:
    """Sizes of the study.

    Args:
        dataset: name of the events.
        signal_fractions: of the streams.
        seeds: of the streams.
        draws: of the stored events.
        learner: the models of the snapshot, and how they are trained.
        snapshot: size of its manifest.
        method: regions, classifier, floor.
        n_samples: events sampled from the snapshot, had they the whole spectrum; 0 for as many as
            were seen.
        passes: how often stored events may be used.
        left_out: variants that aren't run.
    """

    dataset: str
    signal_fractions: tuple[float, ...]
    seeds: tuple[int, ...]
    draws: int
    learner: LearnerConfig
    snapshot: SnapshotConfig
    method: MethodConfig
    n_samples: int = 0
    passes: Passes = field(default_factory=Passes)
    left_out: tuple[str, ...] = CEILINGS

    def digest(self, place: str) -> str:
        """Returns eight digits that stand for everything that decides the result of a cell.

        Args:
            place: where is searched; only a snapshot is sampled.
        """
        document = asdict(self)
        if place != "snapshot":
            del document["n_samples"]
        for name in ("signal_fractions", "seeds", "draws"):
            del document[name]
        # Threads change how long it takes, not what comes out.
        del document["method"]["trees"]["threads"]
        canonical = json.dumps(document, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def keys(setting: SearchSetting) -> list[Key]:
    """Returns the cells of the study, those of a stream one after the other, a seed at a time.

    They name their settings: a record never mixes what was measured with others.
    """
    places = ["truth", "data", "snapshot", *(f"byte_equal {i}" for i in range(setting.draws))]
    same = {"dataset": setting.dataset}
    return [
        {
            **same,
            "settings": setting.digest(place),
            "signal_fraction": fraction,
            "seed": seed,
            "place": place,
        }
        for seed in setting.seeds
        for fraction in setting.signal_fractions
        for place in places
    ]


def measure(open_data: OpenData, setting: SearchSetting, key: Key) -> list[Row]:
    """Returns a row for each method and variant in one place.

    Args:
        open_data: makes the stream.
        setting: what is measured.
        key: one of `keys`.
    """
    torch.set_num_threads(1)
    data = open_data(key["signal_fraction"], key["seed"])
    place, _, draw = key["place"].partition(" ")
    rng = np.random.default_rng([key["seed"], *place.encode(), int(draw or 0)])
    if key["seed"] != setting.seeds[0] or place == "byte_equal":
        setting = replace(setting, left_out=(*CEILINGS, *COSTLY))
    match place:
        case "truth":
            return list(_truth(data, setting, rng))
        case "data":
            return list(_stored(data, data.x, setting, rng, on="data"))
        case "snapshot":
            return list(_snapshot(data, setting, rng))
    n_kept = min(_nbytes(data, setting) // data.schema.event_nbytes, len(data.x))
    kept = data.x[rng.choice(len(data.x), size=n_kept, replace=False)]
    return list(_stored(data, kept, setting, rng, on="byte_equal"))


def _truth(data: SearchData, setting: SearchSetting, rng: np.random.Generator) -> Iterator[Row]:
    optimum = best_possible(data.evaluation, setting.method)
    if optimum is not None:
        yield _row("truth", "optimum", optimum, 0.0)
    events = {"signal": data.signal, "background": data.background, "data": data.x}
    for name in CEILINGS:
        if name != "idealised" or data.has_own_background:
            yield _searched("truth", name, MethodInputs(events), data, setting, rng)


def _stored(
    data: SearchData, x: Events, setting: SearchSetting, rng: np.random.Generator, *, on: str
) -> Iterator[Row]:
    """Searches in stored events; densities are trained on them offline."""
    roles = _roles(setting)
    densities: dict[str, AnyDensity] = {}
    facts: dict[str, Any] = {"n_events": len(x)}
    for model in setting.learner.models:
        if model.name in roles.values():
            began = time.perf_counter()
            try:
                stored = learn_stored(data.schema, x, setting.learner, model, setting.passes)
            except TooFewEventsError:
                continue
            densities[model.name] = stored.density
            facts[f"uses_{model.name}"] = stored.uses
            facts[f"train_s_{model.name}"] = time.perf_counter() - began
    known = {role: name for role, name in roles.items() if name in densities}
    inputs = MethodInputs({"data": x}, {role: densities[name] for role, name in known.items()})
    for name, variant in VARIANTS.items():
        wanted = METHODS[variant.method].densities
        if name not in setting.left_out and set(wanted) <= set(roles):
            is_known = set(wanted) <= set(known)
            given = inputs if is_known else None
            yield {**_searched(on, name, given, data, setting, rng), **facts}


def _snapshot(data: SearchData, setting: SearchSetting, rng: np.random.Generator) -> Iterator[Row]:
    """Searches with nothing but a snapshot that was written and read again."""
    began = time.perf_counter()
    snapshot, nbytes = _published(data, setting, data.x)
    facts = {
        "n_events": len(data.x),
        "event_nbytes": data.schema.event_nbytes,
        "nbytes": nbytes,
        "n_parameters": snapshot.n_parameters,
        "train_s": time.perf_counter() - began,
    }
    roles = _roles(setting)
    densities = {role: snapshot.ensemble(name) for role, name in roles.items()}
    began = time.perf_counter()
    inputs = MethodInputs(
        {
            "data": sampled(
                snapshot, roles["data"], setting.n_samples, seed=int(rng.integers(2**31))
            )
        },
        densities,
    )
    facts |= {"n_samples": len(inputs.events["data"]), "sample_s": time.perf_counter() - began}
    # Where there are more samples than events, as many more of background would only cost time.
    more = max(1.0, setting.n_samples / len(data.x))
    oversample = max(1.0, setting.method.oversample / more)
    sparing = replace(setting, method=replace(setting.method, oversample=oversample))
    for name, variant in VARIANTS.items():
        if name not in setting.left_out and METHODS[variant.method].runs_on(inputs):
            yield {**_searched("snapshot", name, inputs, data, sparing, rng), **facts}
    if "background" in densities:
        with_stored = MethodInputs({"data": data.x}, densities)
        row = _searched("snapshot", "cathode", with_stored, data, setting, rng)
        yield {**row, "method": "cathode_stored", **facts}


def sampled(snapshot: Snapshot, name: str, n_samples: int, *, seed: int) -> Events:
    """Returns samples of a model: as many as its region would have of `n_samples` in all.

    Args:
        snapshot: what is sampled.
        name: of the model; with replicas, the mixture of all.
        n_samples: events of the whole spectrum; 0 for as many as were seen.
        seed: of the draw.
    """
    n_seen, n_taken = snapshot.manifest.n_seen, snapshot.entry(name).n_taken
    n = round((n_samples or n_seen) * n_taken / n_seen)
    return snapshot.ensemble(name).sample(n, seed)


def _published(data: SearchData, setting: SearchSetting, x: Events) -> tuple[Snapshot, int]:
    """Returns the snapshot after one pass over events, as read from a disk, and its size."""
    learner = Learner(data.schema, setting.learner)
    feed(learner, x)
    learner.finish()
    about = About("search", {"run": 1, "n_events": len(x)})
    with tempfile.TemporaryDirectory() as folder:
        publisher = Publisher(Path(folder), setting.snapshot, now=lambda: datetime.now(UTC))
        path = publisher.publish(about, learner, ledger={}, final=True)
        if path is None:
            raise TooFewEventsError(f"expected events to learn from; got {len(x)}")
        return read_snapshot(path), snapshot_nbytes(path)


def _nbytes(data: SearchData, setting: SearchSetting) -> int:
    """Returns the size of the stream's snapshot: it depends on the configuration alone."""
    buffer, gate = setting.learner.buffer, setting.learner.gate
    config = replace(setting.learner, buffer=replace(buffer, uses=1), gate=replace(gate, events=0))
    return _published(data, replace(setting, learner=config), data.x[:2000])[1]


def _roles(setting: SearchSetting) -> dict[str, str]:
    learned = {m.name: Region(m.inside, m.outside) for m in setting.learner.models}
    return models_by_role(learned, setting.method.regions)


def _searched(
    on: str,
    name: str,
    inputs: MethodInputs | None,
    data: SearchData,
    setting: SearchSetting,
    rng: np.random.Generator,
) -> Row:
    """Returns a method's row; that of chance where there is too little to learn from."""
    variant = VARIANTS[name]
    config = replace(setting.method, **variant.changes)
    began = time.perf_counter()
    result = None
    if inputs is not None:
        try:
            result = search(variant.method, inputs, data.evaluation, config=config, rng=rng)
        except TooFewEventsError:
            result = None
    if result is None:
        result = learned_nothing(data.evaluation, config)
    return _row(on, name, result, time.perf_counter() - began)


def _row(on: str, method: str, result: MethodResult, seconds: float) -> dict[str, Any]:
    return {
        "on": on,
        "method": method,
        "max_sic": result.max_sic.value,
        "max_sic_error": result.max_sic.error,
        "auc": result.auc.value,
        "auc_error": result.auc.error,
        "n_train_sr": result.n_train_sr,
        "n_train_sb": result.n_train_sb,
        "seconds": seconds,
    }
