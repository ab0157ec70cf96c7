"""Figures of the comparison: ROC and SIC of every curve, with bands."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from onlineflows.offline.metrics import Value
from onlineflows.offline.scores import MethodResult
from onlineflows.offline.style import CURVES, new_figure, styled, title

_DRAWN = ("optimum", "data", "snapshot", "byte_equal")


def sic_figure(curves: Mapping[str, MethodResult], *, caption: str = "") -> Figure:
    """Returns the significance improvement against the signal efficiency, with error bands.

    Args:
        curves: results by the names of the report.
        caption: what was evaluated, above the panel.
    """
    with styled():
        figure = new_figure(6.8, 6.2)
        axes = figure.subplots()
        for name in _present(curves):
            text, colour, line = CURVES[name]
            curve = curves[name].curve
            axes.fill_between(
                curve.tpr,
                curve.sic - curve.error,
                curve.sic + curve.error,
                color=colour,
                alpha=0.2,
                linewidth=0,
            )
            best = _plus_minus(curves[name].max_sic)
            axes.plot(
                curve.tpr, curve.sic, color=colour, linestyle=line, label=f"{text}\nmax {best}"
            )
        efficiency = np.linspace(1e-3, 1, 200)
        axes.plot(efficiency, np.sqrt(efficiency), color="0.5", linestyle=":", label="random")
        top = max(float((c.curve.sic + c.curve.error).max()) for c in curves.values())
        axes.set(
            xlim=(0, 1),
            ylim=(0, 1.05 * top),
            xlabel=r"signal efficiency $\epsilon_S$",
            ylabel=r"significance improvement $\epsilon_S\,/\sqrt{\epsilon_B}$",
        )
        figure.legend(loc="outside lower center", ncols=2, labelspacing=0.6)
        title(axes, caption)
    return figure


def roc_figure(curves: Mapping[str, MethodResult], *, caption: str = "") -> Figure:
    """Returns background rejection 1 / FPR against signal efficiency, with error bands.

    The band is the curve's SIC error at fixed signal efficiency: 1 / FPR = (SIC / TPR)^2.

    Args:
        curves: results by the names of the report.
        caption: what was evaluated, above the panel.
    """
    with styled():
        figure = new_figure(6.8, 6.2)
        axes = figure.subplots()
        for name in _present(curves):
            text, colour, line = CURVES[name]
            curve = curves[name].curve
            shown = curve.tpr > 0
            tpr, sic, error = curve.tpr[shown], curve.sic[shown], curve.error[shown]
            low = (np.maximum(sic - error, 1e-9) / tpr) ** 2
            high = ((sic + error) / tpr) ** 2
            axes.fill_between(tpr, low, high, color=colour, alpha=0.2, linewidth=0)
            area = _plus_minus(curves[name].auc, digits=3)
            axes.plot(
                tpr,
                1 / curve.fpr[shown],
                color=colour,
                linestyle=line,
                label=f"{text}\nAUC {area}",
            )
        efficiency = np.linspace(1e-3, 1, 200)
        axes.plot(efficiency, 1 / efficiency, color="0.5", linestyle=":", label="random")
        top = max(float(1 / c.curve.fpr.min()) for c in curves.values())
        axes.set(
            xlim=(0, 1),
            ylim=(1, 2 * top),
            yscale="log",
            xlabel=r"signal efficiency $\epsilon_S$",
            ylabel=r"background rejection $1/\epsilon_B$",
        )
        figure.legend(loc="outside lower center", ncols=2, labelspacing=0.6)
        title(axes, caption)
    return figure


def _present(curves: Mapping[str, MethodResult]) -> list[str]:
    return [name for name in _DRAWN if name in curves]


def _plus_minus(value: Value, *, digits: int = 1) -> str:
    return rf"${value.value:.{digits}f} \pm {value.error:.{digits}f}$"
