"""The table of `tan`, in the columns of the paper's table 2."""

from collections.abc import Mapping, Sequence
from typing import Any

from onlineflows.bench.table import Table
from onlineflows.bench.tan import summarise

HEADER = ("ratio", "flow", "λ of signal", "λ of background", "difference", "AUC")


def tan_tables(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Returns a table for each data set and signal fraction."""
    found = summarise(rows)
    tables = []
    for place in dict.fromkeys((row["dataset"], row["fraction"]) for row in found):
        group = [row for row in found if (row["dataset"], row["fraction"]) == place]
        one = group[0]
        title = (
            f"{one['dataset']}, {one['n_events']:,} events, "
            f"{100 * one['signal_share']:.1f} % signal, {one['seeds']} seeds"
        )
        ways = list(dict.fromkeys(row["way"] for row in group))
        ordered = sorted(group, key=lambda row: ways.index(row["way"]))
        tables.append(Table(title, HEADER, tuple(_line(row) for row in ordered)))
    return tables


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    values = (row.get(name) for name in ("signal", "background", "difference", "auc"))
    cells = ("–" if v is None else f"{v[0]:.3f} ± {v[1]:.3f}" for v in values)
    return (row["way"], row["flow"], *cells)
