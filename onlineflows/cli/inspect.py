"""`onlineflows inspect`: what a snapshot holds, and its one-page figure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from onlineflows.cli.events import collected, open_events
from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output, require_folder
from onlineflows.cli.progress import progress
from onlineflows.errors import ConfigError
from onlineflows.offline.distributions import TwoSamples
from onlineflows.offline.inspection import History, inspect_figure
from onlineflows.offline.style import save_page
from onlineflows.online.manifest import Manifest, ModelEntry
from onlineflows.online.snapshot import Snapshot, find_snapshot, read_snapshot, snapshot_nbytes

FIGURE_EVENTS = 500_000
"""Events drawn for a figure; of a reference as many are read at most."""


def inspect(
    snapshot: Path,
    output: Output,
    *,
    data: Path | None,
    figure: Path | None,
    overrides: Sequence[str],
) -> int:
    """Prints what a snapshot says of itself and draws it; returns the exit code."""
    path = find_snapshot(snapshot)
    read = read_snapshot(path)
    if data is not None and figure is None:
        raise ConfigError("--data: expected a --figure to draw the comparison into; got none")
    if overrides and data is None:
        raise ConfigError(f"--set {overrides[0]}: expected --data with a TOML file; got none")
    if figure is not None:
        _check_figure(figure)
        reference = None
        if data is not None:
            reference = collected(open_events(data, read.schema, overrides), FIGURE_EVENTS).x
        _draw(path, read, figure, reference, output)
    document = _document(path, read) | {"figure": figure}
    output.result(document, _text(path, read, figure))
    return DONE


def facts(path: Path, snapshot: Snapshot) -> dict[str, str]:
    """Returns what is worth knowing of a snapshot, ready to print."""
    manifest = snapshot.manifest
    skipped = sum(manifest.ledger.get("skipped", {}).values())
    history = manifest.history["points"]
    several = len(manifest.models) > 1
    models = {
        f"model {entry.name}" if several else "flow": _of_model(entry) for entry in manifest.models
    }
    return {
        "run": f"{manifest.run_name}, run {manifest.run} ({manifest.ledger.get('mode', '')})",
        "written": f"{manifest.created_utc}{'' if manifest.final else ' (run not ended)'}",
        "features": ", ".join(snapshot.schema.names),
        **models,
        "parameters": f"{snapshot.n_parameters:,} float32",
        "size": f"{snapshot_nbytes(path):,} bytes",
        "events seen": f"{manifest.n_seen:,}",
        "trained": f"{manifest.n_trained:,} ({manifest.n_uses:,} uses, {manifest.n_steps:,} steps)",
        "skipped, lost": f"{skipped:,}, {manifest.ledger.get('lost', 0):,}",
        "time learning": f"{manifest.train_seconds:,.1f} s",
        "newest NLL": f"{history[-1][1]:.4f} nats per event" if history else "none yet",
        "drift alarms": str(manifest.drift.get("n_alarms", 0)),
        "gate": _gate(manifest.gate),
        "condition": "; ".join(manifest.tainted) or "good",
    }


def _of_model(entry: ModelEntry) -> str:
    """A model in a line: its flow, and what sets it apart: region, share, events, replicas."""
    flow = entry.flow
    bins = f", {flow.bins} bins" if flow.transform == "spline" else ""
    parts = [f"{flow.family} {flow.transform}, {flow.blocks} blocks, 2 x {flow.hidden}{bins}"]
    if not entry.region.is_everything:
        parts.append(str(entry.region))
    if entry.share is not None:
        parts.append(f"share {list(entry.share)}")
    if len(parts) > 1:
        parts.append(f"{entry.n_taken:,} events" if entry.is_fitted else "nothing learned yet")
    if entry.replicas:
        kind = "bootstrap" if entry.bootstrap else "unweighted"
        parts.append(f"{entry.replicas} {kind} replicas")
    return "; ".join(parts)


def _gate(verdict: Mapping[str, Any]) -> str:
    if not verdict:
        return "not judged"
    said = "passed" if verdict["passed"] else "FAILED"
    found, allowed = verdict["statistic"], verdict["threshold"]
    return f"{said}: {found:.2f} of {allowed:.2f} allowed, on {verdict['n']:,} newest events"


def history_of(manifest: Manifest) -> History:
    """Returns the NLL over time as figures take it."""
    points = np.array(manifest.history["points"], dtype=float).reshape(-1, 3)
    alarms = tuple(int(row[0]) for row in manifest.drift.get("alarms", ()))
    return History(points[:, 0], points[:, 1], alarms)


def _check_figure(figure: Path) -> None:
    if figure.suffix not in (".png", ".pdf"):
        raise ConfigError(f"--figure: expected a name ending in .png or .pdf; got {figure.name}")
    require_folder(figure, "--figure")


def _draw(
    path: Path,
    snapshot: Snapshot,
    figure: Path,
    reference: NDArray[np.float32] | None,
    output: Output,
) -> None:
    with progress("drawing", quiet=output.quiet):
        samples = snapshot.density().sample(FIGURE_EVENTS, seed=1)
        page = inspect_figure(
            facts(path, snapshot),
            TwoSamples(snapshot.schema, samples, reference),
            history_of(snapshot.manifest),
        )
        save_page(page, figure)


def _document(path: Path, snapshot: Snapshot) -> dict[str, Any]:
    manifest = snapshot.manifest
    return {
        "snapshot": path,
        "snapshot_nbytes": snapshot_nbytes(path),
        "n_parameters": snapshot.n_parameters,
        "manifest": asdict(manifest),
    }


def _text(path: Path, snapshot: Snapshot, figure: Path | None) -> str:
    table = Table(title=str(path), title_justify="left", show_header=False, box=None)
    for name, value in facts(path, snapshot).items():
        table.add_row(name, value)
    if figure is not None:
        table.add_row("figure", str(figure))
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()
