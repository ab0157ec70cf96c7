"""The configuration reference: written from the dataclasses that a configuration is made of.

``python -m onlineflows.cli.settings_page docs/configuration.md`` rewrites what stands below
``<!-- settings -->``: for each section its keys, their types and defaults, and the words of its
docstring. A setting is described once, beside its code.
"""

import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from onlineflows.cli.config import Config
from onlineflows.errors import DataError

MARK = "<!-- settings -->\n"
"""Everything below it is generated."""

TOML_TYPES = {bool: "true or false", int: "integer", float: "number", str: "text"}

EVALUATION = """## `[evaluation]`

Truth-labelled events that validation tests on: a source with the keys of `[source]`. Without it \
the stand-in is tested on labelled events of its own. On other streams, such as collision data, \
bumps are hunted and samples compared with the data all the same, and no search is rated: there is \
neither SIC nor AUC, and `--method` and `--compression`, which are about those, are refused. A \
section that was forgotten can be given later, in a file for `--data`."""


def render(page: str) -> str:
    """Returns a page with the reference below its mark.

    Raises:
        DataError: the page has no mark.
    """
    head, mark, _ = page.partition(MARK)
    if not mark:
        raise DataError(f"expected a page with the line {MARK.strip()!r}; got none")
    return f"{head}{mark}\n" + "\n\n".join(_sections()) + "\n"


def _sections() -> Iterator[str]:
    hints = typing.get_type_hints(Config)
    described: set[type] = set()  # a table that several sources share is described once
    for field in dataclasses.fields(Config):
        if field.name == "evaluation":
            yield EVALUATION
            continue
        hint = hints[field.name]
        if typing.get_origin(hint) is tuple:
            kind = typing.get_args(hint)[0]
            yield from _section(f"[[{field.name}]]", kind, described)
            continue
        kinds = _dataclasses_in(hint)
        for kind in kinds:
            suffix = f', `type = "{_type_of(kind)}"`' if len(kinds) > 1 else ""
            yield from _section(f"[{field.name}]", kind, described, suffix=suffix)


def _section(title: str, section: type, described: set[type], *, suffix: str = "") -> Iterator[str]:
    """The part of one dataclass, then those of the tables within it that aren't described yet."""
    described.add(section)
    summary, meanings = read_docstring(section)
    hints = typing.get_type_hints(section)
    rows, nested = [], []
    for field in dataclasses.fields(section):
        hint = hints[field.name]
        inner = _dataclasses_in(hint)
        if inner:
            is_list = typing.get_origin(hint) is tuple
            nested.append((_inner_title(title, field.name, is_list=is_list), inner[0]))
        elif field.name == "type":
            rows.append(f'| `type` | `"{_type_of(section)}"` | | which kind of source this is |')
        else:
            meaning = meanings.get(field.name, "")
            rows.append(f"| `{field.name}` | {toml_type(hint)} | {_default(field)} | {meaning} |")
    heading = f"{'###' if '.' in title else '##'} `{title}`{suffix}"
    if meanings:
        body = "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])
    else:
        body = f"Keys: {', '.join(f'`{f.name}`' for f in dataclasses.fields(section))}."
    yield f"{heading}\n\n{summary}\n\n{body}"
    for inner_title, kind in nested:
        if kind not in described:
            yield from _section(inner_title, kind, described)


def read_docstring(section: type) -> tuple[str, dict[str, str]]:
    """Returns what a dataclass's docstring says of it, and of each field, as Markdown.

    Example:
        >>> from onlineflows.settings import CheckpointConfig
        >>> read_docstring(CheckpointConfig)[1]
        {'every_events': 'write one every so many trained events; 0 for never.'}
    """
    text = inspect.getdoc(section) or ""
    summary, _, rest = text.partition("\nArgs:\n")
    arguments = re.split(r"^(?=\S)", inspect.cleandoc(rest), maxsplit=0, flags=re.MULTILINE)
    meanings: dict[str, str] = {}
    for argument in filter(None, arguments):
        names, _, meaning = argument.partition(":")
        meanings |= dict.fromkeys(names.split(", "), _markdown(meaning))
    return _markdown(summary, keeps_paragraphs=True), meanings


def toml_type(hint: Any) -> str:
    """Returns a type in the words of TOML.

    Example:
        >>> toml_type(tuple[str, ...] | str)
        'array of text, or text'
        >>> toml_type(Literal["asap", "poisson"])
        '`"asap"`, `"poisson"`'
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return ", ".join(f'`"{value}"`' for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(toml_type(a) for a in arguments if a is not types.NoneType)
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"array of {toml_type(arguments[0])}"
    if origin is tuple:
        return f"[{', '.join(toml_type(a) for a in arguments)}]"
    return TOML_TYPES[hint]


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is dataclasses.MISSING:
        return "required"
    value = field.default
    return "none" if value is None else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    """A value as it would be written in a file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _dataclasses_in(hint: Any) -> list[type]:
    """The dataclasses that a type consists of, in order."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return [hint]
    return [kind for part in typing.get_args(hint) for kind in _dataclasses_in(part)]


def _inner_title(title: str, name: str, *, is_list: bool) -> str:
    path = f"{title.strip('[]')}.{name}"
    return f"[[{path}]]" if is_list else f"[{path}]"


def _type_of(section: type) -> str:
    return str(typing.get_args(typing.get_type_hints(section)["type"])[0])


def _markdown(text: str, *, keeps_paragraphs: bool = False) -> str:
    paragraphs = [" ".join(p.split()) for p in text.replace("``", "`").split("\n\n")]
    joined = ("\n\n" if keeps_paragraphs else " ").join(filter(None, paragraphs))
    return joined if keeps_paragraphs else joined.replace("|", "\\|")


def main(path: Path) -> None:
    """Rewrites the reference on a page."""
    path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
