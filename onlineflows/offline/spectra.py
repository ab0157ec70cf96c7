"""Spectra of the resonant feature before and after cuts, hunted for a bump, and their figure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.bumphunt import CUTS, Bump, hunt, search, thresholds
from onlineflows.offline.dijet import FEWEST, Spectrum, aligned_edges
from onlineflows.offline.material import Material
from onlineflows.offline.style import BAND, MODEL, axis_label, new_figure, styled, title
from onlineflows.settings import ValidateConfig
from streams.schema import EventSchema, Feature

Events = NDArray[np.floating[Any]]
Document = dict[str, Any]
Score = Callable[[Events], NDArray[np.float64]]

ENERGIES = {"TeV": 13.0, "GeV": 13_000.0}
"""The energy of the collisions in the dijet functions, by the unit of the resonant feature."""
COLOURS = ("#31313a", "#5790fc", "#f89c20", "#e42536")
N_TOYS = 2000


def hunts(material: Material, settings: ValidateConfig, score: Score) -> Document:
    """Returns the bump hunts on the data and on fresh samples, with one score.

    Samples count as the events that their density was learned from: see `Spectrum.of_samples`.

    Args:
        material: events.
        settings: regions, range of the fit, seed.
        score: that was trained on neither.

    Returns:
        By what was hunted in, a list with a document for each cut; empty where the resonant
        feature isn't a mass in GeV or TeV or its range isn't covered.
    """
    found: Document = {}
    sources: dict[str, tuple[Events, int | None]] = {"data": (material.data, None)}
    if material.covers_everything:
        sources["samples"] = (material.fresh, material.n_learned or len(material.data))
    for name, (x, seen) in sources.items():
        try:
            found[name] = hunt_after_cuts(x, score, material.schema, settings, n_seen=seen)
        except (DataError, ConfigError) as error:
            found[name] = {"not_possible": str(error)}
    return found


def hunt_after_cuts(
    x: Events,
    score: Score,
    schema: EventSchema,
    settings: ValidateConfig,
    *,
    n_seen: int | None = None,
    cuts: Sequence[float] = CUTS,
) -> list[Document]:
    """Returns a hunt for each cut that leaves enough events, as documents.

    A cut keeps a fraction of the events in the range of the fit outside the signal region. One bin
    on both sides of the signal region isn't fitted: there is signal in it, too.

    Args:
        x: events, shape (n, d), the resonant feature first.
        score: higher is more signal-like.
        schema: of the events.
        settings: regions, range of the fit, seed.
        n_seen: for samples, the events that their density was learned from; None for events.
        cuts: fractions to keep.

    Raises:
        ConfigError: the resonant feature isn't a mass in GeV or TeV.
        DataError: there are too few events in the range of the fit.
    """
    unit = schema.resonant.unit
    if unit not in ENERGIES:
        raise ConfigError(f"expected a resonant feature in GeV or TeV to hunt in; got {unit!r}")
    region = settings.signal_region
    edges = aligned_edges(region, *settings.fit_range)
    within = x[(x[:, 0] >= edges[0]) & (x[:, 0] < edges[-1])]
    found = score(within)
    m = within[:, 0].astype(np.float64)
    outside = (m < region[0]) | (m >= region[1])
    rng = np.random.default_rng([settings.seed, len(x)])
    kept = [cut for cut in cuts if cut * np.count_nonzero(outside) >= 50]
    if not kept:
        raise DataError(
            f"expected events in the range of the fit {settings.fit_range}; got {len(within)}"
        )
    documents, at_least = [], FEWEST
    for cut, threshold in zip(kept, thresholds(found[outside], kept), strict=True):
        passed = m[found >= threshold]
        spectrum = (
            Spectrum.of_events(passed, edges)
            if n_seen is None
            else Spectrum.of_samples(passed, edges, n_seen=n_seen, n_samples=len(x))
        )
        bump = hunt(
            spectrum, region, guard=edges[1] - edges[0], at_least=at_least, energy=ENERGIES[unit]
        )
        at_least = len(bump.fit.parameters)
        documents.append({"cut": cut, "threshold": _finite(threshold)} | _document(bump, rng))
    return documents


def _document(bump: Bump, rng: np.random.Generator) -> Document:
    found = search(bump.spectrum, bump.fit, rng, n_toys=N_TOYS)
    return {
        "edges": bump.spectrum.edges.tolist(),
        "events": bump.spectrum.events.tolist(),
        "scale": bump.spectrum.scale,
        "expected": bump.fit.expected(bump.spectrum.edges).tolist(),
        "n_parameters": len(bump.fit.parameters),
        "p_fit": bump.fit.p_value,
        "observed": bump.observed,
        "background": [bump.background.value, bump.background.error],
        "excess": [bump.signal.value, bump.signal.error],
        "z_local": bump.z_local,
        "p_local": bump.p_local,
        "window": list(found.window),
        "p_window": found.p_local,
        "p_global": [found.p_global.value, found.p_global.error],
        "z_global": found.z_global,
        "is_bound": found.p_global.value == 0,
        "n_toys": found.n_toys,
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def spectra_figure(
    documents: Sequence[Mapping[str, Any]],
    feature: Feature,
    region: tuple[float, float],
    *,
    caption: str = "",
) -> Figure:
    """Returns the spectra of all cuts with their fits, and the pulls of each below.

    A pull is (events - fit) / sqrt(variance of the events); of samples that variance is larger
    than their number, see `Spectrum`.

    Args:
        documents: from `hunt_after_cuts`.
        feature: the resonant one.
        region: signal region.
        caption: what was hunted in, above the panel.
    """
    n = len(documents)
    with styled():
        figure = new_figure(6.8, 4.6 + 1.05 * n)
        panels = figure.subplots(n + 1, 1, sharex=True, height_ratios=[4, *[1] * n])
        main: Axes = panels[0]
        smallest = 1.0
        for i, (document, colour) in enumerate(zip(documents, COLOURS, strict=False)):
            edges = np.array(document["edges"])
            events, expected = np.array(document["events"]), np.array(document["expected"])
            error = np.sqrt(document["scale"] * events)
            centres, shown = 0.5 * (edges[1:] + edges[:-1]), events > 0
            main.stairs(expected, edges, color=colour, lw=1.2)
            main.errorbar(
                centres[shown],
                events[shown],
                error[shown],
                fmt=".",
                color=colour,
                ms=4,
                lw=0.9,
                label=_legend(document),
            )
            smallest = min(smallest, float(expected.min()))
            pull = (events - expected) / np.sqrt(document["scale"] * np.maximum(expected, 0.1))
            _draw_pulls(panels[i + 1], edges, pull, colour, document["cut"])
        top = max(float(np.max(document["events"])) for document in documents)
        main.set(
            yscale="log",
            ylim=(max(0.3, 0.3 * smallest), 4 * top),
            ylabel=f"events / {edges[1] - edges[0]:.2g} {feature.unit}",
        )
        for axes in panels:
            axes.axvspan(*region, color=MODEL, alpha=0.08, lw=0)
        main.legend(loc="upper right", fontsize="xx-small", labelspacing=0.35)
        panels[-1].set(xlabel=axis_label(feature), xlim=(edges[0], edges[-1]))
        figure.align_ylabels()
        title(main, caption)
    return figure


def _draw_pulls(
    axes: Axes, edges: NDArray[np.float64], pull: NDArray[np.float64], colour: str, cut: float
) -> None:
    axes.stairs(pull, edges, fill=True, color=colour, alpha=0.75)
    axes.axhline(0, color="0.4", lw=0.8)
    for level in (-2, 2):
        axes.axhline(level, color=BAND, lw=0.7, ls=":")
    low, high = min(-4.0, 1.2 * float(pull.min())), max(4.0, 1.2 * float(pull.max()))
    axes.set(ylim=(low, high), ylabel="pull")
    axes.text(
        0.985,
        0.82,
        _fraction(cut),
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize="small",
    )


def _legend(document: Mapping[str, Any]) -> str:
    local = rf"${document['z_local']:.1f}\,\sigma$ in the SR"
    sign = "> " if document["is_bound"] else ""
    low, high = document["window"]
    anywhere = rf"${sign}{document['z_global']:.1f}\,\sigma$ global in {low:g} to {high:g}"
    return f"{_fraction(document['cut'])}: {local}, {anywhere}"


def _fraction(cut: float) -> str:
    return "all events" if cut >= 1 else rf"$\epsilon_B = {_power(cut)}$"


def _power(value: float) -> str:
    exponent = round(np.log10(value))
    return f"10^{{{exponent}}}" if np.isclose(value, 10.0**exponent) else f"{value:g}"
