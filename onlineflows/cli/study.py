"""A study on the command line: its cells with a progress bar, its lines as they come."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as PrintedTable

from onlineflows.bench.study import Key, Measure, read_record, run_study
from onlineflows.bench.table import Table
from onlineflows.cli.output import Output
from onlineflows.cli.progress import progress

WIDTH = 200
"""Columns of text that doesn't go to a terminal."""


def run_cells(
    keys: Sequence[Key],
    measure: Measure,
    output: Output,
    *,
    head: dict[str, Any],
    target: Path | None,
    jobs: int,
) -> list[dict[str, Any]]:
    """Measures what isn't recorded yet, prints JSON lines if asked for; returns all rows.

    Args:
        keys: of all cells.
        measure: measures a cell.
        output: how to print.
        head: what is measured on, with the benchmark's name under "bench".
        target: the record, which is resumed; None for none.
        jobs: processes.
    """
    record = read_record(target) if target is not None else None
    rows = [] if record is None else [dict(row) for row in record.rows]
    n_done = 0 if record is None else len(record.cells)
    with progress(f"bench {head['bench']}", quiet=output.quiet) as track:
        track(n_done, total=len(keys))
        for line in run_study(keys, measure, head=head, output=target, jobs=jobs):
            if output.as_json:
                print(line, flush=True)
            document = json.loads(line)
            if "cell" in document:
                rows += [{**document["cell"], **row} for row in document["rows"]]
                n_done += 1
                track(n_done, total=len(keys))
    return rows


def show(tables: Sequence[Table]) -> None:
    """Prints tables."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    for found in tables:
        table = PrintedTable(*found.header, title=found.title)
        for cells in found.lines:
            table.add_row(*cells)
        console.print(table)
