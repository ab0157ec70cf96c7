"""`decorrelation`: which searches survive when the features depend on the resonant mass.

The study `search` with the masses raised by 0.1 mjj in every event, and without.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from onlineflows.bench import search
from onlineflows.bench.search import OpenData, SearchData, SearchSetting
from onlineflows.bench.search_table import TITLES, mean_and_spread
from onlineflows.bench.study import Key, Row
from onlineflows.bench.table import Table
from onlineflows.offline.shift import shift

PLACES = ("truth", "data", "snapshot")
"""The order of the lines."""


def keys(setting: SearchSetting) -> list[Key]:
    """Returns the cells of the study: those of `search` with the most signal, shifted and not."""
    most = max(setting.signal_fractions)
    found = [
        key
        for key in search.keys(setting)
        if not key["place"].startswith("byte_equal") and key["signal_fraction"] == most
    ]
    return [{**key, "shifted": shifted} for key in found for shifted in (False, True)]


def measure(open_data: OpenData, setting: SearchSetting, key: Key) -> list[Row]:
    """Returns a row for each method in one place.

    Args:
        open_data: makes the stream.
        setting: what is measured.
        key: one of `keys`.
    """
    within = {name: value for name, value in key.items() if name != "shifted"}
    if not key["shifted"]:
        return search.measure(open_data, setting, within)
    return search.measure(
        lambda fraction, seed: shifted_data(open_data(fraction, seed)), setting, within
    )


def shifted_data(data: SearchData) -> SearchData:
    """Returns a stream and all that it is searched with, their masses shifted.

    The optimum of shifted events isn't known: it integrates over m at every event.
    """

    def moved(x: Any) -> Any:
        return shift(x, data.schema)

    tested = replace(data.evaluation, x=moved(data.evaluation.x), optimum=None)
    return replace(
        data,
        x=moved(data.x),
        evaluation=tested,
        background=moved(data.background),
        signal=moved(data.signal),
    )


def decorrelation_tables(rows: Sequence[Row]) -> list[Table]:
    """Returns a table for each data set and signal fraction: means over seeds."""
    groups = sorted({(row["dataset"], row["signal_fraction"]) for row in rows})
    return [_table(group, [r for r in rows if _group(r) == group]) for group in groups]


def _group(row: Row) -> tuple[str, float]:
    return row["dataset"], row["signal_fraction"]


def _table(group: tuple[str, float], rows: Sequence[Row]) -> Table:
    header = ("method", "on", "max SIC", "shifted", "AUC", "shifted")
    lines = []
    rows = sorted(rows, key=lambda row: PLACES.index(row["on"]))
    for method, on in dict.fromkeys((row["method"], row["on"]) for row in rows):
        found = [r for r in rows if (r["method"], r["on"]) == (method, on)]
        cells = (
            mean_and_spread([r[name] for r in found if r["shifted"] == shifted], digits)
            for name, digits in (("max_sic", 2), ("auc", 3))
            for shifted in (False, True)
        )
        lines.append((TITLES[method], on, *cells))
    title = f"Masses shifted by 0.1 mjj: {group[0]}, {100 * group[1]:g} % signal"
    return Table(title, header, tuple(lines))
