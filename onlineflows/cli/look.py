"""`onlineflows look`: what a source would send, from its first events. No wire, no learner."""

from collections import Counter
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from onlineflows.cli.config import Config
from onlineflows.cli.exits import DONE, FAILED
from onlineflows.cli.output import Output
from replay.sources import open_source
from streams import EventSchema, Feature, Source, Status

CHUNK_EVENTS = 1 << 14
QUANTILES = {"min": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "max": 1.0}
"""What is shown of a feature's distribution."""


def look(config: Config, output: Output, *, n: int) -> int:
    """Reads a few events and prints them as numbers; returns the exit code, 1 where none is good.

    Args:
        config: its source is read, and nothing else.
        output: how the verb speaks.
        n: how many event indices to read.

    Raises:
        InputError: the source can't be opened or read.
    """
    with closing(open_source(config.source)) as source:
        x, status = _read(source, n)
        document = seen(source.schema, x, status) | {"n_events": source.n_events}
    output.result(document, _text(document))
    return DONE if document["good"] else FAILED


def seen(schema: EventSchema, x: NDArray[np.float32], status: NDArray[np.uint8]) -> dict[str, Any]:
    """Returns what became of some events, and where the good ones lie.

    Args:
        schema: what they are.
        x: features, shape (n, d); rows that aren't good have no meaning.
        status: one `streams.Status` each, shape (n,).
    """
    good = x[status == Status.GOOD]
    bad = Counter(Status(s).name.lower() for s in status.tolist() if Status(s).is_bad)
    return {
        "read": len(status),
        "good": len(good),
        "not_selected": int((status == Status.NOT_SELECTED).sum()),
        "bad_by_reason": dict(sorted(bad.items())),
        "out_of_support": int((~schema.in_support(good)).sum()),
        "features": [
            _of_feature(feature, good[:, column]) for column, feature in enumerate(schema.features)
        ],
    }


def _read(source: Source, n: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Up to n events, as long as there are any."""
    chunks = []
    while n > 0 and len(chunk := source.read(min(n, CHUNK_EVENTS))):
        chunks.append(chunk)
        n -= len(chunk)
    if not chunks:
        return np.empty((0, source.schema.n_features), np.float32), np.empty(0, np.uint8)
    return np.concatenate([c.x for c in chunks]), np.concatenate([c.status for c in chunks])


def _of_feature(feature: Feature, values: NDArray[np.float32]) -> dict[str, Any]:
    outside = (values < feature.low) | (values > feature.high)
    levels = np.quantile(values, list(QUANTILES.values())) if len(values) else []
    return {
        "name": feature.name,
        "unit": feature.unit,
        "low": feature.low if np.isfinite(feature.low) else None,
        "high": feature.high if np.isfinite(feature.high) else None,
        "outside": int(outside.sum()),
        **{name: float(level) for name, level in zip(QUANTILES, levels, strict=False)},
    }


def _text(document: dict[str, Any]) -> str:
    table = Table(box=None)
    table.add_column("feature")
    for name in (*QUANTILES, "support", "outside"):
        table.add_column(name, justify="right")
    for i, feature in enumerate(document["features"]):
        label = feature["name"] + (f" [{feature['unit']}]" if feature["unit"] else "")
        levels = [f"{feature[name]:.4g}" if name in feature else "-" for name in QUANTILES]
        low = "-inf" if feature["low"] is None else f"{feature['low']:g}"
        high = "inf" if feature["high"] is None else f"{feature['high']:g}"
        row = [label, *levels, f"{low} to {high}", f"{feature['outside']:,}"]
        table.add_row(*row, style="bold" if i == 0 else None)
    console = Console(width=100, markup=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join([_head(document), captured.get().rstrip(), *_advice(document)])


def _head(document: dict[str, Any]) -> str:
    total = document["n_events"]
    bad = document["bad_by_reason"]
    reasons = f" ({', '.join(f'{n:,} {why}' for why, n in bad.items())})" if bad else ""
    return (
        f"read {document['read']:,} of {'endless' if total is None else f'{total:,}'} events: "
        f"{document['good']:,} good, {document['not_selected']:,} not selected, "
        f"{sum(bad.values()):,} bad{reasons}; "
        f"{document['out_of_support']:,} of the good ones outside the support"
    )


def _advice(document: dict[str, Any]) -> list[str]:
    """What to do about what is seen, where something is."""
    said = []
    if not document["good"]:
        said.append("no event is good: look at source.cut and at the expressions")
    if document["out_of_support"]:
        said.append("events outside the support are skipped: widen low and high if that's too many")
    constant = [f["name"] for f in document["features"] if "min" in f and f["min"] == f["max"]]
    if constant and document["good"] > 1:
        said.append(f"the same in every event, so nothing can be learned from it: {constant}")
    return said
