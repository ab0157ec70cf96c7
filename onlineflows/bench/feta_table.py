"""The table of `feta` in the columns of the paper's, and the figure of how far events move."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from onlineflows.bench.feta import DISTANCE_EDGES, WAYS, summarise
from onlineflows.bench.table import Table
from onlineflows.offline.style import new_figure, styled, title

Row = Mapping[str, Any]

COLOURS = ("#9c9ca1", "#5790fc", "#f89c20", "#e42536", "#964a8b")
"""Of the `WAYS`; Petroff's (2107.02270)."""


def feta_tables(rows: Sequence[Row]) -> list[Table]:
    """Returns AUCs and mean distances by band and way."""
    found = {(row["band"], row["way"]): row for row in summarise(rows)}
    bands = list(dict.fromkeys(band for band, _ in found))
    ways = [way for way in WAYS if any(way == other for _, other in found)]
    seeds = max(row["seeds"] for row in found.values())
    areas, lengths = [], []
    for band in bands:
        one = found[band, ways[0]]
        pairs = [found[band, way]["auc"] for way in ways]
        cells = (f"{mean:.3f} ± {spread:.3f}" for mean, spread in pairs)
        areas.append((band, f"{one['n_compared']:,}", f"{one['null_width']:.3f}", *cells))
        lengths.append((band, *(f"{found[band, way]['distance']:.3f}" for way in ways[1:])))
    trained = next(iter(found.values()))["n_trained"]
    heading = f"AUC of a classifier that tells moved reference from target events, {seeds} seeds"
    moved = (
        f"Mean distance that events move, scaled features; trained on {trained[0]:,} reference "
        f"and {trained[1]:,} target events"
    )
    return [
        Table(heading, ("band", "events of each", "null width", *ways), tuple(areas)),
        Table(moved, ("band", *ways[1:]), tuple(lengths)),
    ]


def feta_figure(rows: Sequence[Row]) -> Figure:
    """Returns how far events move in the sidebands and in the signal region, by each way."""
    found = list(summarise(rows))
    centres = 0.5 * (DISTANCE_EDGES[1:] + DISTANCE_EDGES[:-1])
    with styled():
        figure = new_figure(9.0, 4.2)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (name, bands) in zip(
            panels, {"sidebands": ("SB1", "SB2"), "signal region": ("SR",)}.items(), strict=True
        ):
            for way, colour in zip(WAYS[1:], COLOURS[1:], strict=True):
                parts = [r["distances"] for r in found if r["way"] == way and r["band"] in bands]
                counts = np.sum(parts, axis=0)
                share = counts / max(counts.sum(), 1) / np.diff(DISTANCE_EDGES)
                axes.step(centres, share, where="mid", color=colour, label=way)
            axes.set_yscale("log")
            axes.set_xlabel("distance that an event moves")
            title(axes, name)
        panels[0].set_ylabel("density")
        panels[1].legend()
        return figure
