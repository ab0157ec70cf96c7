"""A model card: what a snapshot says of itself, in Markdown, for people who get only that.

Everything comes from the manifest, so that one snapshot gives the same card on any machine and day.
"""

import math
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2

from onlineflows.offline.changes import n_skipped, newest_point
from onlineflows.online.manifest import ModelEntry, spec_of
from onlineflows.online.snapshot import Snapshot

SHOWN_SETTINGS = ("flow", "preprocess", "buffer", "optimiser", "trainer", "drift", "gate")
"""Sections of the configuration that decide what is learned."""

VALUE_NBYTES = 4
"""Of a feature on the wire: float32."""
HASH_DIGITS = 16
NOTHING: tuple[Any, ...] = (None, "", [], {})
"""Settings that aren't set."""


def model_card(snapshot: Snapshot, *, nbytes: int) -> str:
    """Returns the card of a snapshot.

    Args:
        snapshot: what it is of.
        nbytes: size of all its files in bytes.
    """
    source = resources.files("onlineflows.export").joinpath("templates/card.md.j2")
    # Markdown, not HTML: what could be taken for either is escaped by `cell`.
    environment = jinja2.Environment(
        autoescape=False,  # noqa: S701
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = cell
    template = environment.from_string(source.read_text(encoding="utf-8"))
    return template.render(**_content(snapshot, nbytes))


def cell(value: Any) -> str:
    r"""Returns a value as the text of a table's cell: one line, no Markdown or HTML of its own.

    Example:
        >>> cell("a|b <i>")
        'a\\|b &lt;i&gt;'
        >>> cell(1234567), cell(0.25), cell(None)
        ('1,234,567', '0.25', '–')
    """
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{cell(k)} {cell(v)}" for k, v in value.items() if v not in NOTHING)
    if isinstance(value, list | tuple):
        between = "; " if any(isinstance(item, Mapping) for item in value) else ", "
        return between.join(cell(item) for item in value) or "none"
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;")
    text = text.replace(">", "&gt;")
    for mark in "\\`*_[]|":
        text = text.replace(mark, f"\\{mark}")
    return text


def _content(snapshot: Snapshot, nbytes: int) -> dict[str, Any]:
    manifest = snapshot.manifest
    schema = snapshot.schema
    event_nbytes = VALUE_NBYTES * schema.n_features
    config = manifest.config
    return {
        "manifest": manifest,
        "schema": schema,
        "ends": [(_end(f.low), _end(f.high)) for f in schema.features],
        "models": [_model(entry, snapshot) for entry in manifest.models],
        "n_parameters": snapshot.n_parameters,
        "nbytes": nbytes,
        "event_nbytes": event_nbytes,
        "n_stored": nbytes // event_nbytes,
        "sources": manifest.stream.get("sources", ()),
        "hash_digits": HASH_DIGITS,
        "stream": _flat(manifest.stream.get("config", {})),
        "n_skipped": n_skipped(manifest),
        "newest": newest_point(manifest),
        "settings": {
            name: _flat(config[name])
            for name in SHOWN_SETTINGS
            if isinstance(config.get(name), Mapping)
        },
        "is_window": any(entry.inside is not None for entry in manifest.models),
        "is_sideband": any(entry.outside is not None for entry in manifest.models),
    }


def _model(entry: ModelEntry, snapshot: Snapshot) -> dict[str, Any]:
    flow = entry.flow
    bins = f", {flow.bins} bins within ±{flow.bound:g}" if flow.transform == "spline" else ""
    kind = "bootstrap" if entry.bootstrap else "unweighted"
    share = "" if entry.share is None else ", part {} of {} of the events".format(*entry.share)
    return {
        "name": entry.name,
        "region": f"{entry.region}{share}",
        "flow": f"{flow.family} {flow.transform}, {flow.blocks} blocks, 2 x {flow.hidden}{bins}",
        "n_parameters": spec_of(entry, snapshot.schema).n_parameters,
        "replicas": f"{entry.replicas} {kind}" if entry.replicas else None,
        "n_taken": entry.n_taken if entry.is_fitted else f"{entry.n_taken} (no density yet)",
        "n_uses": entry.n_uses,
        "n_steps": entry.n_steps,
    }


def _end(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The entries of nested tables under dotted names, without folders and what isn't set."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        elif key not in ("path", "paths") and value not in NOTHING:
            found[f"{prefix}{key}"] = value
    return found
