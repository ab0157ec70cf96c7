"""What two manifests say differently: settings, schema, models, counts, NLL, gate."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from onlineflows.online.history import HistoryPoint, newest, points_of
from onlineflows.online.manifest import Manifest, ModelEntry

COUNTS = ("n_seen", "n_trained", "n_uses", "n_steps", "train_seconds")

NOT_COMPARED = ("epoch", "schema")
"""Of what the producer said: its epoch is another one each time, and schemas are compared apart."""


@dataclass(frozen=True, slots=True)
class Change:
    """A value that isn't the same in both.

    Args:
        key: its name, dotted where it is inside of others.
        a: in the first; None where there's none.
        b: in the second; None where there's none.
    """

    key: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class Changes:
    """What two manifests say differently, by section; a section without changes is empty.

    Args:
        about: when each was written, by which version, in which run and condition.
        configuration: settings of the run.
        stream: what the producer said of the stream: its settings, seed, files.
        schema: features, by place.
        models: of each model by name: architecture, region, replicas, knots.
        counts: events, uses, steps, seconds, parameters, skipped and lost events, drift alarms.
        nll: mean NLL of the newest events before they were trained on, in nats per event.
        gate: the gate's verdict.
    """

    about: tuple[Change, ...]
    configuration: tuple[Change, ...]
    stream: tuple[Change, ...]
    schema: tuple[Change, ...]
    models: tuple[Change, ...]
    counts: tuple[Change, ...]
    nll: tuple[Change, ...]
    gate: tuple[Change, ...]

    def sections(self) -> dict[str, tuple[Change, ...]]:
        """Returns the changes by the section's name, in the order they are told."""
        return {name: getattr(self, name) for name in type(self).__dataclass_fields__}

    def document(self) -> dict[str, list[dict[str, Any]]]:
        """Returns plain JSON types."""
        return {name: [asdict(c) for c in changes] for name, changes in self.sections().items()}


def changes_between(a: Manifest, b: Manifest) -> Changes:
    """Returns what two manifests say differently.

    Args:
        a: the first, say the older one.
        b: the second.
    """

    def changed(what: Any) -> tuple[Change, ...]:
        return differences(what(a), what(b))

    return Changes(
        about=changed(_about),
        configuration=changed(_configuration),
        stream=changed(lambda m: {k: v for k, v in m.stream.items() if k not in NOT_COMPARED}),
        schema=changed(_schema),
        models=changed(lambda m: {entry.name: _model(entry) for entry in m.models}),
        counts=changed(_counts),
        nll=changed(lambda m: {"newest": newest_nll(m)}),
        gate=changed(lambda m: m.gate),
    )


def differences(a: Mapping[Any, Any], b: Mapping[Any, Any], prefix: str = "") -> tuple[Change, ...]:
    """Returns the entries of two nested tables that aren't the same, under dotted names.

    Lists are compared as a whole, and a table that only one of them has is one change. The order is
    that of the first table; what only the second has comes last.

    Args:
        a: the first.
        b: the second.
        prefix: of the names.

    Example:
        >>> differences({"flow": {"bins": 8, "hidden": 64}}, {"flow": {"bins": 10, "hidden": 64}})
        (Change(key='flow.bins', a=8, b=10),)
    """
    found: list[Change] = []
    for key in dict.fromkeys((*a, *b)):
        of_a, of_b = a.get(key), b.get(key)
        if isinstance(of_a, Mapping) and isinstance(of_b, Mapping):
            found.extend(differences(of_a, of_b, f"{prefix}{key}."))
        elif of_a != of_b:
            found.append(Change(f"{prefix}{key}", of_a, of_b))
    return tuple(found)


def newest_nll(manifest: Manifest) -> float | None:
    """Returns the mean NLL of the newest events in nats per event; None without history."""
    point = newest_point(manifest)
    return None if point is None else point.nll


def newest_point(manifest: Manifest) -> HistoryPoint | None:
    """Returns the mean NLL of the newest events and their number; None without history."""
    return newest(points_of(manifest.history)) if manifest.history else None


def n_skipped(manifest: Manifest) -> int:
    """Returns how many events were received and not trained on, whatever the reason."""
    return sum(manifest.ledger.get("skipped", {}).values())


def _about(manifest: Manifest) -> dict[str, Any]:
    names = ("run_name", "run", "created_utc", "code_version", "final")
    return {name: getattr(manifest, name) for name in names} | {"tainted": list(manifest.tainted)}


def _configuration(manifest: Manifest) -> dict[str, Any]:
    """The settings, those of the models by name and without what is left to the run's own."""
    models = manifest.config.get("models") or ()
    by_name = {model.get("name", str(i)): _said(model) for i, model in enumerate(models)}
    return {**manifest.config, "models": by_name}


def _said(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table without entries that are null, and tables that are empty then."""
    said = {k: _said(v) if isinstance(v, Mapping) else v for k, v in table.items()}
    return {key: value for key, value in said.items() if value not in (None, {})}


def _schema(manifest: Manifest) -> dict[str, Any]:
    features = manifest.schema.get("features", ())
    return {f"feature {place}": feature for place, feature in enumerate(features)}


def _model(entry: ModelEntry) -> dict[str, Any]:
    """What a model is, not how much it has seen."""
    document = asdict(entry)
    for name in ("name", "layout", "n_taken", "n_trained", "n_uses", "n_steps"):
        del document[name]
    return document


def _counts(manifest: Manifest) -> dict[str, Any]:
    counts = {name: getattr(manifest, name) for name in COUNTS}
    counts |= {"n_skipped": n_skipped(manifest), "n_lost": manifest.ledger.get("lost", 0)}
    counts["n_drift_alarms"] = manifest.drift.get("n_alarms", 0)
    if len(manifest.models) > 1:
        counts |= {f"{entry.name}.n_taken": entry.n_taken for entry in manifest.models}
    return counts
