"""The page of reliability: its tables are written from documents that commands printed.

``python -m onlineflows.chaos.page docs/reliability.md`` rewrites what stands between
``<!-- chaos: name -->`` and ``<!-- /chaos -->`` from ``docs/reliability/name.jsonl``, lines of
`onlineflows chaos`, and between ``<!-- record: name -->`` and ``<!-- /record -->`` from
``docs/reliability/name.json``, one JSON object of any program: its counts and its conclusion.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onlineflows.errors import DataError

MARKED = re.compile(r"(<!-- chaos: (\w+) -->\n).*?(<!-- /chaos -->)", re.DOTALL)

RECORD = re.compile(r"(<!-- record: (\w+) -->\n).*?(<!-- /record -->)", re.DOTALL)

TOLD_APART = ("machine", "versions", "command", "date", "samples")
"""What a record says besides its results."""

HEADER = (
    "fault",
    "rounds",
    "sent",
    "trained",
    "lost (declared)",
    "withheld (counted)",
    "unaccounted",
    "trained twice",
    "θ equal",
    "recovery s (median, max)",
)

Document = Mapping[str, Any]


def cells(document: Document) -> tuple[str, ...]:
    """Returns one fault's line of the table.

    Example:
        >>> times = {"recover_median_s": 0.5, "recover_max_s": 1.25}
        >>> counts = dict.fromkeys(("sent", "trained"), 1000) | {"lost": 0, "withheld": 0}
        >>> bad = {"unaccounted": 0, "trained_twice": 0, "theta_equal": True}
        >>> cells({"fault": "both_kill", "rounds": 2, **counts, **bad, **times})
        ('both_kill', '2', '1,000', '1,000', '0', '0', '0', '0', 'yes', '0.5, 1.2')
    """
    counts = ("rounds", "sent", "trained", "lost", "withheld", "unaccounted", "trained_twice")
    is_equal = {True: "yes", False: "NO", None: "–"}[document["theta_equal"]]
    median, largest = document["recover_median_s"], document["recover_max_s"]
    recovery = "–" if median is None else f"{median:.1f}, {largest:.1f}"
    return (document["fault"], *(f"{document[name]:,}" for name in counts), is_equal, recovery)


def markdown(documents: Sequence[Document]) -> str:
    """Returns the table of several faults in Markdown."""
    rule = tuple("---" if place == 0 else "---:" for place in range(len(HEADER)))
    lines = (HEADER, rule, *map(cells, documents))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measured_on(document: Document) -> str:
    """Returns what a document was measured with, in a sentence; nothing where it doesn't say."""
    if not {"machine", "versions", "command", "date"} <= set(document):
        return ""
    machine, used = document["machine"], document["versions"]
    named = ", ".join(f"{name} {number}" for name, number in used.items())
    return (
        f"`{document['command']}` on {document['date']}, {machine['cpu']}, {machine['cores']} "
        f"cores, load {machine['load']}; {named}."
    )


def record(document: Document) -> str:
    """Returns any document's numbers and words as a table of two columns.

    Example:
        >>> print(record({"frames": 1000000, "crashes": {"codec": 0}, "ok": True, "date": ""}))
        | what | result |
        | --- | ---: |
        | frames | 1,000,000 |
        | crashes: codec | 0 |
        | ok | yes |
    """
    lines = ["| what | result |", "| --- | ---: |"]
    told = {name: value for name, value in document.items() if name not in TOLD_APART}
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in _flat(told)])


def _flat(document: Document, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        words = prefix + str(name).replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{words}: ")
        elif isinstance(value, bool):
            yield words, "yes" if value else "NO"
        elif isinstance(value, int | float):
            yield words, f"{value:,}"
        elif isinstance(value, str):
            yield words, value


def read_documents(path: Path) -> list[dict[str, Any]]:
    """Returns the documents of a file of JSON lines, of which each is one fault's.

    Raises:
        DataError: there is no such file, or nothing in it.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if not lines:
        raise DataError(
            f"expected measurements in {path}; there are none: onlineflows chaos --json > {path}"
        )
    return [json.loads(line) for line in lines]


def read_record(path: Path) -> dict[str, Any]:
    """Returns the one document in a file.

    Raises:
        DataError: there is no such file.
    """
    if not path.exists():
        raise DataError(
            f"expected a record in {path}; there is none: run the command that the page names"
        )
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def render(page: str, folder: Path) -> str:
    """Returns a page with the tables of the documents in a folder.

    Args:
        page: text with marks.
        folder: where the documents are.

    Raises:
        DataError: a document is missing.
    """

    def written(match: re.Match[str]) -> str:
        documents = read_documents(folder / f"{match[2]}.jsonl")
        runs = dict.fromkeys(measured_on(document) for document in documents)
        return _between(match, *runs, markdown(documents))

    def recorded(match: re.Match[str]) -> str:
        document = read_record(folder / f"{match[2]}.json")
        return _between(match, measured_on(document), record(document))

    return RECORD.sub(recorded, MARKED.sub(written, page))


def _between(match: re.Match[str], *parts: str) -> str:
    return f"{match[1]}\n" + "\n\n".join(filter(None, parts)) + f"\n\n{match[3]}"


def main(path: Path) -> None:
    """Rewrites the tables of a page, from the documents in the folder of its name."""
    page = path.read_text(encoding="utf-8")
    path.write_text(render(page, path.with_suffix("")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
