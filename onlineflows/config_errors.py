"""What is wrong with a configuration, in the words of the TOML file: expected, got, where."""

import dataclasses
import json
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streams.errors import nearest

_EXPECTED = {
    "bool_type": "true or false",
    "dataclass_type": "a table",
    "float_type": "a number",
    "int_type": "an integer",
    "string_type": "a string",
    "tuple_type": "a list",
}
_UNKNOWN = "unexpected_keyword_argument"


def describe(error: ValidationError, expected: Any, table: Any, section: str) -> list[str]:
    """Returns one line for each thing that is wrong with a section.

    Args:
        error: pydantic's error of validating ``[table]`` as a one-element tuple.
        expected: the section's type: a dataclass or a union of dataclasses told apart by `type`.
        table: the section as read.
        section: its name.
    """
    places: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        places.setdefault(keys_of(details, table), []).append(details)
    return [
        _line(section, keys, details, expected, table)
        for keys, details in places.items()
        # Of a union, the member that failed deeper inside is the one that was meant.
        if not any(len(k) > len(keys) and k[: len(keys)] == keys for k in places)
    ]


def keys_of(details: ErrorDetails, table: Any) -> tuple[int | str, ...]:
    """Returns where in a table an error is: keys and indices, without the tags that pydantic
    inserts for members of a union.
    """
    names_absent_key = details["type"] in (_UNKNOWN, "missing")
    loc = details["loc"][1:]
    keys: list[int | str] = []
    value = table
    for number, key in enumerate(loc):
        is_last = number == len(loc) - 1
        present = (isinstance(value, dict) and key in value) or (
            isinstance(value, list) and isinstance(key, int) and key < len(value)
        )
        if present:
            value = value[key]
        if present or (is_last and names_absent_key):
            keys.append(key)
    return tuple(keys)


def _line(
    section: str,
    keys: tuple[int | str, ...],
    all_details: Sequence[ErrorDetails],
    expected: Any,
    table: Any,
) -> str:
    """What is wrong at one place; members of a union that were all tried are joined by "or"."""
    where = section + "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in keys)
    details = all_details[0]
    kind, context = details["type"], details.get("ctx", {})
    if kind == _UNKNOWN:
        known = _known_keys(expected, table, keys[:-1])
        return f"{where}: unknown key; {nearest(str(keys[-1]), known)}"
    if kind == "value_error":
        return str(context["error"])  # a dataclass refused its own values; it names the key
    if kind == "missing":
        return f"{where}: expected a value; got nothing"
    if kind == "union_tag_not_found":
        return f"{where}.type: expected one of {_tags(expected)}; got nothing"
    if kind == "union_tag_invalid":
        got = _shown(context["tag"])
        return f"{where}.type: expected one of {context['expected_tags']}; got {got}"
    wanted = " or ".join(_expected(d) for d in all_details)
    return f"{where}: expected {wanted}; got {_shown(details['input'])}"


def _expected(details: ErrorDetails) -> str:
    if details["type"] == "literal_error":
        return str(details["ctx"]["expected"])
    return _EXPECTED.get(details["type"], details["msg"])


def _known_keys(expected: Any, table: Any, keys: Sequence[int | str]) -> list[str]:
    """The fields of the dataclass at a place inside a section; none where it isn't one."""
    for key in keys:
        cls = _dataclass_of(expected, table)
        if isinstance(key, int):
            expected = typing.get_args(expected)[0]
        elif cls is None:
            return []
        else:
            expected = typing.get_type_hints(cls, include_extras=True)[key]
        table = table[key]
    cls = _dataclass_of(expected, table)
    return [] if cls is None else [f.name for f in dataclasses.fields(cls)]


def _dataclass_of(expected: Any, table: Any) -> type[Any] | None:
    """The dataclass that a type means for a table: of a union, the one with the table's type."""
    for cls in _members(expected):
        if isinstance(cls, type) and dataclasses.is_dataclass(cls):
            tag = _tag(cls)
            if tag is None or (isinstance(table, dict) and table.get("type") == tag):
                return cls
    return None


def _members(expected: Any) -> tuple[Any, ...]:
    origin = typing.get_origin(expected)
    if origin is Annotated:
        return _members(typing.get_args(expected)[0])
    if origin in (typing.Union, types.UnionType):
        return tuple(member for arg in typing.get_args(expected) for member in _members(arg))
    return (expected,)


def _tag(cls: Any) -> str | None:
    hint = typing.get_type_hints(cls).get("type")
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Literal else None


def _tags(expected: Any) -> str:
    tags = (_tag(cls) for cls in _members(expected) if dataclasses.is_dataclass(cls))
    return ", ".join(repr(tag) for tag in tags)


def _shown(value: Any) -> str:
    """The value as in a TOML file, shortened."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
