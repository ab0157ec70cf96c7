"""TOML -> frozen dataclasses: one section per component, each owned by its component.

A configuration is a frozen dataclass whose fields are the sections (`onlineflows.cli.config` has
the whole one). Sections, keys, types and defaults are read from the dataclasses, so that a setting
is written down in one place. Everything that is wrong is reported at once.
"""

import copy
import dataclasses
import hashlib
import json
import math
import tomllib
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from onlineflows.config_errors import describe, keys_of
from onlineflows.errors import ConfigError, OnlineFlowsError
from onlineflows.overrides import apply_overrides
from streams.errors import StreamError, nearest

C = TypeVar("C")

_INFINITE = ("inf", "-inf")
"""How `to_dict` writes infinite numbers."""


def load(cls: type[C], path: Path | None, overrides: Sequence[str] = ()) -> C:
    """Returns the configuration in a TOML file, changed by ``section.key=value`` overrides.

    Args:
        cls: the configuration's class; its fields are the sections.
        path: the file; None for defaults alone.
        overrides: as given to ``--set``; later ones win.

    Raises:
        ConfigError: the file can't be read or anything in it is wrong; lists everything.
    """
    document = {} if path is None else read_toml(path)
    problems = apply_overrides(document, overrides)
    where = "the command line" if path is None else str(path)
    return parse(cls, document, where=where, problems=problems)


def parse(
    cls: type[C], document: Mapping[str, Any], *, where: str, problems: Sequence[str] = ()
) -> C:
    """Returns the configuration that a document of plain types describes.

    Args:
        cls: the configuration's class.
        document: sections by name.
        where: what the document is, for the message.
        problems: what was found wrong before; reported with the rest.

    Raises:
        ConfigError: anything is wrong; lists everything.

    Example:
        >>> from onlineflows.settings import LearnerConfig
        >>> parse(LearnerConfig, {"flow": {"blocks": 5}}, where="an example").flow.blocks
        5
        >>> parse(LearnerConfig, {"flow": {"block": 5}}, where="an example")
        Traceback (most recent call last):
        onlineflows.errors.ConfigError: an example: 1 error in the configuration
          flow.block: unknown key; nearest known: 'blocks'
    """
    found = list(problems)
    types = typing.get_type_hints(cls, include_extras=True)
    sections: dict[str, Any] = {}
    for name, table in document.items():
        if name not in types:
            found.append(f"[{name}]: unknown section; {nearest(name, types)}")
            continue
        section, wrong = _parse_section(types[name], table, name)
        sections[name] = section
        found.extend(wrong)
    if not found:
        try:
            return cls(**sections)
        except ConfigError as error:  # sections that are right alone, but not together
            found.append(str(error))
    count = "1 error" if len(found) == 1 else f"{len(found)} errors"
    listed = "".join(f"\n  {problem}" for problem in found)
    raise ConfigError(f"{where}: {count} in the configuration{listed}")


def read_toml(path: Path) -> dict[str, Any]:
    """Returns the content of a TOML file.

    Raises:
        ConfigError: there's no such file, or it isn't TOML.
    """
    document: dict[str, Any] = _read(path, "toml", tomllib.loads)
    return document


def read_json(path: Path) -> dict[str, Any]:
    """Returns the content of a JSON file, say of the one that a run leaves as its configuration.

    Raises:
        ConfigError: there's no such file, it isn't JSON, or not an object.
    """
    document = _read(path, "json", json.loads)
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected a JSON object; got {type(document).__name__}")
    return document


def to_dict(config: Any) -> dict[str, Any]:
    """Returns a configuration dataclass as plain JSON types; infinite numbers become strings."""
    document: dict[str, Any] = _plain(dataclasses.asdict(config))
    return document


def fingerprint(config: Any) -> str:
    """Returns the SHA-256 of a configuration's canonical JSON form, as 64 hexadecimal digits.

    Equal configurations have equal fingerprints in every process and on every machine, however
    their files were written.
    """
    canonical = json.dumps(to_dict(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _read(path: Path, suffix: str, decode: Callable[[str], Any]) -> Any:
    """What a text file of some format says."""
    try:
        return decode(path.read_bytes().decode())
    except FileNotFoundError:
        there = [p.name for p in path.parent.glob(f"*.{suffix}")]
        raise ConfigError(
            f"{path}: expected a configuration file ({suffix.upper()}); there is none; "
            f"{nearest(path.name, there)}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path}: expected {suffix.upper()}; got a file that isn't: {error}"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable file; got {error.strerror}") from error


def _parse_section(expected: Any, table: Any, name: str) -> tuple[Any, list[str]]:
    """The section's dataclass, or None and what is wrong with the table."""
    # The one-element tuple lets a configuration of pydantic's own reach the dataclasses inside.
    adapter: TypeAdapter[tuple[Any]] = TypeAdapter(
        tuple[expected], config=ConfigDict(extra="forbid", strict=True)
    )
    try:
        return _validate(adapter, table), []
    except ValidationError as error:
        return None, describe(error, expected, table, name)
    except (OnlineFlowsError, StreamError) as error:
        # A dataclass refused its own values; its message names the key.
        return None, [str(error)]


def _validate(adapter: TypeAdapter[tuple[Any]], table: Any) -> Any:
    # By way of JSON, in which a strict reading still takes lists for tuples.
    try:
        return adapter.validate_json(json.dumps([table], default=str))[0]
    except ValidationError as error:
        restored = _restore_infinite(table, error)
        if restored == table:
            raise
        return adapter.validate_json(json.dumps([restored], default=str))[0]


def _restore_infinite(table: Any, error: ValidationError) -> Any:
    """The table with numbers where `to_dict` wrote strings; only the types tell those apart from
    a run that is named "inf".
    """
    restored = [copy.deepcopy(table)]
    for details in error.errors(include_url=False):
        if details["type"] == "float_type" and details["input"] in _INFINITE:
            *above, last = (0, *keys_of(details, table))
            place: Any = restored
            for key in above:
                place = place[key]
            place[last] = float(details["input"])
    return restored[0]


def _plain(value: Any) -> Any:
    """The value in JSON's types: tuples become lists, infinite numbers strings."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
