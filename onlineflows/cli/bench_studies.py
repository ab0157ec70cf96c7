"""`onlineflows bench` for studies that train many models on the stand-in: resumable, shared out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.bench import absorption, amplification, closure, compression, coverage, likeness
from onlineflows.bench.labelled import LabelledTruth
from onlineflows.bench.learning import Events, Truth
from onlineflows.bench.machine import describe
from onlineflows.bench.study import Key, Measure, Row
from onlineflows.bench.study_tables import (
    absorption_tables,
    amplification_tables,
    compression_tables,
    coverage_tables,
    likeness_tables,
)
from onlineflows.bench.table import Table
from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output
from onlineflows.cli.study import run_cells, show
from replay.settings import StandinConfig
from replay.sources.standin import StandinSource
from replay.sources.standin_density import StandinDensity
from streams import LHCO

SIGNAL_FRACTION = 0.01
"""Of the streams of `amplification` and `coverage`; the other studies vary it."""


Tables = Callable[[Sequence[Row]], list[Table]]
"""What is printed of a study's rows."""


@dataclass(frozen=True, slots=True)
class Study:
    """A study by name.

    Args:
        keys: of its cells.
        measure: measures a cell.
        tables: of all rows.
    """

    keys: Sequence[Key]
    measure: Measure
    tables: Tables


Sized = Callable[[bool], Study]
"""Returns a study; at tiny sizes where asked for."""


def study(name: str, output: Output, *, quick: bool, jobs: int, target: Path | None) -> int:
    """Measures what isn't recorded yet and prints: JSON lines, or tables; returns the exit code.

    Args:
        name: of the study.
        output: how to print.
        quick: sizes that only show that everything runs.
        jobs: processes.
        target: the record, which is resumed; None for none.
    """
    chosen = STUDIES[name](quick)
    head = describe(name, {}, datetime.now(UTC))
    head["command"] = f"onlineflows bench {name}{' --quick' if quick else ''}"
    rows = run_cells(chosen.keys, chosen.measure, output, head=head, target=target, jobs=jobs)
    if not output.as_json:
        show(chosen.tables(rows))
    return DONE


def labelled_standin() -> LabelledTruth:
    """Returns the stand-in with its labels, for any share of signal."""
    density = StandinDensity()

    def opened(seed: int, fraction: float) -> Callable[[int], tuple[Events, NDArray[np.uint8]]]:
        source = StandinSource(StandinConfig(n_events=0, signal_fraction=fraction, seed=seed))

        def read(n: int) -> tuple[Events, NDArray[np.uint8]]:
            events = source.read(n)
            label = np.zeros(n, np.uint8) if events.label is None else events.label
            return events.x, label

        return read

    return LabelledTruth(LHCO, opened, density.sample, density.optimal_score)


def standin() -> Truth:
    """Returns the stand-in with the usual share of signal and its density."""
    density, labelled = StandinDensity(), labelled_standin()

    def opened(seed: int) -> Callable[[int], Events]:
        read = labelled.open(seed, SIGNAL_FRACTION)
        return lambda n: read(n)[0]

    return Truth(LHCO, opened, lambda x: density.log_prob(x, SIGNAL_FRACTION))


def log_ratio(x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Returns log p_s / p_b of the stand-in on all features, shape (n,)."""
    return StandinDensity().log_ratio(x)


def _sized(study: ModuleType, tables: Tables, *truth: Callable[..., Any]) -> Sized:
    """Returns how a module's study is made, at its usual sizes or at tiny ones."""

    def sized(quick: bool) -> Study:
        setting = study.QUICK if quick else study.Setting()
        return Study(study.keys(setting), partial(study.measure, *truth, setting), tables)

    return sized


STUDIES: Mapping[str, Sized] = {
    "compression": _sized(compression, compression_tables, labelled_standin),
    "amplification": _sized(amplification, amplification_tables, labelled_standin),
    "likeness": _sized(likeness, likeness_tables, labelled_standin),
    "absorption": _sized(absorption, absorption_tables, labelled_standin, log_ratio),
    "coverage": _sized(coverage, coverage_tables, standin),
    "closure": _sized(closure, closure.closure_tables, labelled_standin),
}
"""Every study by its name on the command line; at tiny sizes where asked for."""
