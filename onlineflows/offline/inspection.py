"""The one-page figure of a snapshot."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from onlineflows.offline.distributions import (
    TwoSamples,
    add_marginal,
    draw_correlations,
    rank_correlation,
)
from onlineflows.offline.style import MODEL, REFERENCE, axis_label, new_figure, styled, title
from streams import Feature

FACT_LETTERS = 66
"""Letters of a fact in one line."""
NAMES_WIDTH = 0.24
"""Of the facts' panel, for their names."""
LEAST = 1e-4
"""Densities are drawn down to this fraction of the highest."""
COLOURS = ("#e42536", "#5790fc", "#f89c20", "#964a8b", "#7a21dd", "#31313a")
"""Of models, in their order; Petroff's (2107.02270)."""
FEW_POINTS = 20
"""Of a history: so few are marked, each by itself."""
NO_VALUES = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The NLL over time as a snapshot keeps it.

    Args:
        events: events seen at each entry, shape (k,), rising.
        nll: mean negative log-likelihood of new events before they were trained on, in nats per
            event, shape (k,).
        alarms: events seen when the drift alarm rang.
    """

    events: NDArray[np.number[Any]] = field(default_factory=lambda: NO_VALUES)
    nll: NDArray[np.floating[Any]] = field(default_factory=lambda: NO_VALUES)
    alarms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """What one of several models says of the resonant feature.

    Args:
        name: of the model.
        m: values of the resonant feature, shape (k,), rising, in its unit.
        density: p(m) there, per unit; it integrates to 1 over the model's support.
    """

    name: str
    m: NDArray[np.float64]
    density: NDArray[np.float64]


def inspect_figure(
    facts: Mapping[str, str],
    samples: TwoSamples,
    history: History,
    spectra: Sequence[Spectrum] = (),
) -> Figure:
    """Returns a page: facts, NLL over time, correlations, each feature's marginal, other models.

    Args:
        facts: name and value of what the manifest says, in the order they are printed.
        samples: events of the model and, where given, of a reference.
        history: the NLL over time.
        spectra: p(m) of every model; drawn where there are several.
    """
    n = samples.schema.n_features
    n_cells = n + (len(spectra) > 1)
    columns = min((4, 3), key=lambda c: -n_cells % c)  # the fewest empty cells
    rows = 1 + -(-n_cells // columns)
    with styled():
        figure = new_figure(17.0, 4.4 * rows)
        page = figure.add_gridspec(2, 1, height_ratios=[1, rows - 1])
        # The facts are as wide as two panels.
        cells = page[0].subgridspec(1, 4)
        _draw_facts(figure.add_subplot(cells[:2]), facts)
        draw_history(figure.add_subplot(cells[2]), history)
        _draw_matrix(figure.add_subplot(cells[3]), samples)
        grid = page[1].subgridspec(2 * (rows - 1), columns, height_ratios=[3, 1] * (rows - 1))
        for i in range(n):
            main = add_marginal(figure, grid, divmod(i, columns), samples, i)
            if i == 0:
                main.legend(loc="upper right")
        if len(spectra) > 1:
            row, column = divmod(n, columns)
            axes = figure.add_subplot(grid[2 * row : 2 * row + 2, column])
            _draw_spectra(axes, samples.schema.resonant, spectra)
    return figure


def spectra_figure(resonant: Feature, spectra: Sequence[Spectrum]) -> Figure:
    """Returns p(m) of every model in one panel.

    Args:
        resonant: the feature m.
        spectra: of the models.
    """
    with styled():
        figure = new_figure(6.8, 5.8)
        axes = figure.subplots()
        _draw_spectra(axes, resonant, spectra)
        title(axes, "models")
    return figure


def nll_figure(history: History, *, caption: str = "") -> Figure:
    """Returns the NLL of new events against the events seen, with drift alarms.

    Args:
        history: the NLL over time.
        caption: what is shown, above the panel.
    """
    with styled():
        figure = new_figure(6.8, 5.8)
        axes = figure.subplots()
        draw_history(axes, history)
        title(axes, caption)
    return figure


def draw_history(axes: Axes, history: History) -> None:
    """Draws the NLL over time into a panel, zoomed onto what follows the first tenth."""
    axes.set(xlabel="events seen", ylabel="NLL of new events [nats]")
    if len(history.nll) == 0:
        axes.text(0.5, 0.5, "no history", ha="center", va="center", transform=axes.transAxes)
        return
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    marker = "o" if len(history.nll) <= FEW_POINTS else ""  # a line through one point is empty
    axes.plot(history.events, history.nll, color=REFERENCE, lw=0.8, alpha=0.6, marker=marker)
    window = len(history.nll) // 20
    if window > 1:
        smooth = np.convolve(history.nll, np.full(window, 1 / window), mode="valid")
        middle = history.events[(window - 1) // 2 :][: len(smooth)]
        axes.plot(middle, smooth, color=MODEL, lw=1.8, label=f"mean of {window}")
    for i, alarm in enumerate(history.alarms):
        text = "drift alarm" if i == 0 else "_alarm"
        axes.axvline(alarm, color="0.4", ls="--", lw=1.2, label=text)
    if window > 1 or history.alarms:
        axes.legend(loc="upper right")
    settled = history.nll[len(history.nll) // 10 :]
    low, high = (float(v) for v in np.quantile(settled, [0.0, 0.99]))
    margin = 0.25 * (high - low) or 0.5
    axes.set_ylim(low - margin, high + 2 * margin)


def _draw_facts(axes: Axes, facts: Mapping[str, str]) -> None:
    """Writes the facts line by line, in letters as large as there is room for."""
    axes.set_axis_off()
    title(axes, "snapshot")
    rows = [(name, textwrap.wrap(value, FACT_LETTERS) or [""]) for name, value in facts.items()]
    n_lines = sum(len(lines) for _, lines in rows)
    step = min(0.062, 0.98 / max(n_lines, 1))
    size = min(11.5, 185 * step)
    height = 0.97
    for name, lines in rows:
        for text, place, colour in ((name, 0.0, "0.35"), ("\n".join(lines), NAMES_WIDTH, "0.0")):
            axes.text(
                place,
                height,
                text.replace("$", r"\$"),
                transform=axes.transAxes,
                va="top",
                fontsize=size,
                color=colour,
                linespacing=1.35,
                in_layout=False,  # long words must not squeeze the panels beside them
            )
        height -= step * len(lines)


def _draw_spectra(axes: Axes, resonant: Feature, spectra: Sequence[Spectrum]) -> None:
    """Draws p(m) of each model, on a logarithmic scale."""
    peak = max(float(spectrum.density.max()) for spectrum in spectra)
    shown = [spectrum.m[spectrum.density > LEAST * peak] for spectrum in spectra]
    for spectrum, colour in zip(spectra, cycle(COLOURS)):
        axes.plot(spectrum.m, spectrum.density, color=colour, lw=1.6, label=spectrum.name)
    unit = f" / {resonant.unit}" if resonant.unit else ""
    ends = min(m[0] for m in shown), max(m[-1] for m in shown)
    axes.set(xlabel=axis_label(resonant), ylabel=f"p(m){unit}", xlim=ends)
    axes.set(yscale="log", ylim=(LEAST * peak, 5 * peak))
    axes.legend(loc="upper right")


def _draw_matrix(axes: Axes, samples: TwoSamples) -> None:
    """Model below the diagonal; above it the reference, or the model again."""
    model = rank_correlation(samples.model)
    shown = model
    if samples.reference is not None:
        upper = np.triu(np.ones_like(model, dtype=bool), k=1)
        shown = np.where(upper, rank_correlation(samples.reference), model)
        axes.set_title(
            f"rank correlation: {samples.reference_name} (upper), {samples.model_name} (lower)",
            fontsize="x-small",
        )
    else:
        axes.set_title("rank correlation", fontsize="x-small")
    draw_correlations(axes, samples.schema, shown)
