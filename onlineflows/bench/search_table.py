"""Tables of `search`: every method on data, on the snapshot and on events of its size."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from onlineflows.bench.table import Cells, Table
from onlineflows.offline.methods import METHODS

Row = Mapping[str, Any]

ON = ("data", "snapshot", "byte_equal")
AIMS = {0.01: 0.95, 0.003: 0.85, 0.001: 0.60}
"""Share of the data's SIC that a snapshot of at most 1 MB should keep, by signal fraction."""

TITLES: Mapping[str, str] = MappingProxyType(
    {name: entry.title for name, entry in METHODS.items()}
    | {
        "anode_fiducial": "ANODE, fiducial",
        "cathode_input": "CATHODE, m as input",
        "cathode_removed": "CATHODE, trend with m removed",
        "cathode_stored": "CATHODE, stored signal region",
        "optimum": "optimum",
    }
)
"""Methods and variants in the order of the lines."""

ON_DATA_AS = {"cathode_stored": "cathode"}
"""What a variant that exists for a snapshot only is compared with."""

HEADER = (
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
SIZES = (
    "signal",
    "seeds",
    "events",
    "bytes of all events",
    "bytes of the snapshot",
    "share",
    "numbers in θ",
    "stored events",
    "training [s]",
)


def search_tables(rows: Sequence[Row]) -> list[Table]:
    """Returns a table for each data set and signal fraction, and one of sizes per data set.

    Rows that were measured with other settings than the last one of their place are left out.
    """
    found = []
    last = {row["on"]: row["settings"] for row in rows}
    rows = [row for row in rows if row["settings"] == last[row["on"]]]
    for dataset in sorted({row["dataset"] for row in rows}):
        of_dataset = [row for row in rows if row["dataset"] == dataset]
        fractions = sorted({row["signal_fraction"] for row in of_dataset}, reverse=True)
        parts = {f: [r for r in of_dataset if r["signal_fraction"] == f] for f in fractions}
        found += [_table(dataset, fraction, part) for fraction, part in parts.items()]
        lines = [_sizes(fraction, part) for fraction, part in parts.items()]
        found.append(Table(f"{dataset}, sizes", SIZES, tuple(line for line in lines if line)))
    return found


def _table(dataset: str, fraction: float, rows: Sequence[Row]) -> Table:
    present = {str(row["method"]) for row in rows}
    names = [name for name in TITLES if name in present] + sorted(present - set(TITLES))
    lines = tuple(_line(name, rows, fraction) for name in names)
    return Table(f"{dataset}, {100 * fraction:g} % signal", HEADER, (*lines, _best(rows, fraction)))


def _best(rows: Sequence[Row], fraction: float) -> Cells:
    """Returns the line of the best method of each place: which one it is may differ.

    Methods that saw fewer streams than others there are no candidates.
    """
    best: dict[str, tuple[float, str]] = {}
    for on in ON:
        found = [r for r in rows if r["on"] == on and r["method"] != "cathode_stored"]
        sics = {
            name: _by_seed([r for r in found if r["method"] == name], "max_sic")
            for name in sorted({str(r["method"]) for r in found})
        }
        most = max(map(len, sics.values()), default=0)
        means = [
            (float(np.mean(list(sic.values()))), name)
            for name, sic in sics.items()
            if len(sic) == most
        ]
        if means:
            best[on] = max(means)
    cells = [f"{best[on][0]:.2f} ({TITLES[best[on][1]]})" if on in best else "–" for on in ON]
    kept = "–"
    if {"data", "snapshot"} <= set(best):
        kept = f"{100 * best['snapshot'][0] / best['data'][0]:.0f} %"
    return ("best of each", *cells, kept, _aim(fraction), "", "", "")


def _line(name: str, rows: Sequence[Row], fraction: float) -> Cells:
    # What needs truth needs the data, too: it stands in their column.
    places = {"data": ("data", "truth"), "snapshot": ("snapshot",), "byte_equal": ("byte_equal",)}
    method = {"data": ON_DATA_AS.get(name, name)}
    by_place = {
        on: [r for r in rows if r["method"] == method.get(on, name) and r["on"] in places[on]]
        for on in ON
    }
    sic = {on: _by_seed(found, "max_sic") for on, found in by_place.items()}
    auc = {on: _by_seed(found, "auc") for on, found in by_place.items()}
    seeds = sorted(set(sic["data"]) & set(sic["snapshot"]))
    kept, aim = "–", "–"
    if seeds:
        ratio = sum(sic["snapshot"][s] for s in seeds) / sum(sic["data"][s] for s in seeds)
        kept = f"{100 * ratio:.0f} %"
        aim = _aim(fraction)
    return (
        TITLES.get(name, name),
        *(mean_and_spread(sic[on].values(), 2) for on in ON),
        kept,
        aim,
        *(mean_and_spread(auc[on].values(), 3) for on in ON),
    )


def _aim(fraction: float) -> str:
    return f"{100 * AIMS[fraction]:.0f} %" if fraction in AIMS else "–"


def _sizes(fraction: float, rows: Sequence[Row]) -> Cells | None:
    """Returns the line of one signal fraction; None before any snapshot of it was searched."""
    snapshots = {r["seed"]: r for r in rows if r["on"] == "snapshot"}
    if not snapshots:
        return None
    one = next(iter(snapshots.values()))
    stored = {r["n_events"] for r in rows if r["on"] == "byte_equal"}
    train_s = float(np.mean([row["train_s"] for row in snapshots.values()]))
    return (
        f"{100 * fraction:g} %",
        str(len(snapshots)),
        f"{one['n_events']:,}",
        f"{one['event_nbytes'] * one['n_events']:,}",
        f"{one['nbytes']:,}",
        f"{100 * one['nbytes'] / (one['event_nbytes'] * one['n_events']):.2g} %",
        f"{one['n_parameters']:,}",
        ", ".join(f"{n:,}" for n in sorted(stored)) or "–",
        f"{train_s:.0f}",
    )


def _by_seed(rows: Sequence[Row], name: str) -> dict[int, float]:
    """Returns the mean over draws for each seed."""
    found: dict[int, list[float]] = {}
    for row in rows:
        found.setdefault(row["seed"], []).append(row[name])
    return {seed: float(np.mean(values)) for seed, values in found.items()}


def mean_and_spread(values: Collection[float], digits: int) -> str:
    """Returns mean and standard deviation of a number of each seed, or a dash if there is none."""
    if not values:
        return "–"
    spread = f" ± {np.std(list(values), ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(list(values)):.{digits}f}{spread}"
