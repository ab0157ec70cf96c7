"""The page of physics studies: its tables are written from the records that studies left.

``python -m onlineflows.bench.physics_page docs/physics.md`` rewrites what stands between
``<!-- study: name -->`` and ``<!-- /study -->`` from ``docs/physics/name.jsonl``. Where there is no
such record yet, the page says by which command it is made. How a study's rows become tables is a
line of `TABLES`, by the name's part before the first hyphen: ``search-pythia.jsonl`` is a record of
the study ``search``.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from onlineflows.bench.closure import closure_tables
from onlineflows.bench.decorrelation import decorrelation_tables
from onlineflows.bench.feta_table import feta_tables
from onlineflows.bench.search_table import search_tables
from onlineflows.bench.study import Record, read_record
from onlineflows.bench.study_tables import (
    absorption_tables,
    amplification_tables,
    compression_tables,
    coverage_tables,
    likeness_tables,
)
from onlineflows.bench.table import Table
from onlineflows.bench.tan_table import tan_tables

MARKED = re.compile(r"(<!-- study: ([\w-]+) -->\n).*?(<!-- /study -->)", re.DOTALL)

Row = Mapping[str, Any]
Tables = Callable[[Sequence[Row]], list[Table]]

TABLES: Mapping[str, Tables] = MappingProxyType(
    {
        "search": search_tables,
        "compression": compression_tables,
        "amplification": amplification_tables,
        "likeness": likeness_tables,
        "absorption": absorption_tables,
        "coverage": coverage_tables,
        "closure": closure_tables,
        "decorrelation": decorrelation_tables,
        "tan": tan_tables,
        "feta": feta_tables,
    }
)
"""From the rows of a study to its tables."""


def render(page: str, folder: Path) -> str:
    """Returns a page with the tables of the records in a folder.

    Args:
        page: text with marks.
        folder: where the records are.

    Raises:
        DataError: a file there is no record.
        KeyError: nobody says how to make tables of a study.
    """

    def written(match: re.Match[str]) -> str:
        name = match[2]
        record = read_record(folder / f"{name}.jsonl")
        make = TABLES[name.split("-")[0]]
        parts = [_not_measured(name)]
        if record.rows:
            parts = [_head(record), *(table.markdown() for table in make(record.rows))]
        return match[1] + "\n" + "\n\n".join(parts) + "\n\n" + match[3]

    return MARKED.sub(written, page)


def _not_measured(name: str) -> str:
    return f"Not measured yet: `onlineflows bench {name.split('-')[0]} --output {name}.jsonl`."


def _head(record: Record) -> str:
    """What was measured on, in a sentence or two."""
    last = record.heads[-1]
    dates = [head["date"] for head in record.heads]
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    machines = [f"{h['machine']['cpu']}, {h['machine']['cores']} cores" for h in record.heads]
    engines = ", ".join(dict.fromkeys(head["engine"]["isa"] for head in record.heads))
    return f"`{last['command']}` on {when}, {'; '.join(dict.fromkeys(machines))}, engine {engines}."


def main(path: Path) -> None:
    """Rewrites the tables of a page, from the records in the folder of its name."""
    page = path.read_text(encoding="utf-8")
    path.write_text(render(page, path.with_suffix("")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
