"""The one-page figure of a snapshot."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from onlineflows.offline.distributions import (
    TwoSamples,
    draw_correlations,
    draw_marginal,
    rank_correlation,
)
from onlineflows.offline.style import MODEL, REFERENCE, new_figure, styled, title

COLUMNS = 4
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


def inspect_figure(facts: Mapping[str, str], samples: TwoSamples, history: History) -> Figure:
    """Returns a page: facts, NLL over time, each feature's marginal, the correlations.

    Args:
        facts: name and value of what the manifest says, in the order they are printed.
        samples: events of the model and, where given, of a reference.
        history: the NLL over time.
    """
    n = samples.schema.n_features
    rows = -(-(n + 3) // COLUMNS)
    with styled():
        figure = new_figure(16.0, 4.5 * rows)
        grid = figure.add_gridspec(2 * rows, COLUMNS, height_ratios=[3, 1] * rows)
        cells = [divmod(i, COLUMNS) for i in range(n + 3)]
        whole = [grid[2 * row : 2 * row + 2, column] for row, column in cells]
        _draw_facts(figure.add_subplot(whole[0]), facts)
        draw_history(figure.add_subplot(whole[1]), history)
        _draw_matrix(figure.add_subplot(whole[2]), samples)
        for i, (row, column) in enumerate(cells[3:]):
            if samples.reference is None:
                main = figure.add_subplot(whole[3 + i])
                draw_marginal(main, None, samples, i)
            else:
                main = figure.add_subplot(grid[2 * row, column])
                ratio = figure.add_subplot(grid[2 * row + 1, column], sharex=main)
                draw_marginal(main, ratio, samples, i)
            if i == 0:
                main.legend(loc="upper right")
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
    axes.plot(history.events, history.nll, color=REFERENCE, lw=0.8, alpha=0.6)
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
    axes.set_axis_off()
    title(axes, "snapshot")
    step = min(0.075, 0.98 / max(len(facts), 1))
    for i, (name, value) in enumerate(facts.items()):
        height = 0.97 - i * step
        axes.text(0.0, height, name, transform=axes.transAxes, va="top", fontsize=11, color="0.35")
        axes.text(0.40, height, value, transform=axes.transAxes, va="top", fontsize=11)


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
