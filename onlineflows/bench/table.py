"""Rows as tables for people: on the terminal and in the documentation, from the same function."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onlineflows.bench.rows import NOT_INSTALLED

NOISY = 0.1
"""Spread over median above which a rate is marked."""

Document = Mapping[str, Any]
Cells = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text.

    Args:
        title: what it shows.
        header: names of the columns.
        lines: cells.
    """

    title: str
    header: Cells
    lines: tuple[Cells, ...]

    def markdown(self) -> str:
        """Returns it as a table of Markdown, below its title."""
        rule = tuple("---" if place == 0 else "---:" for place in range(len(self.header)))
        lines = ("| " + " | ".join(cells) + " |" for cells in (self.header, rule, *self.lines))
        return "\n".join((f"**{self.title}**", "", *lines))


def tables(rows: Sequence[Document]) -> list[Table]:
    """Returns the tables of a benchmark's rows, one for each of its parts."""
    parts: dict[tuple[str, str], list[Document]] = {}
    for row in rows:
        parts.setdefault((row["bench"], row["what"]), []).append(row)
    return [_table(bench, what, found) for (bench, what), found in parts.items()]


def number(value: float | str | None) -> str:
    """Returns a rate to three digits.

    Example:
        >>> number(1_340_000), number(54_321.0), number(7.0), number(None)
        ('1.34 M', '54.3 k', '7', '–')
    """
    if value is None or isinstance(value, str):
        return value or "–"
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= 0.9995 * unit:
            return f"{value / unit:#.3g}".rstrip(".") + name
    return f"{value:.3g}"


def _table(bench: str, what: str, rows: list[Document]) -> Table:
    by_part: dict[str, Callable[[list[Document]], tuple[Cells, list[Cells]]]] = {
        "Instruction sets": _instruction_sets,
        "Threads": _threads,
        "Threads beside a busy process": _threads,
        "Features": _features,
        "Several θ at once": _thetas,
        "Replicas of a model": _replicas,
        "Events seen": _events_seen,
        "Distance to the truth": _distance,
        "Same training by zuko": _same_training,
    }
    make = _wire if bench == "e2e" else by_part.get(what, _speed)
    header, lines = make(rows)
    names = {"train": "Training steps", "logprob": "Log densities", "sample": "Samples"}
    title = what or names.get(bench, bench)
    return Table(title, header, tuple(lines))


def _speed(rows: list[Document]) -> tuple[Cells, list[Cells]]:
    """One line for each flow and batch: every implementation at one and two threads."""
    groups: dict[tuple[str, int], list[Document]] = {}
    for row in rows:
        groups.setdefault((row["flow"], row["batch"]), []).append(row)
    peers = list(rows[0]["peers"])
    kinds = list(dict.fromkeys((r["implementation"], r["dtype"]) for r in rows))
    names = [" ".join(filter(None, (i, _short(d) if i != "torch" else ""))) for i, d in kinds]
    header = ("flow", "batch", *peers, *names)
    fast = [(k, n) for k, n in zip(kinds, names, strict=True) if k[0] == "engine"]
    header += tuple(f"{n}: × best peer" for _, n in fast) + tuple(f"{n}: of floor" for _, n in fast)
    lines = []
    for (flow, batch), group in groups.items():
        rates = [" / ".join(_marked(r) for r in _of(group, k)) for k in kinds]
        best = [max(_of(group, k), key=lambda r: r["events_per_s"]) for k, _ in fast]
        lines.append(
            (
                flow,
                f"{batch:,}",
                *(_peer(group[0]["peers"][peer]) for peer in peers),
                *rates,
                *(_ratio(r["ratio"]) for r in best),
                *(_percent(r["floor_fraction"]) for r in best),
            )
        )
    return header, lines


def _instruction_sets(rows: list[Document]) -> tuple[Cells, list[Cells]]:
    rates = ("events/s", "spread", "by CPU time")
    header = ("instruction set", "precision", "threads", *rates, "× best peer", "peer")
    return header, [
        (
            row["isa"],
            row["dtype"],
            str(row["threads"]),
            *_rates(row),
            _ratio(row["ratio"]),
            row["peer"],
        )
        for row in rows
    ]


def _threads(rows: list[Document]) -> tuple[Cells, list[Cells]]:
    header = (
        "precision",
        "threads",
        "events/s",
        "spread",
        "by CPU time",
        "speed-up",
        "× best peer",
    )
    return header, [
        (
            row["dtype"],
            str(row["threads"]),
            *_rates(row),
            f"{row['speedup']:.2f}",
            _ratio(row["ratio"]),
        )
        for row in rows
    ]


def _features(rows: list[Document]) -> tuple[Cells, list[Cells]]:
    rates = ("events/s", "spread", "by CPU time", "CPU µs per event")
    header = ("features", "precision", *rates, "× best peer", "of floor")
    return header, [
        (
            str(row["features"]),
            row["dtype"],
            *_rates(row),
            number(1e6 / row["events_per_cpu_s"]),
            _ratio(row["ratio"]),
            _percent(row["floor_fraction"]),
        )
        for row in rows
    ]


def _thetas(rows: list[Document]) -> tuple[Cells, list[Cells]]:
    header = ("θ at once", "precision", "events × θ per s", "spread", "by CPU time", "against one")
    return header, [
        (
            str(row["thetas"]),
            row["dtype"],
            *_rates(row),
            f"{row['against_one']:.2f}",
        )
        for row in rows
    ]


def _replicas(rows: list[Document]) -> tuple[Cells, list[Cells]]:
    header = ("replicas", "how", "CPU µs per event", "× one θ", "separate runs / this")
    return header, [
        (
            str(row["replicas"]),
            row["kind"],
            f"{row['us_per_event']:.2f}",
            f"{row['cost_of_one']:.2f}",
            f"{row['against_separate']:.2f}",
        )
        for row in rows
    ]


def _events_seen(rows: list[Document]) -> tuple[Cells, list[Cells]]:
    header = ("events seen", "uses of each", "CPU µs per event")
    return header, [
        (f"{row['n_seen']:,}", str(row["uses"]), f"{row['us_per_event']:.2f}") for row in rows
    ]


def _distance(rows: list[Document]) -> tuple[Cells, list[Cells]]:
    header = ("events", "precision", "uses of each", "nats from the truth", "CPU s")
    return header, [
        (
            f"{row['n_seen']:,}",
            row["dtype"],
            str(row["uses"]),
            f"{row['nats']:.4f} ± {row['nats_error']:.4f}",
            f"{row['cpu_s']:.1f}",
        )
        for row in rows
    ]


def _same_training(rows: list[Document]) -> tuple[Cells, list[Cells]]:
    header = ("ours", "precision", "events", "NLL − zuko's, nats", "events/s", "zuko's", "ratio")
    return header, [
        (
            row["implementation"],
            row["dtype"],
            f"{row['n_seen']:,}",
            "–" if row["nll_difference"] is None else f"{row['nll_difference']:+.5f}",
            number(row["events_per_s"]),
            number(row["peer_events_per_s"]),
            _ratio(row["ratio"]),
        )
        for row in rows
    ]


def _wire(rows: list[Document]) -> tuple[Cells, list[Cells]]:
    rates = ("through ZeroMQ", "spread", "in memory", "spread", "fraction", "by CPU time")
    header = ("consumer", "precision", "uses", *rates)
    return header, [
        (
            row["consumer"],
            row["dtype"],
            str(row["uses"]),
            number(row["events_per_s"]),
            number(row["spread"]),
            number(row["in_memory_events_per_s"]),
            number(row["in_memory_spread"]),
            f"{row['fraction']:.2f}",
            f"{row['cpu_fraction']:.2f}",
        )
        for row in rows
    ]


def _rates(row: Document) -> Cells:
    """Median by wall time, its spread, and the median by CPU time."""
    return tuple(number(row[key]) for key in ("events_per_s", "spread", "events_per_cpu_s"))


def _of(rows: list[Document], kind: tuple[str, str]) -> list[Document]:
    return [row for row in rows if (row["implementation"], row["dtype"]) == kind]


def _peer(peer: Mapping[str, Any] | str) -> str:
    if isinstance(peer, str):
        return peer
    return _marked(peer)


def _marked(measured: Mapping[str, Any]) -> str:
    """A rate, with a mark where the rounds differed much."""
    rate = measured["events_per_s"]
    return ("~" if measured["spread"] > NOISY * rate else "") + number(rate)


def _short(dtype: str) -> str:
    return {"float32": "f32", "bfloat16": "bf16"}[dtype]


def _ratio(value: float | None) -> str:
    return NOT_INSTALLED if value is None else f"{value:.1f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"
