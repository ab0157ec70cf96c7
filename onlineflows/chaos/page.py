"""The page of reliability: its tables are written from the documents that `chaos` printed.

``python -m onlineflows.chaos.page docs/reliability.md`` rewrites what stands between
``<!-- chaos: name -->`` and ``<!-- /chaos -->`` from ``docs/reliability/name.jsonl``.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onlineflows.errors import DataError

MARKED = re.compile(r"(<!-- chaos: (\w+) -->\n).*?(<!-- /chaos -->)", re.DOTALL)

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
    """Returns what a document was measured with, in a sentence."""
    machine, used = document["machine"], document["versions"]
    named = ", ".join(f"{name} {number}" for name, number in used.items())
    return (
        f"`{document['command']}` on {document['date']}, {machine['cpu']}, {machine['cores']} "
        f"cores, load {machine['load']}; {named}."
    )


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
        parts = "\n\n".join((measured_on(documents[0]), markdown(documents)))
        return f"{match[1]}\n{parts}\n\n{match[3]}"

    return MARKED.sub(written, page)


def main(path: Path) -> None:
    """Rewrites the tables of a page, from the documents in the folder of its name."""
    page = path.read_text(encoding="utf-8")
    path.write_text(render(page, path.with_suffix("")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
