"""The page of the wire protocol: its rules and its messages, written from the sources.

``python -m onlineflows.cli.wire_page docs/wire.md`` rewrites what stands between
``<!-- wire: rules -->`` or ``<!-- wire: messages -->`` and ``<!-- /wire -->``: the rules are the
docstring of `streams.protocol`, the messages the typed headers of `streams.messages`.
"""

import inspect
import re
import sys
import typing
from pathlib import Path
from typing import Any, Literal

import streams.messages as m
import streams.protocol

MARKED = re.compile(r"(<!-- wire: (\w+) -->\n).*?(<!-- /wire -->)", re.DOTALL)

TYPES: tuple[tuple[Any, str], ...] = (
    (m.Whole, "integer from 0"),
    (m.Positive, "integer from 1"),
    (m.EpochBytes, "16 bytes"),
    (m.EpochBytes | None, "16 bytes or nil"),
    (m.Hash, "8 bytes"),
    (m.Hash | None, "8 bytes or nil"),
    (m.Whole | None, "integer from 0, or nil"),
    (m.Name, f"text of 1 to {m.MAX_NAME_LENGTH}"),
    (m.Text, "text of at most 512"),
    (m.Counts, "[Counts](#counts)"),
    (m.Stand, "[Stand](#stand)"),
    (bool, "true or false"),
)
"""How the types of fields are said; what isn't here is said by `type_of`."""


def render(page: str) -> str:
    """Returns a page with the rules and the messages between its marks.

    Raises:
        KeyError: a mark has another name.
    """
    parts = {"rules": rules, "messages": messages}
    return MARKED.sub(lambda mark: f"{mark[1]}\n{parts[mark[2]]()}\n\n{mark[3]}", page)


def rules() -> str:
    """Returns the docstring of the protocol as Markdown, without its first line."""
    _, _, body = (inspect.getdoc(streams.protocol) or "").partition("\n\n")
    return _paragraphs(body)


def messages() -> str:
    """Returns a section for every message, and for what messages consist of."""
    kinds = [*typing.get_args(m.FromConsumer), *typing.get_args(m.FromProducer)]
    parts = [_section(kind, "consumer") for kind in kinds[:5]]
    parts += [_section(kind, "producer") for kind in kinds[5:]]
    return "\n\n".join([*parts, _section(m.Stand), _section(m.Counts)])


def type_of(hint: Any) -> str:
    """Returns the type of a field in words.

    Raises:
        KeyError: nobody says how to call it.

    Example:
        >>> type_of(m.Positive), type_of(m.Condition)
        ('integer from 1', 'GOOD, TAINTED, INCOMPLETE, INTERRUPTED, ABORTED')
    """
    for known, words in TYPES:
        if hint == known:
            return words
    if typing.get_origin(hint) is Literal:
        return ", ".join(typing.get_args(hint))
    if typing.get_origin(hint) is typing.Annotated:
        inner = typing.get_args(hint)[0]
        kind = "map of" if typing.get_origin(inner) is dict else "array of"
        of = [type_of(part) for part in typing.get_args(inner) if part is not Ellipsis]
        return f"{kind} {' to '.join(of)}, at most 16"
    raise KeyError(f"expected a type that has a name on the page; got {hint}")


def _section(kind: type, sender: str = "") -> str:
    """A message: its name, who sends it, what it says, its fields."""
    hints = typing.get_type_hints(kind, include_extras=True)
    names = [name for name in hints if name in kind.__struct_fields__]  # type: ignore[attr-defined]
    defaults = kind.__struct_defaults__  # type: ignore[attr-defined]
    n_required = len(names) - len(defaults)
    summary, _, arguments = (inspect.getdoc(kind) or "").partition("\nArgs:\n")
    meanings = _meanings(arguments.partition("\nExample")[0])
    rows = [
        f"| `{name}` | {type_of(hints[name])}{'' if i < n_required else '; may be left out'} | "
        f"{meanings.get(name, '')} |"
        for i, name in enumerate(names)
    ]
    tag = kind.__struct_config__.tag  # type: ignore[attr-defined]
    title = f"### {tag or kind.__name__}"
    said = _paragraphs(summary) + (f" Sent by the {sender}." if sender else "")
    return "\n".join([title, "", said, "", "| field | type | meaning |", "|---|---|---|", *rows])


def _meanings(arguments: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for argument in re.split(r"^(?=\S)", inspect.cleandoc(arguments), flags=re.MULTILINE):
        names, _, meaning = argument.partition(":")
        found |= dict.fromkeys(names.split(", "), " ".join(meaning.split()))
    return found


def _paragraphs(text: str) -> str:
    paragraphs = (" ".join(part.split()) for part in text.replace("``", "`").split("\n\n"))
    return "\n\n".join(filter(None, paragraphs))


def main(path: Path) -> None:
    """Rewrites the generated parts of a page."""
    path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
