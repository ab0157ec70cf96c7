"""The figure of two densities: marginals with their ratio, and where in m they differ."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from onlineflows.offline.distributions import TwoSamples, add_marginal
from onlineflows.offline.divergence import DensityComparison
from onlineflows.offline.style import MODEL, axis_label, new_figure, styled, title

COLUMNS = 3


def comparison_figure(compared: DensityComparison, names: tuple[str, str]) -> Figure:
    """Returns every feature's marginal, b over a, and the divergence against the resonant feature.

    Args:
        compared: the two densities.
        names: legends of a and b.
    """
    a, b = names
    samples = TwoSamples(
        compared.schema, compared.x_b, compared.x_a, model_name=b, reference_name=a
    )
    n_panels = compared.schema.n_features + 1
    columns = min(COLUMNS, n_panels)
    rows = -(-n_panels // columns)
    with styled():
        figure = new_figure(4.8 * columns, 4.4 * rows)
        grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3, 1] * rows)
        for i in range(compared.schema.n_features):
            row, column = divmod(i, columns)
            main = add_marginal(figure, grid, (row, column), samples, i)
            if i == 0:
                main.legend(loc="upper right")
                title(main, compared.model)
        row, column = divmod(n_panels - 1, columns)
        _draw_regions(figure.add_subplot(grid[2 * row : 2 * row + 2, column]), compared)
        figure.align_ylabels()
    return figure


def _draw_regions(axes: Axes, compared: DensityComparison) -> None:
    """Draws the divergence of p(x | m) in each region of m, and writes the whole above."""
    ends = [float(end) for end in np.quantile(compared.x_a[:, 0], [0.001, 0.999])]
    for region in compared.regions:
        if region.jeffreys is None or region.jeffreys_error is None:
            continue
        low, high = max(region.low, ends[0]), min(region.high, ends[1])
        axes.errorbar(
            (low + high) / 2,
            region.jeffreys,
            region.jeffreys_error,
            xerr=(high - low) / 2,
            fmt="o",
            color=MODEL,
            ms=4,
            lw=1.2,
        )
    axes.axhline(0, color="0.4", lw=0.8)
    axes.set(
        xlabel=axis_label(compared.schema.resonant),
        ylabel="Jeffreys of p(x | m) [nats]",
    )
    whole = f"all: {compared.jeffreys:.4f} ± {compared.jeffreys_error:.4f} nats"
    axes.set_title(whole, fontsize="small", loc="right")
