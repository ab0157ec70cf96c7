"""The page's figures, as options of ECharts: plain data made from what is known of a run."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.live.comparison import N_BINS, REACH, FeatureChange
from onlineflows.live.draws import Draw
from onlineflows.live.echarts import (
    DATA,
    GREY,
    LANES,
    MODEL,
    REGION,
    ROUND,
    SHORT,
    SIDEBAND,
    THIRD,
    Floats,
    Options,
    curve,
    edge_axis,
    faint,
    plot_of,
    rounded,
    steps,
    value_axis,
)
from onlineflows.live.folder import Record, SnapshotEntry
from onlineflows.live.pace import Stretch
from onlineflows.live.spectrum import Spectrum
from streams.telemetry import ConsumerTelemetry, HistoryPoint, Marginal


def rates(producer: Sequence[Stretch], learners: Mapping[str, Sequence[Stretch]]) -> Options:
    """Returns events per second against time: what passed the producer, what was sent, what each
    learner trained on, and the share of dead time where there was any.

    Args:
        producer: rates of "passed", "sent", "live_s", "dead_s".
        learners: rates of "trained" by learner.
    """
    series = [
        curve("passed", GREY, _against_time(producer, "passed")),
        curve("sent", DATA, _against_time(producer, "sent")),
    ]
    for (name, stretches), colour in zip(
        learners.items(), cycle((THIRD, *LANES[2:])), strict=False
    ):
        label = "trained" if len(learners) == 1 else f"trained, {short_name(name)}"
        series.append(curve(label, colour, _against_time(stretches, "trained")))
    dead = [[1000 * s.unix_s, _share(s)] for s in producer]
    if any(share for _, share in dead):
        area = curve("dead time", MODEL, dead)
        area["lineStyle"]["width"] = 1
        series.append(area | {"yAxisIndex": 1, "areaStyle": {"opacity": 0.12}})
    axes = [
        value_axis("", formatter=SHORT) | {"min": 0},
        value_axis("") | {"min": 0, "max": 1, "splitLine": {"show": False}},
    ]
    axes[1]["axisLabel"][":formatter"] = "v => Math.round(100 * v) + ' %'"
    axes[1]["show"] = len(series) > 2 + len(learners)
    options = plot_of(series, x={"type": "time", **faint()}, y=axes)
    # Times at the ends keep clear of the zeros beside them.
    options["xAxis"]["axisLabel"] = {"hideOverlap": True, "margin": 13}
    return options


def nll(
    learners: Mapping[str, ConsumerTelemetry], snapshots: Mapping[str, Sequence[SnapshotEntry]]
) -> Options:
    """Returns the NLL of new events against the number seen, with drift alarms and snapshots.

    Args:
        learners: what each has said.
        snapshots: those of each.
    """
    series = []
    colours = (DATA,) if len(learners) == 1 else LANES
    for (name, said), colour in zip(learners.items(), cycle(colours), strict=False):
        label = "NLL" if len(learners) == 1 else short_name(name)
        line = curve(label, colour, [[p.n_seen, p.nll] for p in said.history])
        series.append(line)
        series.append(_alarms(said))
        series.append(_snapshot_marks(snapshots.get(name, ()), said.history))
    options = plot_of(
        series,
        x=value_axis("events seen", formatter=SHORT) | {"nameLocation": "middle", "nameGap": 26},
        y=value_axis("", formatter=ROUND) | {"scale": True},
    )
    low, high = _settled([p.nll for said in learners.values() for p in said.history])
    if low is not None:
        options["yAxis"] |= {"min": low, "max": high}
        options["yAxis"]["axisLabel"] |= {"showMinLabel": False, "showMaxLabel": False}
    options["legend"]["data"] = list(dict.fromkeys(s["name"] for s in series))
    return options


def marginal(seen: Marginal, drawn: Draw | None) -> Options:
    """Returns a feature's histogram in the newest window, and what the model expects there."""
    edges = np.linspace(seen.low, seen.high, len(seen.counts) + 1)
    window = steps("newest events", DATA, edges, np.array(seen.counts))
    series = [window | {"areaStyle": {"opacity": 0.25}}]
    share = _expected(seen, drawn)
    if len(share):
        series.append(steps("model", MODEL, edges, share * seen.n))
    options = plot_of(series, x=edge_axis(edges), y=value_axis("", formatter=SHORT) | {"min": 0})
    options["legend"]["show"] = False
    options["grid"] |= {"top": 8}
    return options


def density(name: str, drawn: Draw, record: Record | None = None) -> Options:
    """Returns what a model expects of a feature where no events were heard.

    Args:
        name: of the feature.
        drawn: events of the model.
        record: where the signal region is to be shown.
    """
    values = drawn.column(name)
    if values is None or not len(values):
        return plot_of([], x=value_axis(""), y=value_axis(""))
    low, high = (float(q) for q in np.quantile(values, [REACH, 1 - REACH]))
    high = high if high > low else low + 1.0
    edges = np.linspace(low, high, N_BINS + 1)
    model = steps("model", MODEL, edges, np.histogram(values, edges)[0])
    if record is not None:
        seen = Marginal(name, "", low, high, [0] * N_BINS, 0)
        model["markArea"] = _regions(record, seen)
    options = plot_of([model], x=edge_axis(edges), y=value_axis("", formatter=SHORT) | {"min": 0})
    options["legend"]["show"] = False
    options["grid"] |= {"top": 8}
    return options


def spectrum(found: Spectrum, drawn: Draw | None, record: Record) -> Options:
    """Returns the resonant feature's spectrum with the model's expectation, the signal region and
    its sidebands, and below it how many standard deviations lie between the two.
    """
    seen = found.newest
    if seen is None:
        return plot_of([], x=value_axis(""), y=value_axis(""))
    counts = np.array(found.counts)
    edges = np.linspace(seen.low, seen.high, len(counts) + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    points = [[rounded(x), int(n)] for x, n in zip(centres, counts, strict=True) if n]
    data = {"name": "events", "type": "scatter", "symbolSize": 6, "data": points,
            "itemStyle": {"color": DATA}, "z": 3}  # fmt: skip
    data["markArea"] = _regions(record, seen)
    series: list[Options] = [data]
    share = _expected(seen, drawn)
    if len(share):
        expected = share * found.n
        series.append(steps("model", MODEL, edges, expected, is_log=True))
        pulls = pulls_of(counts, share, found.n, len(drawn.x) if drawn else 1)
        bars = [[rounded(x), rounded(p)] for x, p in zip(centres, pulls, strict=True)]
        series.append({"name": "pull", "type": "bar", "data": bars, "barWidth": "90%",
                       "xAxisIndex": 1, "yAxisIndex": 1, "itemStyle": {"color": GREY},
                       "markArea": _regions(record, seen, is_named=False)})  # fmt: skip
    options = plot_of(series, x=edge_axis(edges), y=value_axis("events", formatter=SHORT))
    lower_x, lower_y = edge_axis(edges), value_axis("pull") | {"min": -5, "max": 5, "interval": 5}
    options["xAxis"] = [
        edge_axis(edges) | {"axisLabel": {"show": False}},
        lower_x | {"gridIndex": 1},
    ]
    options["yAxis"]["axisLabel"] |= {"showMinLabel": False}
    options["yAxis"] = [
        options["yAxis"] | {"type": "log", "min": 0.5},
        lower_y | {"gridIndex": 1},
    ]
    options["grid"] = [
        {"left": 52, "right": 16, "top": 34, "bottom": "36%"},
        {"left": 52, "right": 16, "top": "70%", "bottom": 30},
    ]
    options["legend"]["data"] = ["events", "model"]
    return options


def change(found: FeatureChange, before: str, after: str) -> Options:
    """Returns the marginals of a feature in two snapshots."""
    series = [
        steps(before, GREY, found.edges, found.before) | {"areaStyle": {"opacity": 0.25}},
        steps(after, MODEL, found.edges, found.after),
    ]
    options = plot_of(
        series, x=edge_axis(found.edges), y=value_axis("", formatter=ROUND) | {"min": 0}
    )
    options["yAxis"]["axisLabel"] = {"show": False}
    options["grid"] |= {"left": 12, "top": 8}
    options["legend"]["show"] = False
    return options


def pulls_of(
    counts: Floats | NDArray[np.integer[Any]], share: Floats, n: int, n_drawn: int
) -> Floats:
    """Returns how many standard deviations counts lie above what a model expects.

    Args:
        counts: events in each bin, shape (k,).
        share: of the model's draws in each bin, shape (k,).
        n: events in all.
        n_drawn: draws in all; their own scatter counts, too.

    Returns:
        Shape (k,); 0 where nothing is expected and nothing seen.
    """
    expected = share * n
    variance = expected * (1 + n / n_drawn)
    # Where no draw fell, at most about one would have been expected.
    variance = np.where(variance > 0, variance, np.maximum(counts, 1) * (1 + n / n_drawn))
    pulls: Floats = (counts - expected) / np.sqrt(variance)
    return pulls


def short_name(learner: str) -> str:
    """Returns a learner's name without what all have in common.

    Example:
        >>> short_name("train lane-1")
        'lane-1'
    """
    return learner.removeprefix("train ")


# --- parts ----------------------------------------------------------------------------------


def _against_time(stretches: Sequence[Stretch], counter: str) -> list[list[float]]:
    return [[1000 * s.unix_s, rounded(s.rates[counter])] for s in stretches]


def _share(stretch: Stretch) -> float:
    passed_s = stretch.rates["live_s"] + stretch.rates["dead_s"]
    return rounded(stretch.rates["dead_s"] / passed_s) if passed_s > 0 else 0.0


def _expected(seen: Marginal, drawn: Draw | None) -> Floats:
    if drawn is None:
        return np.empty(0)
    return drawn.expected(seen.name, seen.low, seen.high, len(seen.counts))


def _alarms(said: ConsumerTelemetry) -> Options:
    """Vertical lines; a series of their own, so that the legend explains them."""
    lines = [{"xAxis": a.n_seen, "name": f"lumisection {a.lumisection}"} for a in said.alarms]
    return curve("drift alarm", MODEL, []) | {
        "markLine": {
            "symbol": "none",
            "data": lines,
            "lineStyle": {"color": MODEL, "type": "dashed", "width": 2},
            "label": {"show": False},
        }
    }


def _snapshot_marks(snapshots: Sequence[SnapshotEntry], history: Sequence[HistoryPoint]) -> Options:
    """A point for each snapshot, on the line: its own NLL is a mean over other events."""
    seen, values = [p.n_seen for p in history], [p.nll for p in history]
    marked = [s.n_seen for s in snapshots] if history else []
    points = [[n, rounded(np.interp(n, seen, values))] for n in marked]
    return {"name": "snapshot", "type": "scatter", "data": points, "symbolSize": 9,
            "symbol": "diamond", "itemStyle": {"color": THIRD}, "z": 4}  # fmt: skip


def _regions(record: Record, seen: Marginal, *, is_named: bool = True) -> Options:
    """Signal region and sidebands, as far as they lie in the histogram."""
    named = [(record.signal_region, "signal region", REGION)]
    named += [(sideband, "", SIDEBAND) for sideband in record.sidebands]
    areas = []
    for interval, name, colour in named:
        if interval is not None and interval[0] < seen.high and interval[1] > seen.low:
            first: Options = {"xAxis": max(interval[0], seen.low), "itemStyle": {"color": colour}}
            if name and is_named:
                first |= {"name": name}
            areas.append([first, {"xAxis": min(interval[1], seen.high)}])
    return {"silent": True, "data": areas, "label": {"position": "insideTop", "fontSize": 11}}


def _settled(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Ends of an axis that shows what follows the first tenth, where the model still learns."""
    kept = sorted(values[len(values) // 10 :])
    if len(kept) < 2:
        return None, None
    low, high = kept[0], kept[-1]
    margin = 0.15 * (high - low) or 0.1
    return rounded(low - margin, 3), rounded(high + margin, 3)
