"""Figures of samples: marginals with ratio panels, the resonant spectrum, correlations."""

from dataclasses import dataclass
from typing import Any

import hist
import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecBase
from matplotlib.image import AxesImage
from matplotlib.markers import CARETDOWN, CARETUP
from numpy.typing import NDArray
from scipy.stats import rankdata

from onlineflows.errors import DataError
from onlineflows.offline.regions import Regions
from onlineflows.offline.style import (
    BAND,
    MODEL,
    REFERENCE,
    axis_label,
    new_figure,
    styled,
    symbol_of,
    title,
)
from streams.schema import EventSchema, Feature

Array = NDArray[np.floating[Any]]

NEAR = 0.25
"""Half of the height of a panel of ratios between samples that are alike."""
CORRELATED_EVENTS = 200_000
"""Events used for rank correlations; their error is then at most 0.002."""


@dataclass(frozen=True, slots=True, eq=False)
class TwoSamples:
    """What is drawn: events of the model and, where there are any, of the reference.

    Args:
        schema: names, units and supports of the columns.
        model: events sampled from the snapshot, shape (n, d).
        reference: data to compare with, shape (m, d), or None.
        model_name: the model's legend.
        reference_name: the reference's legend.

    Raises:
        DataError: there is nothing to draw.
    """

    schema: EventSchema
    model: Array
    reference: Array | None = None
    model_name: str = "snapshot"
    reference_name: str = "data"

    def __post_init__(self) -> None:
        if len(self.model) == 0 or (self.reference is not None and len(self.reference) == 0):
            n = "none" if self.reference is None else str(len(self.reference))
            raise DataError(
                f"expected events to draw; got {len(self.model)} of the {self.model_name}, {n} of "
                f"the {self.reference_name}"
            )


@dataclass(frozen=True, slots=True)
class Bins:
    """How a histogram is binned.

    Args:
        n: number of bins.
        log: logarithmic scale of the contents.
    """

    n: int = 50
    log: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Fractions:
    """Fractions of all events, also those outside the drawn range, with errors, shape (bins,)."""

    value: NDArray[np.float64]
    error: NDArray[np.float64]


DEFAULT_BINS = Bins()


def marginals_figure(samples: TwoSamples, *, caption: str = "") -> Figure:
    """Returns every feature's histogram, model against reference with the ratio below.

    Args:
        samples: the events.
        caption: what is shown, above the first panel.
    """
    n = samples.schema.n_features
    columns = min(3, n)
    rows = -(-n // columns)
    with styled():
        figure = new_figure(4.6 * columns, 4.4 * rows)
        grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3, 1] * rows)
        for i in range(n):
            row, column = divmod(i, columns)
            main = add_marginal(figure, grid, (row, column), samples, i)
            if i == 0:
                main.legend(loc="upper right")
                title(main, caption)
        figure.align_ylabels()
    return figure


def add_marginal(
    figure: Figure, grid: GridSpecBase, cell: tuple[int, int], samples: TwoSamples, column: int
) -> Axes:
    """Draws one feature's histogram, with a ratio panel where there is a reference.

    Args:
        figure: gets the panels.
        grid: two rows of it, high and low, are a row of cells.
        cell: row and column.
        samples: the events.
        column: the feature's index.

    Returns:
        The panel of the histograms.
    """
    row, place = cell
    if samples.reference is None:
        main = figure.add_subplot(grid[2 * row : 2 * row + 2, place])
        draw_marginal(main, None, samples, column)
        return main
    main = figure.add_subplot(grid[2 * row, place])
    ratio = figure.add_subplot(grid[2 * row + 1, place], sharex=main)
    draw_marginal(main, ratio, samples, column)
    return main


def spectrum_figure(samples: TwoSamples, regions: Regions | None, *, caption: str = "") -> Figure:
    """Returns the spectrum of the resonant feature with the regions shaded.

    Args:
        samples: the events.
        regions: signal region and sidebands, or None.
        caption: what is shown, above the panel.
    """
    with styled():
        figure = new_figure(6.8, 5.8)
        main, ratio = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        draw_marginal(main, ratio, samples, 0, bins=Bins(80, log=True))
        if regions is not None:
            main.axvspan(
                *regions.signal_region, color=MODEL, alpha=0.12, lw=0, label="signal region"
            )
            for i, strip in enumerate(regions.sidebands):
                text = "sidebands" if i == 0 else None
                main.axvspan(*strip, color=REFERENCE, alpha=0.10, lw=0, label=text)
        main.legend(loc="upper right")
        title(main, caption)
    return figure


def correlations_figure(samples: TwoSamples, *, caption: str = "") -> Figure:
    """Returns the matrices of Spearman's rank correlation: reference, model and difference.

    Args:
        samples: the events.
        caption: what is shown, above the first matrix.
    """
    size = 1.6 + 0.75 * samples.schema.n_features
    with styled():
        if samples.reference is None:
            figure = new_figure(size + 0.8, size)
            image = draw_correlations(
                figure.subplots(), samples.schema, rank_correlation(samples.model)
            )
            figure.axes[0].set_title(samples.model_name)
            figure.colorbar(image, ax=figure.axes, shrink=0.8)
            return figure
        model, reference = rank_correlation(samples.model), rank_correlation(samples.reference)
        figure = new_figure(3 * size + 0.8, size)
        panels = figure.subplots(1, 3)
        draw_correlations(panels[0], samples.schema, reference)
        image = draw_correlations(panels[1], samples.schema, model)
        title(panels[0], "")
        panels[0].set_title(samples.reference_name)
        panels[1].set_title(samples.model_name)
        difference = draw_correlations(panels[2], samples.schema, model - reference, limit=0.1)
        panels[2].set_title(f"{samples.model_name} $-$ {samples.reference_name}")
        figure.colorbar(image, ax=panels[:2], shrink=0.8, label="rank correlation")
        figure.colorbar(difference, ax=panels[2], shrink=0.8)
        if caption:
            figure.suptitle(caption, fontsize="small")
    return figure


def draw_marginal(
    main: Axes, ratio: Axes | None, samples: TwoSamples, column: int, *, bins: Bins = DEFAULT_BINS
) -> None:
    """Draws one feature's histogram into a panel and the ratio to the reference below it.

    Args:
        main: the panel of the histograms.
        ratio: the panel of the ratio; None for no ratio.
        samples: the events.
        column: the feature's index.
        bins: number of bins, scale.
    """
    feature = samples.schema.features[column]
    low, high = _range(samples, feature, column)
    axis = hist.axis.Regular(bins.n, low, high)
    model = _fractions(samples.model[:, column], axis)
    mplhep.histplot(
        model.value, axis.edges, ax=main, color=MODEL, lw=1.6, label=samples.model_name, zorder=3
    )
    if samples.reference is not None:
        reference = _fractions(samples.reference[:, column], axis)
        mplhep.histplot(
            reference.value,
            axis.edges,
            ax=main,
            histtype="fill",
            color=REFERENCE,
            alpha=0.35,
            label=samples.reference_name,
        )
        if ratio is not None:
            _draw_ratio(ratio, model, reference, axis)
            ratio.set(xlim=(low, high), xlabel=axis_label(feature))
            main.tick_params(labelbottom=False)
    main.set(
        xlim=(low, high),
        xlabel="" if ratio is not None else axis_label(feature),
        ylabel=f"fraction / {f'{axis.widths[0]:.2g} {feature.unit}'.strip()}",
    )
    filled = model.value[model.value > 0]
    if not len(filled):
        return  # the model has nothing in the range of the reference
    if bins.log:
        main.set(yscale="log", ylim=(0.3 * filled.min(), 5 * filled.max()))
    else:
        main.set_ylim(0, 1.3 * float(filled.max()))


def _draw_ratio(
    axes: Axes, model: _Fractions, reference: _Fractions, axis: hist.axis.Regular
) -> None:
    """Draws model over reference with the model's errors; the band is the reference's.

    Points beyond the panel are triangles at its edge.
    """
    both = (reference.value > 0) & (model.value > 0)
    divisor = np.where(both, reference.value, 1.0)
    points, errors = model.value / divisor, model.error / divisor
    band = np.where(both, reference.error / divisor, 0.0)
    # Small samples and unlike ones get a wider panel, so that points don't all leave it.
    away, error = np.abs(points[both] - 1), errors[both]
    is_near = not both.any() or (np.median(error) < 0.08 and np.median(away) < NEAR)
    half = NEAR if is_near else 1.0
    axes.stairs(1 + band, axis.edges, baseline=1 - band, fill=True, color=BAND, alpha=0.5)
    axes.axhline(1, color="0.4", lw=0.8)
    axes.errorbar(
        axis.centers[both], points[both], errors[both], fmt=".", color=MODEL, ms=3.5, lw=0.9
    )
    axes.set(ylim=(1 - half, 1 + half), ylabel="ratio")
    for beyond, edge, marker in (
        (both & (points > 1 + half), 1 + half, CARETUP),
        (both & (points < 1 - half), 1 - half, CARETDOWN),
    ):
        axes.plot(
            axis.centers[beyond],
            np.full(np.count_nonzero(beyond), edge),
            ls="none",
            marker=marker,
            color=MODEL,
            ms=5,
            label="beyond",
        )


def draw_correlations(
    axes: Axes, schema: EventSchema, matrix: NDArray[np.float64], *, limit: float = 1.0
) -> AxesImage:
    """Draws a correlation matrix with its numbers and returns the image for a colour bar."""
    names = [symbol_of(feature) for feature in schema.features]
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(which="both", length=0)
    axes.minorticks_off()
    digits = 2 if limit >= 1 else 3
    for i, j in np.ndindex(matrix.shape):
        colour = "white" if abs(matrix[i, j]) > 0.65 * limit else "black"
        is_told = np.isfinite(matrix[i, j]) and (i != j or limit >= 1)
        text = f"{matrix[i, j]:.{digits}f}" if is_told else ""
        axes.text(j, i, text, ha="center", va="center", color=colour, fontsize="x-small")
    return image


def rank_correlation(x: Array) -> NDArray[np.float64]:
    """Returns Spearman's rank correlation of the columns, shape (d, d).

    Ranks don't change under the monotone maps of the preprocessing, and no tail dominates. A
    constant column has no correlation: NaN.

    Args:
        x: events, shape (n, d); of more than `CORRELATED_EVENTS` the first ones are used.
    """
    ranks = rankdata(x[:CORRELATED_EVENTS], axis=0)
    if len(ranks) < 2:
        return np.full((x.shape[1], x.shape[1]), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.atleast_2d(np.corrcoef(ranks, rowvar=False))


def _fractions(values: Array, axis: hist.axis.Regular) -> _Fractions:
    histogram: hist.Hist[Any] = hist.Hist(axis)
    counts = np.asarray(histogram.fill(values).values(), dtype=np.float64)
    scale = 1.0 / max(len(values), 1)
    return _Fractions(counts * scale, np.sqrt(counts) * scale)


def _range(samples: TwoSamples, feature: Feature, column: int) -> tuple[float, float]:
    """The central 99.8 % of the reference, a little wider, inside the support."""
    shown = samples.model if samples.reference is None else samples.reference
    low, high = (float(v) for v in np.quantile(shown[:, column], [0.001, 0.999]))
    margin = 0.03 * (high - low) or 0.5
    return max(low - margin, feature.low), min(high + margin, feature.high)
