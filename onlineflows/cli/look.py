"""`onlineflows look`: what a source would send, from its first events; or what a ROOT file holds.

No wire, no learner: nothing is sent, and no torch is loaded.
"""

import textwrap
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
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

FEW_VALUES = 20
"""A feature with no more different values is a count or a flag, and no density."""


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


def look_into(path: Path, output: Output) -> int:
    """Prints the trees of a ROOT file and their branches; returns the exit code.

    Raises:
        InputError: it isn't a ROOT file, or damaged.
    """
    from replay.sources.contents import contents

    trees = contents(path)
    lines = []
    for tree in trees:
        lines.append(f"tree {tree.name!r}: {tree.n_events:,} events")
        for what, names in (("numbers", tree.numbers), ("lists", tree.lists)):
            words = f"{what}: {' '.join(names)}" if names else f"no {what}"
            lines.append(textwrap.fill(words, 100, initial_indent="  ", subsequent_indent="    "))
    text = "\n".join(lines) if trees else "no TTree and no RNTuple"
    output.result({"trees": [asdict(tree) for tree in trees]}, text)
    return DONE if trees else FAILED


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
    levels = np.quantile(values, list(QUANTILES.values())).tolist() if len(values) else []
    return {
        "name": feature.name,
        "unit": feature.unit,
        "low": feature.low if np.isfinite(feature.low) else None,
        "high": feature.high if np.isfinite(feature.high) else None,
        "outside": int(outside.sum()),
        "n_different": len(np.unique(values)),
        **dict(zip(QUANTILES, levels, strict=False)),
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
    rows = [row.rstrip() for row in captured.get().splitlines()]
    return "\n".join([_head(document), *rows, *_advice(document)])


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
    whole = [
        f["name"]
        for f in document["features"]
        if f["n_different"] <= FEW_VALUES and document["good"] > 5 * FEW_VALUES
    ]
    if whole:
        said.append(
            f"few different values, so that a density has spikes there: {', '.join(whole)}; "
            "leave them out, or use them in source.cut"
        )
    return said
