"""Figures of what further studies found: methods, closure, compression."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from onlineflows.offline.closure import ESTIMATES
from onlineflows.offline.compression import CompressionResult
from onlineflows.offline.methods import METHODS
from onlineflows.offline.metrics import Value
from onlineflows.offline.scores import MethodResult
from onlineflows.offline.searches import Statistic
from onlineflows.offline.style import BAND, MODEL, REFERENCE, new_figure, styled, title
from onlineflows.offline.validate import MethodLine

_PLACES = {"data": ("on all data", REFERENCE, "o"), "snapshot": ("on the snapshot", MODEL, "s")}
_MARKS = {
    "direct": ("#5790fc", "o"),
    "reciprocal": ("#f89c20", "s"),
    "sideband_fit": ("#964a8b", "^"),
    "resonance_fit": ("#717581", "v"),
    "abcd": ("#e42536", "D"),
}


def methods_figure(
    lines: Sequence[MethodLine], *, optimum: MethodResult | None = None, caption: str = ""
) -> Figure:
    """Returns the maximum significance improvement of every method, on data and on the snapshot.

    Args:
        lines: the methods.
        optimum: the exact likelihood ratio, where it is known.
        caption: above the panel.
    """
    names = list(dict.fromkeys(line.name for line in lines))
    with styled():
        figure = new_figure(6.8, 2.1 + 0.5 * len(names))
        axes = figure.subplots()
        for offset, (on, (text, colour, marker)) in zip(
            (0.13, -0.13), _PLACES.items(), strict=True
        ):
            shown = [line for line in lines if line.on == on]
            if not shown:
                continue
            axes.errorbar(
                [line.result.max_sic.value for line in shown],
                [len(names) - 1 - names.index(line.name) + offset for line in shown],
                xerr=[line.result.max_sic.error for line in shown],
                fmt=marker,
                color=colour,
                ms=6,
                lw=1.4,
                capsize=0,
                label=text,
            )
        if optimum is not None:
            best = optimum.max_sic
            axes.axvspan(best.value - best.error, best.value + best.error, color=BAND, alpha=0.35)
            axes.axvline(best.value, color="0.2", ls="--", lw=1.2, label="optimum")
        axes.axvline(1, color="0.5", ls=":", lw=1.0)
        axes.set_yticks(range(len(names)), [METHODS[name].title for name in reversed(names)])
        axes.tick_params(axis="y", which="both", length=0)
        axes.minorticks_off()
        axes.set(
            xlim=(0, None),
            ylim=(-0.6, len(names) - 0.4),
            xlabel=r"max $\epsilon_S\,/\sqrt{\epsilon_B}$",
        )
        figure.legend(loc="outside lower center", ncols=3)
        title(axes, caption)
    return figure


def closure_figure(lines: Sequence[Mapping[str, Any]], *, caption: str = "") -> Figure:
    """Returns predicted over true background of every estimate and cut; the band is 10 %.

    Args:
        lines: of the closure table.
        caption: above the panel.
    """
    cuts = sorted({float(line["efficiency"]) for line in lines}, reverse=True)
    methods = [name for name in ESTIMATES if any(line["method"] == name for line in lines)]
    with styled():
        figure = new_figure(6.8, 5.4)
        axes = figure.subplots()
        axes.axhspan(0.9, 1.1, color=BAND, alpha=0.3, lw=0)
        axes.axhline(1, color="0.4", lw=0.9)
        for i, name in enumerate(methods):
            colour, marker = _MARKS[name]
            shown = [line for line in lines if line["method"] == name]
            places = [cuts.index(float(line["efficiency"])) for line in shown]
            axes.errorbar(
                np.array(places) + 0.14 * (i - (len(methods) - 1) / 2),
                [line["ratio"][0] for line in shown],
                yerr=[line["ratio"][1] for line in shown],
                fmt=marker,
                color=colour,
                ms=6,
                lw=1.4,
                label=ESTIMATES[name],
            )
        far = max(abs(line["ratio"][0] - 1) + line["ratio"][1] for line in lines)
        half = float(np.clip(1.15 * far, 0.3, 2.0))
        axes.set_xticks(range(len(cuts)), [f"$10^{{{round(np.log10(cut))}}}$" for cut in cuts])
        axes.tick_params(axis="x", which="minor", length=0)
        axes.set(
            xlim=(-0.5, len(cuts) - 0.5),
            ylim=(max(0.0, 1 - half), 1 + half),
            xlabel=r"background efficiency $\epsilon_B$",
            ylabel="predicted / true background",
        )
        figure.legend(loc="outside lower center", ncols=2)
        title(axes, caption)
    return figure


def compression_figure(result: CompressionResult, *, caption: str = "") -> Figure:
    """Returns the search on stored events against their fraction, and the snapshot's.

    Where the lines cross is the equivalent trigger fraction f*; where the snapshot's bytes would
    be is f_store.

    Args:
        result: of the comparison with stored events.
        caption: above the panel.
    """
    statistic: Statistic = "significance" if "significance" in result.equivalent else "sic"
    stored = result.stored.values(statistic, result.yields)
    snapshot = result.snapshot.values(statistic)
    fractions = result.stored.n_events / result.n_seen
    middle = np.array([np.median(values) for values in stored])
    low, high = (np.array([np.percentile(v, q) for v in stored]) for q in (15.865, 84.135))
    star = result.fraction(statistic)
    with styled():
        figure = new_figure(6.8, 5.8)
        axes = figure.subplots()
        axes.fill_between(fractions, low, high, color=REFERENCE, alpha=0.25, lw=0)
        axes.plot(fractions, middle, "o-", color=REFERENCE, ms=5, lw=1.5, label="stored events")
        level = Value(float(np.median(snapshot)), float(np.std(snapshot)))
        axes.axhspan(level.value - level.error, level.value + level.error, color=MODEL, alpha=0.2)
        axes.axhline(level.value, color=MODEL, lw=1.5, label="snapshot")
        axes.axvline(
            result.f_store, color="0.3", ls=":", lw=1.4, label=_of("store", result.f_store)
        )
        bound = {"": "=", "at_least": r"\geq", "at_most": r"\leq"}[
            result.equivalent[statistic].bound
        ]
        axes.axvline(
            star.value, color=MODEL, ls="--", lw=1.2, label=_of("*", star.value, relation=bound)
        )
        name = {"significance": r"significance of the search [$\sigma$]", "sic": "max SIC"}
        axes.set(
            xscale="log",
            xlim=(0.6 * min(result.f_store, fractions[0]), 1.6),
            ylim=(0, 1.25 * max(float(high.max()), level.value + level.error)),
            xlabel="fraction of the events that is stored",
            ylabel=name[statistic],
        )
        figure.legend(loc="outside lower center", ncols=2)
        title(axes, caption or f"{EngFormatter(sep=' ')(result.n_seen)} events seen")
    return figure


def _of(name: str, value: float, relation: str = "=") -> str:
    symbol = "f^{*}" if name == "*" else r"f_\mathrm{store}"
    return f"${symbol} {relation} {value:.2g}$"
