"""`onlineflows chaos`: breaks real daemons on purpose and looks whether every event is there."""

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import onlineflows
from onlineflows.chaos.matrix import chosen, run_matrix
from onlineflows.chaos.page import HEADER, cells
from onlineflows.cli.exits import DONE, FAILED
from onlineflows.cli.output import Output
from onlineflows.cli.progress import progress
from onlineflows.machine import cpu_model, load, versions
from replay.settings import StandinConfig
from replay.sinks import open_sink
from replay.sources.standin import StandinSource

LIBRARIES = ("torch", "pyzmq", "numpy")
WIDTH = 160
"""Columns of text that doesn't go to a terminal."""


def chaos(output: Output, *, rounds: int, seed: int, faults: Sequence[str]) -> int:
    """Runs the fault matrix and prints it: a table, or one JSON object per fault on a line.

    Args:
        output: how to print.
        rounds: rounds of each fault.
        seed: decides every random moment and place.
        faults: names of the faults to run; none for all.

    Returns:
        The exit code: 1 if any event is unaccounted for or was trained twice, if θ differs where
        equality is promised, or if anything else didn't end as it must.
    """
    names = chosen(faults)
    about = _about(names if faults else (), rounds, seed)
    documents = []
    with progress("chaos: rounds", rounds * len(names), quiet=output.quiet) as track:
        for result in run_matrix(
            names, rounds=rounds, seed=seed, write_files=write_files, watch=track
        ):
            documents.append(result.document())
            for problem in result.problems:
                print(f"{result.fault}: {problem}", file=sys.stderr)
            if output.as_json:
                line = json.dumps({**documents[-1], **about}, ensure_ascii=False)
                print(line, flush=True)
    if not output.as_json:
        _show(documents)
    return DONE if all(document["ok"] for document in documents) else FAILED


def write_files(folder: Path, *, n_events: int, n_files: int, seed: int) -> dict[str, object]:
    """Writes stand-in events into ROOT files of equal length, and returns how to read them."""
    source = StandinSource(StandinConfig(n_events=n_events, seed=seed))
    for number in range(n_files):
        with open_sink(folder / f"events-{number}.root", source.schema) as sink:
            sink.write(source.read(n_events // n_files).x)
    features = ", ".join(
        f'{{name = "{f.name}", expression = "{f.name}", unit = "{f.unit}", low = {f.low}, '
        f"high = {f.high}}}"
        for f in source.schema.features
    )
    return {
        "source.type": "root",
        "source.paths": folder / "*.root",
        "source.features": f"[{features}]",
    }


def _about(names: Sequence[str], rounds: int, seed: int) -> dict[str, Any]:
    options = "".join(f" --fault {name}" for name in names)
    return {
        "seed": seed,
        "command": f"onlineflows chaos --rounds {rounds} --seed {seed}{options} --json",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "load": load()},
        "versions": {"onlineflows": onlineflows.__version__, **versions(*LIBRARIES)},
    }


def _show(documents: Sequence[dict[str, Any]]) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    table = Table(*HEADER)
    for document in documents:
        table.add_row(*cells(document))
    console.print(table)
