"""A study: many independent cells, measured one by one, recorded as they come, resumed.

The record is a file of JSON lines. A line is a head (what was measured on; one for each time that
the study was started) or a cell: ``{"cell": key, "rows": [...], "seconds": s}``. A cell is written
when it is complete; one that is in the record is never measured again.
"""

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onlineflows.errors import DataError

Key = Mapping[str, Any]
"""What makes a cell: names and plain JSON values."""
Row = Mapping[str, Any]
"""What was measured: names and plain JSON values."""
Measure = Callable[[Key], Sequence[Row]]
"""Measures one cell. With several processes it must be importable: a function of a module, or a
`functools.partial` of one.
"""


@dataclass(frozen=True, slots=True)
class Record:
    """What a file of JSON lines says.

    Args:
        heads: what was measured on.
        cells: their keys, in the order of the file.
        rows: all rows, each with its cell's key in it.
    """

    heads: tuple[Mapping[str, Any], ...]
    cells: tuple[Key, ...]
    rows: tuple[Mapping[str, Any], ...]


def read_record(path: Path) -> Record:
    """Returns what was measured so far; nothing where there is no file.

    A last line without an end is a cell that was being written: it is left out.

    Raises:
        DataError: another line isn't one of a record.
    """
    if not path.exists():
        return Record((), (), ())
    heads, cells, rows = [], [], []
    for number, line in enumerate(_complete_lines(path), 1):
        try:
            document = json.loads(line)
            if "head" in document:
                heads.append(document["head"])
            else:
                cells.append(document["cell"])
                rows += [{**document["cell"], **row} for row in document["rows"]]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}, line {number}: expected a head or a cell of a study; got {error!r}"
            ) from error
    return Record(tuple(heads), tuple(cells), tuple(rows))


def run_study(
    keys: Sequence[Key],
    measure: Measure,
    *,
    head: Mapping[str, Any],
    output: Path | None = None,
    jobs: int = 1,
) -> Iterator[str]:
    """Measures what isn't recorded yet; yields each line and appends it to the output.

    Args:
        keys: of all cells.
        measure: measures a cell.
        head: what is measured on.
        output: the record; None for none.
        jobs: processes. With 1, everything happens in this one.

    Raises:
        DataError: the output exists and is no record.
    """
    done = {_canonical(key) for key in (read_record(output).cells if output else ())}
    left = [key for key in keys if _canonical(key) not in done]
    if output is not None:
        _drop_incomplete_line(output)
    for line in _lines(left, measure, head, jobs):
        if output is not None:
            with output.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        yield line


def _lines(
    keys: Sequence[Key], measure: Measure, head: Mapping[str, Any], jobs: int
) -> Iterator[str]:
    if not keys:
        return
    yield json.dumps({"head": head}, ensure_ascii=False)
    if jobs == 1:
        for key in keys:
            yield _measured(measure, key)
        return
    # Processes are started afresh: a forked one would share torch's threads with its parent.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting: set[Future[str]] = {pool.submit(_measured, measure, key) for key in keys}
        while waiting:
            complete, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in complete:
                yield future.result()


def _measured(measure: Measure, key: Key) -> str:
    began = time.perf_counter()
    rows = [_rounded(dict(row)) for row in measure(key)]
    seconds = round(time.perf_counter() - began, 1)
    return json.dumps({"cell": dict(key), "rows": rows, "seconds": seconds}, ensure_ascii=False)


def _canonical(key: Key) -> str:
    return json.dumps(dict(key), sort_keys=True)


def _complete_lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def _drop_incomplete_line(path: Path) -> None:
    if path.exists():
        complete = "".join(line + "\n" for line in _complete_lines(path))
        if complete != path.read_text(encoding="utf-8"):
            path.write_text(complete, encoding="utf-8")


def _rounded(value: Any) -> Any:
    """Returns plain values with floats to five digits."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: _rounded(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return value
