"""`onlineflows inspect`: what a snapshot holds, and its one-page figure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output
from onlineflows.errors import ConfigError, SnapshotError
from onlineflows.offline.changes import newest_point
from onlineflows.offline.inspection import History
from onlineflows.online.history import HistoryPoint
from onlineflows.online.manifest import Manifest, ModelEntry
from onlineflows.online.rundir import lane_folders
from onlineflows.online.snapshot import Snapshot, find_snapshot, read_snapshot, snapshot_nbytes
from replay.settings import PrescaleConfig


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is drawn of a snapshot, and where to.

    Args:
        figure: a page as PNG or PDF.
        page: a page as HTML.
        opens: whether to show that page in the user's browser.
        data: events to draw beside the density.
        overrides: of the configuration that says where the events are.
    """

    figure: Path | None = None
    page: Path | None = None
    opens: bool = False
    data: Path | None = None
    overrides: Sequence[str] = ()


def inspect(snapshot: Path, output: Output, drawn: Drawn) -> int:
    """Prints what a snapshot says of itself and draws it; returns the exit code."""
    draws = bool(drawn.figure or drawn.page or drawn.opens)
    if drawn.data is not None and not draws:
        raise ConfigError(
            "--data: expected a --figure or an --html page to draw the comparison into; got none"
        )
    if drawn.overrides and drawn.data is None:
        raise ConfigError(f"--set {drawn.overrides[0]}: expected --data with a TOML file; got none")
    if not draws and (lanes := lane_folders(snapshot)):
        return inspect_lanes(snapshot, lanes, output)
    path = find_snapshot(snapshot)
    read = read_snapshot(path)
    files: dict[str, Path | None] = {"figure": None, "page": None}
    if draws:
        from onlineflows.cli.inspect_page import draw

        files |= draw(path, read, facts(path, read), drawn, quiet=output.quiet)
    output.result(_document(path, read) | files, _text(path, read, files))
    return DONE


def inspect_lanes(run: Path, lanes: Sequence[Path], output: Output) -> int:
    """Prints which lanes a run has and what the newest snapshot of each says."""
    rows = [("lane", "snapshot", "events seen", "newest NLL", "gate", "condition")]
    documents: list[dict[str, Any]] = []
    for lane in lanes:
        try:
            path = find_snapshot(lane)
        except SnapshotError:
            documents.append({"lane": lane, "snapshot": None})
            rows.append((lane.name, "none yet", "", "", "", ""))
            continue
        read = read_snapshot(path)
        documents.append({"lane": lane, **_document(path, read)})
        said = facts(path, read)
        keys = ("events seen", "newest NLL", "gate", "condition")
        seen, nll, gate, condition = (said[key] for key in keys)
        rows.append((lane.name, path.name, seen, nll.split()[0], gate.split(":")[0], condition))
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name)
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    title = f"{run}: {len(lanes)} lanes; see one with: onlineflows inspect {lanes[0]}"
    output.result({"run": run, "lanes": documents}, f"{title}\n{_printed(table)}")
    return DONE


def facts(path: Path, snapshot: Snapshot) -> dict[str, str]:
    """Returns what is worth knowing of a snapshot, ready to print."""
    manifest = snapshot.manifest
    skipped = sum(manifest.ledger.get("skipped", {}).values())
    prescales = [
        f"{p.name}: 1 in {p.keep}{f' of {p.select}' if p.select else ''}"
        for p in prescales_of(manifest)
    ]
    return {
        "run": f"{manifest.run_name}, run {manifest.run} ({manifest.ledger.get('mode', '')})",
        "written": f"{manifest.created_utc}{'' if manifest.final else ' (run not ended)'}",
        "features": ", ".join(snapshot.schema.names),
        **_models(manifest.models),
        "parameters": f"{snapshot.n_parameters:,} float32",
        "size": f"{snapshot_nbytes(path):,} bytes",
        "events seen": f"{manifest.n_seen:,}",
        **({"prescaled": "; ".join(prescales)} if prescales else {}),
        "trained": f"{manifest.n_trained:,} ({manifest.n_uses:,} uses, {manifest.n_steps:,} steps)",
        "skipped, lost": f"{skipped:,}, {manifest.ledger.get('lost', 0):,}",
        "time learning": f"{manifest.train_seconds:,.1f} s",
        "newest NLL": _nll(newest_point(manifest)),
        "drift alarms": str(manifest.drift.get("n_alarms", 0)),
        "gate": _gate(manifest.gate),
        "condition": "; ".join(manifest.tainted) or "good",
    }


def prescales_of(manifest: Manifest) -> tuple[PrescaleConfig, ...]:
    """Returns the prescales of the stream that a snapshot has learned from."""
    listed = manifest.stream.get("config", {}).get("prescales", ())
    return tuple(PrescaleConfig(**prescale) for prescale in listed)


def _models(entries: Sequence[ModelEntry]) -> dict[str, str]:
    """The models, a line each; the flow has its own where it is that of all."""
    flows = [_flow(entry) for entry in entries]
    common = len({*flows}) == 1
    told = {"flow": flows[0]} if common else {}
    for entry, flow in zip(entries, flows, strict=True):
        parts = _parts(entry, several=len(entries) > 1)
        if not common:
            parts.append(flow)
        if parts:
            told[f"model {entry.name}"] = "; ".join(parts)
    return told


def _flow(entry: ModelEntry) -> str:
    flow = entry.flow
    bins = f", {flow.bins} bins" if flow.transform == "spline" else ""
    return f"{flow.family} {flow.transform}, {flow.blocks} blocks, 2 x {flow.hidden}{bins}"


def _parts(entry: ModelEntry, *, several: bool) -> list[str]:
    """What sets a model apart: region, share, events, replicas; nothing where nothing does."""
    parts = []
    if several or not entry.region.is_everything:
        parts.append(str(entry.region))
    if entry.share is not None:
        parts.append(f"share {list(entry.share)}")
    if parts:
        parts.append(f"{entry.n_taken:,} events" if entry.is_fitted else "nothing learned yet")
    if entry.replicas:
        kind = "bootstrap" if entry.bootstrap else "unweighted"
        parts.append(f"{entry.replicas} {kind} replicas")
    return parts


def _gate(verdict: Mapping[str, Any]) -> str:
    if not verdict:
        return "not judged"
    said = "passed" if verdict["passed"] else "FAILED"
    found, allowed = verdict["statistic"], verdict["threshold"]
    return f"{said}: {found:.2f} of {allowed:.2f} allowed, on {verdict['n']:,} newest events"


def _nll(newest: HistoryPoint | None) -> str:
    if newest is None:
        return "none yet"
    return f"{newest.nll:.4f} nats per event, mean of the newest {newest.n:,} evaluated"


def history_of(manifest: Manifest) -> History:
    """Returns the NLL over time as figures take it."""
    points = np.array(manifest.history["points"], dtype=float).reshape(-1, 3)
    alarms = tuple(int(row[0]) for row in manifest.drift.get("alarms", ()))
    return History(points[:, 0], points[:, 1], alarms)


def _document(path: Path, snapshot: Snapshot) -> dict[str, Any]:
    manifest = snapshot.manifest
    return {
        "snapshot": path,
        "snapshot_nbytes": snapshot_nbytes(path),
        "n_parameters": snapshot.n_parameters,
        "manifest": asdict(manifest),
    }


def _text(path: Path, snapshot: Snapshot, files: Mapping[str, Path | None]) -> str:
    table = Table(title=Text(str(path)), title_justify="left", show_header=False, box=None)
    for name, value in facts(path, snapshot).items():
        table.add_row(name, Text(value))
    for name, file in files.items():
        if file is not None:
            table.add_row(name, Text(str(file)))
    return _printed(table)


def _printed(table: Table) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()
