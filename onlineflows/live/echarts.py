"""Options of ECharts, from which the page's figures are made.

Text has the page's own colours (page.css); lines and areas have colours that can be told apart on
light and on dark ground, and by people who don't see red and green.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = "#5790fc"
MODEL = "#e42536"
THIRD = "#f89c20"
GREY = "#9c9ca1"
LANES = ("#5790fc", "#f89c20", "#964a8b", "#9c9ca1", "#7a21dd", "#86c8dd", "#b9ac70", "#717581")
"""Petroff's colours (2107.02270), less the model's."""

FAINT = "rgba(128, 128, 128, 0.25)"
REGION = "rgba(248, 156, 32, 0.22)"
SIDEBAND = "rgba(128, 128, 128, 0.14)"

SHORT = (
    "v => { const a = Math.abs(v); const d = a >= 1e9 ? [1e9, 'G'] : a >= 1e6 ? [1e6, 'M'] : "
    "a >= 1e3 ? [1e3, 'k'] : [1, '']; return +(v / d[0]).toPrecision(4) + d[1]; }"
)
"""Writes 1,200,000 as 1.2M."""

ROUND = "v => v == null ? '' : +(+v).toPrecision(4)"

Options = dict[str, Any]
Floats = NDArray[np.floating[Any]]


def plot_of(series: list[Options], *, x: Options, y: Options | list[Options]) -> Options:
    """Returns the options of a figure with these series and axes."""
    return {
        "animation": False,
        "grid": {"left": 52, "right": 16, "top": 34, "bottom": 30},
        "legend": {"top": 0, "left": "center", "itemWidth": 16, "itemHeight": 9, "type": "scroll"},
        "tooltip": {"trigger": "axis", "confine": True, ":valueFormatter": ROUND},
        "xAxis": x,
        "yAxis": y,
        "series": series,
    }


def value_axis(name: str, *, formatter: str = "") -> Options:
    """Returns an axis of numbers, which JavaScript may write in its own way."""
    axis: Options = {"type": "value", "name": name, **faint(), "axisLabel": {"hideOverlap": True}}
    axis["nameTextStyle"] = {"align": "left", "padding": [0, 0, 0, -40]}
    if formatter:
        axis["axisLabel"][":formatter"] = formatter
    return axis


def faint() -> Options:
    """Returns how the lines of an axis look."""
    return {
        "splitLine": {"lineStyle": {"color": FAINT}},
        "axisLine": {"lineStyle": {"color": GREY}},
    }


def edge_axis(edges: Floats) -> Options:
    """Returns the horizontal axis of a histogram with these edges."""
    low, high = rounded(edges[0]), rounded(edges[-1])
    axis = value_axis("", formatter=ROUND) | {"min": low, "max": high, "splitLine": {"show": False}}
    axis["axisLabel"] |= {"showMinLabel": False, "showMaxLabel": False}
    return axis | {"axisPointer": {"snap": True}}


def curve(name: str, colour: str, data: list[Any]) -> Options:
    """Returns a line through points."""
    return {"name": name, "type": "line", "data": data, "showSymbol": False,
            "lineStyle": {"width": 2, "color": colour}, "itemStyle": {"color": colour}}  # fmt: skip


def steps(
    name: str,
    colour: str,
    edges: Floats,
    heights: Floats | NDArray[np.integer[Any]],
    *,
    is_log: bool = False,
) -> Options:
    """Returns a histogram as a line; on a logarithmic axis empty bins are gaps."""
    values = [None if is_log and not h else rounded(h) for h in heights]
    data = [[rounded(x), v] for x, v in zip(edges, [*values, values[-1]], strict=True)]
    return curve(name, colour, data) | {"step": "end"}


def rounded(value: Any, digits: int = 5) -> float:
    """Returns a number with few digits: it is sent to browsers once a second."""
    return float(f"{float(value):.{digits}g}")
