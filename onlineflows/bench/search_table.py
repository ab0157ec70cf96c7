"""Tables of `search`: every method on data, on the snapshot and on events of its size."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onlineflows.bench.table import Cells, Table
from onlineflows.offline.methods import METHODS

Row = Mapping[str, Any]

ON = ("data", "snapshot", "byte_equal")
AIMS = {0.01: 0.95, 0.003: 0.85, 0.001: 0.60}
"""Share of the data's SIC that a snapshot of at most 1 MB should keep, by signal fraction."""


def search_tables(rows: Sequence[Row]) -> list[Table]:
    """Returns a table of SICs and one of AUCs for each data set and signal fraction."""
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["dataset"], row["signal_fraction"]), []).append(row)
    return [
        _table(f"{dataset}, {100 * fraction:g} % signal", group, fraction)
        for (dataset, fraction), group in sorted(groups.items(), key=lambda g: (g[0][0], -g[0][1]))
    ]


def _table(title: str, rows: Sequence[Row], fraction: float) -> Table:
    header = (
        "method",
        "SIC on data",
        "on the snapshot",
        "on stored events",
        "kept",
        "aim",
        "AUC on data",
        "on the snapshot",
        "on stored events",
    )
    names = [name for name in METHODS if any(row["method"] == name for row in rows)]
    others = sorted({str(row["method"]) for row in rows} - set(METHODS))
    lines = [_line(name, rows, fraction) for name in (*names, *others)]
    return Table(title, header, tuple(lines))


def _line(name: str, rows: Sequence[Row], fraction: float) -> Cells:
    by_place = {on: [r for r in rows if r["method"] == name and r["on"] == on] for on in ON}
    sic = {on: _by_seed(found, "max_sic") for on, found in by_place.items()}
    auc = {on: _by_seed(found, "auc") for on, found in by_place.items()}
    title = METHODS[name].title if name in METHODS else name
    # A ceiling or a method of densities alone has no snapshot or no data of its own.
    seeds = sorted(set(sic["data"]) & set(sic["snapshot"]))
    kept, aim = "–", "–"
    if seeds:
        ratio = sum(sic["snapshot"][s] for s in seeds) / sum(sic["data"][s] for s in seeds)
        kept = f"{100 * ratio:.0f} %"
        aim = f"{100 * AIMS[fraction]:.0f} %" if fraction in AIMS else "–"
    return (
        title,
        *(_mean(sic[on], 2) for on in ON),
        kept,
        aim,
        *(_mean(auc[on], 3) for on in ON),
    )


def _by_seed(rows: Sequence[Row], name: str) -> dict[int, float]:
    """Returns the mean over draws for each seed."""
    found: dict[int, list[float]] = {}
    for row in rows:
        found.setdefault(row["seed"], []).append(row[name])
    return {seed: float(np.mean(values)) for seed, values in found.items()}


def _mean(by_seed: Mapping[int, float], digits: int) -> str:
    """Returns mean and standard deviation over the seeds."""
    values = list(by_seed.values())
    if not values:
        return "–"
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"
