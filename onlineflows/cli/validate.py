"""`onlineflows validate`: does the compressed data set find what the data would have found?"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from onlineflows.cli.config import Config
from onlineflows.cli.events import collected, configured, open_events, required
from onlineflows.cli.exits import DONE
from onlineflows.cli.inspect import facts, history_of, prescales_of
from onlineflows.cli.output import Output
from onlineflows.cli.parts import averaged, compute, densities_by_role, roles_of
from onlineflows.cli.progress import progress
from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.distance import Distance, nats_to_truth
from onlineflows.offline.material import Material
from onlineflows.offline.parts import PartStore
from onlineflows.offline.plan import Wanted, plan
from onlineflows.offline.regions import Regions
from onlineflows.offline.report import (
    RunFacts,
    build_report,
    summary_rows,
    validation_figures,
    write_report,
)
from onlineflows.offline.scores import Evaluation
from onlineflows.offline.spectra import ENERGIES
from onlineflows.offline.validate import assemble
from onlineflows.online.rundir import RunDirectory
from onlineflows.online.snapshot import Snapshot, find_snapshot, read_snapshot, snapshot_nbytes
from replay.prescales import Prescaler
from replay.settings import StandinConfig
from replay.sources import open_source
from replay.sources.standin_density import StandinDensity

DISTANCE_EVENTS = 200_000
"""Held-out events of the distance to the truth."""
FRESH = 1_000_003
"""Added to the seed of samples that nothing is trained on."""


def validate(
    snapshot: Path,
    output: Output,
    *,
    data: Path | None,
    target: Path | None,
    wanted: Wanted,
    jobs: int,
    overrides: Sequence[str],
) -> int:
    """Searches on data and on samples, compares, writes the report; returns the exit code.

    What was finished by an earlier call with the same inputs isn't computed again.

    Args:
        snapshot: a snapshot or a run directory.
        output: how to print.
        data: where the events come from, unless the run's configuration says it.
        target: folder of the report; None for that of the run.
        wanted: preset, methods, compression.
        jobs: processes.
        overrides: as given to ``--set``.
    """
    path = find_snapshot(snapshot)
    read = read_snapshot(path)
    config = configured(snapshot, data, overrides)
    settings = config.validate
    if read.schema.resonant.unit in ENERGIES:
        settings.require_fit_range()
    folder = _report_folder(path, target)
    with progress("validating", quiet=output.quiet) as track:
        material = _material(path, read, config, data)
        parts = plan(wanted, material, settings)
        documents = compute(
            parts,
            material,
            settings,
            PartStore(folder / "parts"),
            snapshot=path,
            jobs=jobs,
            progress=lambda done, total: track(done, total=total),
        )
        findings = assemble(parts, documents, material, settings)
        run = _run_facts(path, read)
        report = build_report(findings, run, settings, distance=_distance(read, config))
        report["preset"] = wanted.preset
        figures = validation_figures(findings, material, history_of(read.manifest), settings)
        page = write_report(folder, report, findings, figures)
    output.result(report, _text(report, page))
    return DONE


def _report_folder(path: Path, target: Path | None) -> Path:
    directory = RunDirectory.of(path)
    if target is not None:
        return target
    if directory is None:
        raise ConfigError(f"{path}: expected a snapshot inside a run directory, or --output FOLDER")
    return directory.report


def _material(path: Path, snapshot: Snapshot, config: Config, file: Path | None) -> Material:
    """The events that the snapshot has seen, as many of its own, and labelled ones to test on.

    Of a stream that was not seen to its end, or not all of which could be sent, the first events
    are taken, as many as were seen. The samples are those of the model that is searched; of one of
    a window, as many as lie there.
    """
    evaluation = _evaluation(snapshot, config)
    if file is not None and file.suffix != ".toml":
        source = open_events(file, snapshot.schema)
    else:
        source = open_source(config.source)
        source = required(source, snapshot.schema, where="the configured source")
    n_seen = snapshot.manifest.n_seen
    events = collected(
        source, snapshot.manifest.stream["n_events"] or n_seen, prescaler=_prescaler(snapshot)
    )
    data, truth = events.x[:n_seen], None if events.label is None else events.label[:n_seen]
    settings = config.validate
    name = roles_of(snapshot, settings).get("data")
    entry, density = snapshot.entry(name), averaged(snapshot, name)
    n_samples = settings.n_samples or len(data)
    if not entry.region.is_everything:
        n_samples = round(n_samples * float(entry.region.contains(data[:, 0]).mean()))
    return Material(
        schema=snapshot.schema,
        data=data,
        samples=density.sample(n_samples, seed=settings.seed),
        fresh=density.sample(n_samples, seed=settings.seed + FRESH),
        evaluation=evaluation,
        snapshot_nbytes=snapshot_nbytes(path),
        identity=json.dumps(snapshot.manifest.sha256, sort_keys=True),
        covers_everything=entry.region.is_everything,
        n_learned=None if entry.share is None else entry.n_taken,
        truth=truth,
        densities=densities_by_role(snapshot, settings),
    )


def _prescaler(snapshot: Snapshot) -> Prescaler | None:
    """What left out events of the stream that the snapshot has seen."""
    prescales = prescales_of(snapshot.manifest)
    if not prescales:
        return None
    return Prescaler(prescales, snapshot.schema, seed=snapshot.manifest.stream["seed"])


def _evaluation(snapshot: Snapshot, config: Config) -> Evaluation | None:
    """Returns the events that searches are rated on; None where nobody knows which are signal."""
    settings = config.validate
    if config.evaluation is not None:
        source = open_source(config.evaluation)
        events = collected(required(source, snapshot.schema, where="[evaluation]"))
        if events.label is None:
            raise DataError("[evaluation]: expected events with truth labels; got none")
        return Evaluation(events.x, events.label)
    if not isinstance(config.source, StandinConfig):
        return None
    truth = StandinDensity()
    x, label = truth.sample(settings.test_background, settings.test_signal, seed=settings.seed)
    inside = Regions(settings.signal_region, settings.sidebands).in_signal_region(x[:, 0])
    optimum: NDArray[np.float64] = np.full(len(x), -np.inf)
    optimum[inside] = truth.optimal_score(x[inside], settings.signal_region)
    return Evaluation(x, label, optimum)


def _distance(snapshot: Snapshot, config: Config) -> Distance | None:
    """The distance to the truth, where that is known, on the stand-in, of a model of everything."""
    everything = [entry.name for entry in snapshot.manifest.models if entry.region.is_everything]
    if not isinstance(config.source, StandinConfig) or not everything:
        return None
    if prescales_of(snapshot.manifest):
        return None  # the density of a prescaled stream is another one
    fraction = config.source.signal_fraction
    n_signal = round(fraction * DISTANCE_EVENTS)
    truth = StandinDensity()
    x, _ = truth.sample(DISTANCE_EVENTS - n_signal, n_signal, seed=config.validate.seed + 1)
    return nats_to_truth(truth.log_prob(x, fraction), averaged(snapshot, everything[0]).log_prob(x))


def _run_facts(path: Path, snapshot: Snapshot) -> RunFacts:
    manifest = snapshot.manifest
    return RunFacts(
        name=manifest.run_name,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        snapshot_nbytes=snapshot_nbytes(path),
        events_seen=manifest.n_seen,
        event_nbytes=snapshot.schema.event_nbytes,
        facts=facts(path, snapshot),
    )


def _text(report: dict[str, Any], page: Path) -> str:
    table = Table(title="CWoLa, tested on truth-labelled events", title_justify="left")
    for name in ("trained on", "max SIC", "AUC", "events"):
        table.add_column(name, justify="left" if name == "trained on" else "right")
    for row in summary_rows(report):
        table.add_row(*dataclasses.astuple(row))
    console = Console(width=100)
    with console.capture() as captured:
        if report["unrated"] is None:
            console.print(table)
        else:
            console.print(report["unrated"], markup=False)
        kept = report["snapshot_nbytes"] / (report["events_seen"] * report["event_nbytes"])
        console.print(
            f"snapshot: {report['snapshot_nbytes']:,} bytes for {report['events_seen']:,} events "
            f"({kept:.2%} of their size)"
        )
        if report["nats_to_truth"] is not None:
            console.print(
                f"distance to the true density: {report['nats_to_truth']:.4f} ± "
                f"{report['nats_to_truth_error']:.4f} nats per event"
            )
        for line in _further(report):
            console.print(line, markup=False)
        console.print(f"report: {page}", soft_wrap=True)
    return captured.get().rstrip()


def _kept(cut: float) -> str:
    """What of the events outside the signal region is left after a cut."""
    return "with all events" if cut >= 1 else f"with {100 * cut:g} % kept"


def _further(report: dict[str, Any]) -> Iterator[str]:
    """What else was found, a line each."""
    for line in report["methods"]:
        yield (
            f"{line['title']} on {line['on']}: max SIC {line['max_sic']:.2f} ± "
            f"{line['max_sic_error']:.2f}, AUC {line['auc']:.4f} ± {line['auc_error']:.4f}"
        )
    for name, hunts in report["bump_hunt"].items():
        found = ", ".join(f"{hunt['z_local']:.1f} σ {_kept(hunt['cut'])}" for hunt in hunts)
        yield f"bump hunt in {name}, excess in the signal region: {found}"
    if likeness := report["likeness"]:
        test = likeness["classifier_auc"]
        yield (
            f"samples against data: a classifier tells them apart with AUC {test['statistic']:.3f} "
            f"({test['null_mean']:.3f} ± {test['null_width']:.3f} without a difference)"
        )
    compression = report["compression"] or {}
    for statistic in ("significance", "sic"):
        if equivalent := compression.get(f"equivalent_{statistic}"):
            yield (
                f"equivalent trigger fraction by {statistic}: {equivalent['f']:.3g} "
                f"({equivalent['gain']:.0f} times the snapshot's share of the bytes)"
            )
    for name, reason in report["not_possible"].items():
        yield f"not possible: {name}: {reason}"
