"""`onlineflows bench`: what this machine reaches, beside other libraries."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from onlineflows.bench.ceiling import SIZES, measure_ceilings
from onlineflows.bench.learning import Events, Truth
from onlineflows.bench.machine import describe
from onlineflows.bench.models import measure_models
from onlineflows.bench.quality import measure_quality
from onlineflows.bench.rows import Row
from onlineflows.bench.scaling import measure_scaling
from onlineflows.bench.speed import Setting, measure, quick_setting
from onlineflows.bench.table import tables
from onlineflows.bench.timing import QUICK, Effort
from onlineflows.cli.bench_wire import measure_wire
from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output
from onlineflows.cli.progress import progress
from onlineflows.machine import load
from replay.settings import StandinConfig
from replay.sources.standin import StandinSource
from replay.sources.standin_density import StandinDensity
from streams import LHCO

MARKS = (100_000, 1_000_000, 10_000_000)
FULL_MARKS = (*MARKS, 100_000_000)
QUICK_MARKS = (20_480, 22_528)
QUICK_SIZE = ((64, 64, 64),)
SIGNAL_FRACTION = 0.01
WITHOUT_CEILING = {"e2e", "quality", "models"}
"""Benchmarks of whole learners, where matrix products are only a part."""
WIDTH = 160
"""Columns of text that doesn't go to a terminal."""


def bench(name: str, output: Output, *, quick: bool, full: bool) -> int:
    """Measures and prints: tables, or JSON lines as they come; returns the exit code.

    JSON lines are a head (machine, versions, date), the rows, and a tail (how long it took).

    Args:
        name: which benchmark.
        output: how to print.
        quick: sizes that only show that everything runs.
        full: the longest streams, too.
    """
    began = time.perf_counter()
    effort = QUICK if quick else Effort()
    ceilings = {}
    if name not in WITHOUT_CEILING:
        ceilings = measure_ceilings(effort, QUICK_SIZE if quick else SIZES)
    setting = quick_setting(ceilings) if quick else Setting(ceilings)
    options = f"{' --quick' if quick else ''}{' --full' if full else ''}"
    head = describe(name, ceilings, datetime.now(UTC))
    head["command"] = f"onlineflows bench {name}{options} --json"
    _say(head, output)
    documents = []
    with progress(f"bench {name}: rows", quiet=output.quiet) as track:
        for row in _rows(name, setting, full=full):
            documents.append(row.document())
            _say(documents[-1], output)
            track(len(documents))
    _say({"load_after": load(), "wall_s": round(time.perf_counter() - began, 1)}, output)
    if not output.as_json:
        _show(documents)
    return DONE


def _rows(name: str, setting: Setting, *, full: bool) -> Iterator[Row]:
    marks = QUICK_MARKS if setting.is_quick else FULL_MARKS if full else MARKS
    match name:
        case "scaling":
            return measure_scaling(setting, standin(), marks=marks)
        case "quality":
            n_test, n_equal = (2_000, 4_096) if setting.is_quick else (200_000, 1_000_000)
            return measure_quality(standin(), marks=marks, n_test=n_test, n_equal=n_equal)
        case "models":
            return measure_models(standin(), setting.effort, is_quick=setting.is_quick)
        case "e2e":
            n_events = 22_528 if setting.is_quick else 2_000_000
            rounds = 1 if setting.is_quick else 3
            effort = Effort(rounds=rounds)
            return measure_wire(n_events=n_events, effort=effort, is_quick=setting.is_quick)
        case "train" | "logprob" | "sample":
            return measure(name, setting)
    raise ValueError(f"expected a benchmark; got {name!r}")


def standin() -> Truth:
    """Returns the stand-in with the demonstration's share of signal."""
    density = StandinDensity()

    def reader(seed: int) -> Callable[[int], Events]:
        config = StandinConfig(n_events=0, signal_fraction=SIGNAL_FRACTION, seed=seed)
        source = StandinSource(config)
        return lambda n: source.read(n).x

    return Truth(LHCO, reader, lambda x: density.log_prob(x, SIGNAL_FRACTION))


def _say(document: Mapping[str, Any], output: Output) -> None:
    if output.as_json:
        print(json.dumps(document, ensure_ascii=False), flush=True)


def _show(documents: list[dict[str, Any]]) -> None:
    """Prints tables."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    for found in tables(documents):
        table = Table(*found.header, title=found.title)
        for cells in found.lines:
            table.add_row(*cells)
        console.print(table)
