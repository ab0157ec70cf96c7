"""What a validation found: from the documents of its parts to results.

The heart of it is the comparison that a snapshot is judged by: CWoLa on data, on samples, on
byte-equal events.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onlineflows.errors import DataError
from onlineflows.offline.compression import CompressionResult, compare_with_stored
from onlineflows.offline.inputs import MethodConfig
from onlineflows.offline.material import Material
from onlineflows.offline.methods import best_possible
from onlineflows.offline.parts import Document, Part, result_of
from onlineflows.offline.scores import MethodResult, average
from onlineflows.offline.searches import SnapshotSearches, StoredCurve
from onlineflows.offline.studies import NOT_POSSIBLE, yields_of
from onlineflows.settings import ValidateConfig

NO_TRUTH = (
    "no truth labels: significance improvement, AUC and ROC need labelled events that were not "
    "trained on, as an [evaluation] section names them"
)
"""Why searches aren't rated."""

Documents = Mapping[str, Document]
"""Of the finished parts, by name."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The curves, each on the same evaluation events.

    Args:
        data: trained on the data.
        snapshot: trained on samples of the snapshot.
        byte_equal: trained on the random fraction of the data that fits into the snapshot's size;
            mean over the draws, with their standard deviation as error.
        optimum: the exact likelihood ratio where it is known, else None.
        n_byte_equal: events in each draw.
        n_draws: draws.
        n_untrainable: draws with too few events to train on, counted as a random score.
        n_signal: evaluation signal in the signal region.
        n_background: evaluation background in the signal region.
        seconds: wall time of each curve.
    """

    data: MethodResult
    snapshot: MethodResult
    byte_equal: MethodResult
    optimum: MethodResult | None
    n_byte_equal: int
    n_draws: int
    n_untrainable: int
    n_signal: int
    n_background: int
    seconds: dict[str, float]

    @property
    def curves(self) -> dict[str, MethodResult]:
        """The curves by the names they have in the report."""
        named = {"data": self.data, "snapshot": self.snapshot, "byte_equal": self.byte_equal}
        return named if self.optimum is None else {**named, "optimum": self.optimum}


@dataclass(frozen=True, slots=True, eq=False)
class MethodLine:
    """A method in one place.

    Args:
        name: in the table of methods.
        on: "data" or "snapshot".
        result: mean over trainings with their standard deviation; of a single training with the
            errors of the evaluation.
        n_trainings: trainings.
    """

    name: str
    on: str
    result: MethodResult
    n_trainings: int


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Everything that the parts say together.

    Args:
        comparison: the heart of it; None where no truth is known.
        methods: further searches.
        hunts: bump hunts after cuts, by what was hunted in; see `spectra.hunts`.
        closure: lines of the closure table.
        compression: what the snapshot is worth in stored events; None where not asked for.
        likeness: two-sample tests of samples against data; None where not asked for.
        not_possible: what couldn't be done, by name, and why.
        unrated: why there is no comparison; empty where there is one.
    """

    comparison: Comparison | None
    methods: tuple[MethodLine, ...] = ()
    hunts: Mapping[str, Sequence[Document]] = field(default_factory=dict)
    closure: tuple[Document, ...] = ()
    compression: CompressionResult | None = None
    likeness: Document | None = None
    not_possible: Mapping[str, str] = field(default_factory=dict)
    unrated: str = ""

    @property
    def curves(self) -> dict[str, MethodResult]:
        """The curves of the comparison by the names they have in the report."""
        return {} if self.comparison is None else self.comparison.curves


def assemble(
    parts: Sequence[Part], documents: Documents, material: Material, settings: ValidateConfig
) -> Findings:
    """Returns what the finished parts say.

    Args:
        parts: of the plan.
        documents: theirs, by name.
        material: what they worked on.
        settings: regions, floor, seed.
    """
    possible = {
        name: document for name, document in documents.items() if NOT_POSSIBLE not in document
    }
    refused = {
        name: str(document[NOT_POSSIBLE])
        for name, document in documents.items()
        if NOT_POSSIBLE in document
    }
    hunts: dict[str, Sequence[Document]] = {}
    for name, found in documents["cwola_snapshot"].get("hunts", {}).items():
        if isinstance(found, dict):
            refused[f"bump hunt in {name}"] = str(found[NOT_POSSIBLE])
        else:
            hunts[name] = found
    compression = _compression(parts, possible, material, settings)
    is_rated = material.evaluation is not None
    return Findings(
        comparison=_comparison(parts, documents, material, settings) if is_rated else None,
        methods=_methods(parts, possible),
        hunts=hunts,
        closure=tuple(possible.get("closure", {}).get("lines", ())),
        compression=compression,
        likeness=possible.get("likeness"),
        not_possible=refused,
        unrated="" if is_rated else NO_TRUTH,
    )


def _comparison(
    parts: Sequence[Part], documents: Documents, material: Material, settings: ValidateConfig
) -> Comparison:
    config = MethodConfig.from_settings(settings)
    tested = material.tested(config.regions)
    drawn = [documents[part.name] for part in parts if part.kind == "byte_equal"]
    draws = [result_of(document["result"]) for document in drawn]
    data, snapshot = documents["cwola_data"], documents["cwola_snapshot"]
    return Comparison(
        data=result_of(data["result"]),
        snapshot=result_of(snapshot["result"]),
        byte_equal=average(draws),
        optimum=best_possible(tested, config),
        n_byte_equal=material.n_byte_equal,
        n_draws=len(draws),
        n_untrainable=sum(draw.n_train_sr == 0 for draw in draws),
        n_signal=int(np.count_nonzero(tested.label == 1)),
        n_background=int(np.count_nonzero(tested.label == 0)),
        seconds={
            "data": data["seconds"],
            "snapshot": snapshot["seconds"],
            "byte_equal": sum(document["seconds"] for document in drawn),
        },
    )


def _methods(parts: Sequence[Part], documents: Documents) -> tuple[MethodLine, ...]:
    found: dict[tuple[str, str], list[MethodResult]] = {}
    for part in parts:
        if part.kind == "method" and part.name in documents:
            place = str(part.arguments["name"]), str(part.arguments["on"])
            found.setdefault(place, []).append(result_of(documents[part.name]["result"]))
    return tuple(
        MethodLine(name, on, results[0] if len(results) == 1 else average(results), len(results))
        for (name, on), results in found.items()
    )


def _compression(
    parts: Sequence[Part], documents: Documents, material: Material, settings: ValidateConfig
) -> CompressionResult | None:
    stored = [documents[p.name] for p in parts if p.kind == "stored" and p.name in documents]
    sampled = [documents[p.name] for p in parts if p.kind == "sampled" and p.name in documents]
    if len(stored) < 2 or not sampled:
        return None
    ordered = sorted(stored, key=lambda document: int(document["n_events"]))
    columns: dict[str, Any] = {
        name: np.array([np.nan if v is None else v for document in sampled for v in document[name]])
        for name in ("sic", "significance", "signal_kept")
    }
    try:
        return compare_with_stored(
            StoredCurve(
                np.array([document["n_events"] for document in ordered]),
                tuple(np.array(document["sic"]) for document in ordered),
            ),
            SnapshotSearches(**columns),
            yields=yields_of(material, settings),
            n_seen=len(material.data),
            f_store=material.snapshot_nbytes
            / max(material.data.shape[1] * 4 * len(material.data), 1),
            rng=np.random.default_rng(settings.seed),
        )
    except DataError:
        return None
