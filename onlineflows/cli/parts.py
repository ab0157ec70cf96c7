"""The parts of a validation, computed here or in processes of their own, kept as they finish."""

import dataclasses
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from onlineflows.density import AnyDensity
from onlineflows.offline.material import Material
from onlineflows.offline.parts import Document, Part, PartStore
from onlineflows.offline.regions import Regions
from onlineflows.offline.roles import models_by_role
from onlineflows.offline.studies import run_part
from onlineflows.online.snapshot import Snapshot, read_snapshot
from onlineflows.settings import ValidateConfig

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Processes side by side, each with a thread for every core, wait for each other."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a process needs to compute parts.

    Args:
        snapshot: the snapshot.
        arrays: folder of the material's arrays.
        others: the material's other fields, but schema and densities.
        settings: of the validation.
    """

    snapshot: Path
    arrays: Path
    others: Mapping[str, Any]
    settings: ValidateConfig


def roles_of(snapshot: Snapshot, settings: ValidateConfig) -> dict[str, str]:
    """Returns the names of the snapshot's models by the roles they play in a search.

    A model that learned a share of the stream plays one where no model of all events can.
    """
    regions = Regions(settings.signal_region, settings.sidebands)
    fitted = [entry for entry in snapshot.manifest.models if entry.is_fitted]
    whole = {entry.name: entry.region for entry in fitted if entry.share is None}
    learned = {entry.name: entry.region for entry in fitted}
    return models_by_role(learned, regions) | models_by_role(whole, regions)


def averaged(snapshot: Snapshot, name: str | None) -> AnyDensity:
    """Returns a model's density, averaged over its replicas where it has some."""
    return snapshot.ensemble(name) if snapshot.entry(name).replicas else snapshot.density(name)


def densities_by_role(snapshot: Snapshot, settings: ValidateConfig) -> dict[str, AnyDensity]:
    """Returns the snapshot's densities by the roles they play in a search."""
    return {role: averaged(snapshot, name) for role, name in roles_of(snapshot, settings).items()}


def compute(
    parts: Sequence[Part],
    material: Material,
    settings: ValidateConfig,
    store: PartStore,
    *,
    snapshot: Path,
    jobs: int = 1,
    progress: Callable[[int, int], None],
) -> dict[str, Document]:
    """Returns the documents of all parts; those that were kept aren't computed again.

    Args:
        parts: of the plan.
        material: what they work on.
        settings: of the validation.
        store: where finished parts are.
        snapshot: for other processes.
        jobs: processes.
        progress: told the cost of what is done and of everything.

    Raises:
        OnlineFlowsError: from a part without which there is no report; the others are kept.
    """
    plain = dataclasses.asdict(settings)
    keys = {part.name: part.key(material.fingerprint, plain) for part in parts}
    found = {part.name: store.load(part.name, keys[part.name]) for part in parts}
    documents = {name: document for name, document in found.items() if document is not None}
    left = [part for part in parts if part.name not in documents]
    total = sum(part.cost for part in parts)
    done = total - sum(part.cost for part in left)
    progress(done, total)
    with _computing(material, settings, snapshot=snapshot, jobs=min(jobs, len(left))) as run:
        for part, document in run(left):
            documents[part.name] = document
            store.save(part.name, keys[part.name], document)
            done += part.cost
            progress(done, total)
    return documents


Run = Callable[[Sequence[Part]], Iterator[tuple[Part, Document]]]


@contextmanager
def _computing(
    material: Material, settings: ValidateConfig, *, snapshot: Path, jobs: int
) -> Iterator[Run]:
    """Yields what computes parts, as they finish."""
    if jobs <= 1:
        yield lambda parts: ((part, run_part(part, material, settings)) for part in parts)
        return
    with tempfile.TemporaryDirectory(prefix="onlineflows-") as name:
        folder = Path(name)
        material.save(folder)
        others = {
            "snapshot_nbytes": material.snapshot_nbytes,
            "identity": material.identity,
            "covers_everything": material.covers_everything,
            "n_learned": material.n_learned,
        }
        bench = Bench(snapshot, folder, others, settings)
        context = multiprocessing.get_context("spawn")
        with (
            _one_thread_each(),
            ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(bench,)) as pool,
        ):

            def run(parts: Sequence[Part]) -> Iterator[tuple[Part, Document]]:
                waiting = {pool.submit(_run_here, part): part for part in parts}
                try:
                    for future in as_completed(waiting):
                        yield waiting[future], future.result()
                finally:
                    for future in waiting:
                        future.cancel()

            yield run


@contextmanager
def _one_thread_each() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_HERE: dict[str, Any] = {}
"""Material and settings of a process of the pool, set once when it begins."""


def _begin(bench: Bench) -> None:
    torch.set_num_threads(1)
    snapshot = read_snapshot(bench.snapshot)
    densities = densities_by_role(snapshot, bench.settings)
    _HERE["settings"] = bench.settings
    _HERE["material"] = Material.load(
        bench.arrays, snapshot.schema, densities=densities, **bench.others
    )


def _run_here(part: Part) -> Document:
    return run_part(part, _HERE["material"], _HERE["settings"])
