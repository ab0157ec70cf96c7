"""Overrides of a configuration: ``section.key=value`` from a command line."""

import tomllib
from collections.abc import Sequence
from typing import Any


def apply_overrides(document: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Writes overrides into a document in place; returns what was wrong with them.

    Args:
        document: tables of plain types by section; changed.
        overrides: ``section.key=value``, also ``section.table.key=value``; in a list of tables a
            table is meant by its name, as in ``models.joint.replicas=4``. A whole list of tables
            is a value, too: ``models=[{name = "joint", replicas = 4}]``. Later ones win.

    Example:
        >>> document = {"flow": {"blocks": 3}}
        >>> apply_overrides(document, ["flow.blocks=5", "run.name=test", "flow"])
        ["--set flow: expected section.key=value; got 'flow'"]
        >>> document
        {'flow': {'blocks': 5}, 'run': {'name': 'test'}}
    """
    problems = []
    for override in overrides:
        left, equals, text = override.partition("=")
        keys = [key.strip() for key in left.split(".")]
        value = parse_value(text.strip())
        is_short = len(keys) < 2 and not isinstance(value, list)
        if not equals or is_short or not all(keys):
            problems.append(f"--set {override}: expected section.key=value; got {override!r}")
            continue
        table: Any = document
        for place, key in enumerate(keys[:-1]):
            inner = _below(table, key)
            is_list_to_enter = isinstance(inner, list) and place < len(keys) - 2
            if not isinstance(inner, dict) and not is_list_to_enter:
                problems.append(f"--set {override}: expected {_expected(table, key, inner)}")
                break
            table = inner
        else:
            table[keys[-1]] = value
    return problems


def _below(table: Any, key: str) -> Any:
    """What is at a key, a new table if nothing is; in a list, the table of that name or None."""
    if isinstance(table, dict):
        return table.setdefault(key, {})
    return next((t for t in table if isinstance(t, dict) and t.get("name") == key), None)


def _expected(table: Any, key: str, found: Any) -> str:
    if isinstance(table, list):
        names = [t.get("name") for t in table if isinstance(t, dict)]
        return f"the name of one of the tables in the list, {names}; got {key!r}"
    return f"a table at {key!r}; got a value: {found!r}"


def parse_value(text: str) -> Any:
    """Returns the value that a TOML right-hand side means; what isn't TOML is a bare string.

    Example:
        >>> [parse_value(t) for t in ("8", "1e-3", "true", "spline", "[a.h5, b.h5]", '"8"')]
        [8, 0.001, True, 'spline', ['a.h5', 'b.h5'], '8']
    """
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        if text.startswith("[") and text.endswith("]"):
            return [parse_value(item.strip()) for item in text[1:-1].split(",") if item.strip()]
        return text
    # A line break in the text could start a second key: then it was no single value.
    return document["value"] if len(document) == 1 else text
