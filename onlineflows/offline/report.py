"""The report of a validation: report.json, report.html and the figures, in one folder."""

import dataclasses
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from onlineflows.offline.curves import roc_figure, sic_figure
from onlineflows.offline.distance import Distance
from onlineflows.offline.distributions import (
    TwoSamples,
    correlations_figure,
    marginals_figure,
    spectrum_figure,
)
from onlineflows.offline.inspection import History, nll_figure
from onlineflows.offline.material import Material
from onlineflows.offline.methods import METHODS
from onlineflows.offline.page import render_page
from onlineflows.offline.regions import Regions
from onlineflows.offline.results_figures import closure_figure, compression_figure, methods_figure
from onlineflows.offline.scores import MethodResult
from onlineflows.offline.spectra import spectra_figure
from onlineflows.offline.style import save_figure
from onlineflows.offline.validate import Comparison, Findings, MethodLine
from onlineflows.settings import ValidateConfig

Document = dict[str, Any]

_LIBRARIES = ("onlineflows", "numpy", "scipy", "scikit-learn", "matplotlib", "torch")
_HUNTED = {
    "data": "data, classifier trained on the snapshot",
    "samples": "samples, scaled to the events seen",
}
_NAMES = {
    "data": "all data",
    "snapshot": "samples of the snapshot",
    "byte_equal": "stored events of the snapshot's size",
    "optimum": "optimum (likelihood ratio)",
}


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the report says of the run.

    Args:
        name: the run's name.
        created: when the report was made, as it is printed.
        snapshot_nbytes: size of the snapshot.
        events_seen: events that the learner received, skipped ones included.
        event_nbytes: size of one event, 4 bytes for each feature.
        facts: further lines, such as flow and run condition, by their names.
    """

    name: str
    created: str
    snapshot_nbytes: int
    events_seen: int
    event_nbytes: int
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One line of the printed table, ready to print.

    Args:
        name: what the classifier was trained on.
        max_sic: largest significance improvement with its error.
        auc: area under the ROC curve with its error.
        trained_on: training events in signal region and sidebands.
    """

    name: str
    max_sic: str
    auc: str
    trained_on: str


def build_report(
    findings: Findings,
    run: RunFacts,
    settings: ValidateConfig,
    *,
    distance: Distance | None = None,
) -> Document:
    """Returns the content of report.json as plain JSON types.

    Args:
        findings: of the validation.
        run: what the snapshot is.
        settings: what was asked for.
        distance: distance to the true density, where that is known.
    """
    comparison = findings.comparison
    return {
        "format": 1,
        "run": run.name,
        "created": run.created,
        "snapshot_nbytes": run.snapshot_nbytes,
        "events_seen": run.events_seen,
        "event_nbytes": run.event_nbytes,
        "nats_to_truth": None if distance is None else distance.nats,
        "nats_to_truth_error": None if distance is None else distance.error,
        "nats_to_truth_events": None if distance is None else distance.n_events,
        "nats_to_truth_outside": None if distance is None else distance.n_outside,
        "unrated": findings.unrated or None,
        "cwola": None if comparison is None else _compared(comparison),
        "evaluation": None
        if comparison is None
        else {"n_signal": comparison.n_signal, "n_background": comparison.n_background},
        "methods": [_method(line) for line in findings.methods],
        "bump_hunt": {name: list(found) for name, found in findings.hunts.items()},
        "closure": list(findings.closure),
        "compression": None if findings.compression is None else findings.compression.document(),
        "likeness": findings.likeness,
        "not_possible": dict(findings.not_possible),
        "facts": dict(run.facts),
        "settings": json.loads(json.dumps(dataclasses.asdict(settings))),
        "seeds": {"validate": settings.seed},
        "versions": installed_versions(),
    }


def validation_figures(
    findings: Findings, material: Material, history: History, settings: ValidateConfig
) -> dict[str, Figure]:
    """Returns every figure of the report by its file name.

    Args:
        findings: of the validation.
        material: events of the snapshot and of the data.
        history: NLL over time.
        settings: signal region and sidebands.
    """
    comparison = findings.comparison
    regions = Regions(settings.signal_region, settings.sidebands)
    samples = TwoSamples(material.schema, material.samples, material.data_of_samples)
    figures = {}
    if comparison is not None:
        tested = f"{comparison.n_background:,} background, {comparison.n_signal:,} signal in the SR"
        figures["sic"] = sic_figure(comparison.curves, caption=tested)
        figures["roc"] = roc_figure(comparison.curves, caption=tested)
    if findings.methods:
        optimum = None if comparison is None else comparison.optimum
        figures["methods"] = methods_figure(findings.methods, optimum=optimum)
    if findings.closure:
        figures["closure"] = closure_figure(findings.closure)
    resonant = material.schema.resonant
    for name, found in findings.hunts.items():
        figures[f"bump_{name}"] = spectra_figure(
            found, resonant, settings.signal_region, caption=_HUNTED[name]
        )
    if findings.compression is not None:
        figures["compression"] = compression_figure(findings.compression)
    figures["spectrum"] = spectrum_figure(samples, regions)
    if len(history.nll) > 1:  # one point is no line
        figures["nll"] = nll_figure(history)
    figures["marginals"] = marginals_figure(samples)
    figures["correlations"] = correlations_figure(samples)
    return figures


def write_report(
    folder: Path, report: Document, findings: Findings, figures: Mapping[str, Figure]
) -> Path:
    """Writes the report and returns the path of report.html.

    The folder then holds report.json, curves.json (points of every curve), report.html, which
    needs no other file, and figures/NAME.png and .pdf. Existing files are replaced. report.json is
    written last, so that where it exists the rest is complete.

    Args:
        folder: the report's folder; it is made.
        report: from `build_report`.
        findings: of the validation.
        figures: figures by file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / "report.json"
    final.unlink(missing_ok=True)
    for name, figure in figures.items():
        save_figure(figure, folder / "figures", name)
    points = {name: _points(result) for name, result in findings.curves.items()}
    points |= {f"{line.name} on {line.on}": _points(line.result) for line in findings.methods}
    (folder / "curves.json").write_text(_as_json(points), encoding="utf-8")
    page = folder / "report.html"
    page.write_text(render_page(report, summary_rows(report), figures), encoding="utf-8")
    final.write_text(_as_json(report, indent=2), encoding="utf-8")
    return page


def summary_rows(report: Document) -> list[SummaryRow]:
    """Returns the table of the comparison, best known first; no line where nothing is rated."""
    rows = []
    for name in ("optimum", "data", "snapshot", "byte_equal"):
        rated = report["cwola"] and report["cwola"][name]
        if rated is None:
            continue
        trained = rated["n_train_sr"] + rated["n_train_sb"]
        rows.append(
            SummaryRow(
                name=_NAMES[name],
                max_sic=f"{rated['max_sic']:.2f} ± {rated['max_sic_error']:.2f}",
                auc=f"{rated['auc']:.4f} ± {rated['auc_error']:.4f}",
                trained_on=f"{trained:,}" if trained else "",
            )
        )
    return rows


def installed_versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that numbers depend on."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _method(line: MethodLine) -> Document:
    return {
        "name": line.name,
        "title": METHODS[line.name].title,
        "on": line.on,
        "n_trainings": line.n_trainings,
        **_rated(line.result, None),
    }


def _compared(comparison: Comparison) -> Document:
    rated: Document = {
        name: _rated(result, comparison.seconds.get(name))
        for name, result in comparison.curves.items()
    }
    rated.setdefault("optimum", None)
    rated["byte_equal"] |= {
        "n_events": comparison.n_byte_equal,
        "n_draws": comparison.n_draws,
        "n_untrainable": comparison.n_untrainable,
    }
    return rated


def _rated(result: MethodResult, seconds: float | None) -> Document:
    return {
        "auc": result.auc.value,
        "auc_error": result.auc.error,
        "max_sic": result.max_sic.value,
        "max_sic_error": result.max_sic.error,
        "n_train_sr": result.n_train_sr,
        "n_train_sb": result.n_train_sb,
        "seconds": seconds,
    }


def _points(result: MethodResult) -> dict[str, list[float]]:
    curve = result.curve
    columns = {"tpr": curve.tpr, "fpr": curve.fpr, "sic": curve.sic, "sic_error": curve.error}
    return {name: [float(value) for value in values] for name, values in columns.items()}


def _as_json(document: Document, *, indent: int | None = None) -> str:
    # Strict JSON: NaN or infinity in a result is a fault, not a value.
    return json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=False) + "\n"
