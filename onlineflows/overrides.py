"""Overrides of a configuration: ``section.key=value`` from a command line."""

import tomllib
from collections.abc import Sequence
from typing import Any


def apply_overrides(document: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Writes overrides into a document in place; returns what was wrong with them.

    Args:
        document: tables of plain types by section; changed.
        overrides: ``section.key=value``, also ``section.table.key=value``. Later ones win.

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
        if not equals or len(keys) < 2 or not all(keys):
            problems.append(f"--set {override}: expected section.key=value; got {override!r}")
            continue
        table = document
        for key in keys[:-1]:
            inner = table.setdefault(key, {})
            if not isinstance(inner, dict):
                problems.append(
                    f"--set {override}: expected a table at {key!r}; got a value: {inner!r}"
                )
                break
            table = inner
        else:
            table[keys[-1]] = parse_value(text.strip())
    return problems


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
