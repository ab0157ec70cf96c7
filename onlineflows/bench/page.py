"""The page of measurements: its tables are written from the documents that `bench` printed.

``python -m onlineflows.bench.page docs/performance.md`` rewrites what stands between
``<!-- bench: name -->`` and ``<!-- /bench -->`` from ``docs/performance/name.jsonl``.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onlineflows.bench.table import tables
from onlineflows.errors import DataError

MARKED = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def read_document(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the head (with the tail) and the rows of a document of JSON lines.

    Raises:
        DataError: there is no such document, or its end is missing.
    """
    if not path.exists():
        raise DataError(
            f"expected measurements in {path}; there are none: onlineflows bench {path.stem} "
            f"--json > {path}"
        )
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if len(lines) < 2 or "load_after" not in lines[-1]:
        raise DataError(f"{path}: expected a complete document; got one without its last line")
    return lines[0] | lines[-1], lines[1:-1]


def render(page: str, folder: Path) -> str:
    """Returns a page with the tables of the documents in a folder.

    Args:
        page: text with marks.
        folder: where the documents are.

    Raises:
        DataError: a document is missing.
    """

    def written(match: re.Match[str]) -> str:
        head, rows = read_document(folder / f"{match[2]}.jsonl")
        parts = [_head(head), *(table.markdown() for table in tables(rows))]
        return match[1] + "\n" + "\n\n".join(parts) + "\n\n" + match[3]

    return MARKED.sub(written, page)


def _head(head: Mapping[str, Any]) -> str:
    """What was measured on, in a sentence or two."""
    machine, versions = head["machine"], head["versions"]
    names = ("torch", "zuko", "nflows", "flowjax", "jax")
    used = ", ".join(f"{name} {versions[name]}" for name in names)
    measured = (
        f"`{head['command']}` on {head['date']}, {machine['cpu']}, {machine['cores']} cores, load "
        f"{machine['load_before']} before and {head['load_after']} after it; {used}."
    )
    ceilings = (
        f"Ceiling in {ceiling['dtype']}: {ceiling['gflops']:.0f} Gflop/s a core "
        f"(median {ceiling['median_gflops']:.0f}), by {ceiling['product']}."
        for ceiling in head["ceilings"].values()
    )
    return " ".join((measured, *ceilings))


def main(path: Path) -> None:
    """Rewrites the tables of a page, from the documents in the folder of its name."""
    page = path.read_text(encoding="utf-8")
    path.write_text(render(page, path.with_suffix("")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
