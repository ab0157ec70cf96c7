"""Clustered events on their way into a feature file, kept so that a stopped conversion goes on."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from replay.sinks.atomic import complete, hold
from replay.sinks.hdf5 import PandasFixedWriter
from replay.sources.hdf5 import JET_COLUMNS
from streams import InputError, Status

WRITE_ROWS = 65_536
NOTE = "onlineflows_conversion"
"""The attribute of a feature file that says where it came from, as JSON."""

ROW = np.dtype([("jets", "<f8", (len(JET_COLUMNS),)), ("label", "u1"), ("mark", "u1")])
"""One event. The mark is its status + 1: 0 was never written."""

SECOND_JET = JET_COLUMNS.index("pxj2")


class ClusteredRows:
    """Rows in the order of the particle file, appended as they are done; a context manager.

    Args:
        final: the feature file that they will become.
        origin: what they depend on: rows of another origin are not gone on with.

    Attributes:
        n_rows: how many there are.

    Raises:
        InputError: the folder can't be written, or another process is at the same file.
    """

    def __init__(self, final: Path, origin: dict[str, Any]) -> None:
        self._final = final
        self._path = final.with_name(f"{final.name}.partial")
        self._note = final.with_name(f"{final.name}.partial.json")
        if not final.parent.is_dir():
            raise InputError(f"expected an existing folder; got {final.parent}; create it")
        note = json.dumps(origin).encode()
        with self._translated():
            self._file = self._path.open("ab", buffering=0)
            hold(self._file, self._path)
            is_known = self._note.exists() and self._note.read_bytes() == note
            self.n_rows = self._n_whole() if is_known else 0
            self._file.truncate(self.n_rows * ROW.itemsize)
            if not is_known:
                self._note.write_bytes(note)

    def _n_whole(self) -> int:
        """Returns how many rows were written without a gap: power cuts leave zeros."""
        n = self._path.stat().st_size // ROW.itemsize
        if n == 0:
            return 0
        is_missing = np.memmap(self._path, ROW, "r", shape=(n,))["mark"] == 0
        return int(is_missing.argmax()) if is_missing.any() else n

    def append(self, rows: NDArray[np.void]) -> None:
        """Appends rows, shape (n,), of type `ROW`.

        Raises:
            InputError: the disk is full or not writable; what came before is kept.
        """
        with self._translated():
            left = memoryview(rows.tobytes())
            while left:
                left = left[self._file.write(left) :]
        self.n_rows += len(rows)

    def counts(self) -> dict[str, int]:
        """Returns how many rows are good, and why others can't be used."""
        counts: Counter[str] = Counter()
        for rows in self._blocks():
            statuses, numbers = np.unique(rows["mark"] - 1, return_counts=True)
            for status, number in zip(statuses, numbers, strict=True):
                counts[Status(status).name.lower()] += int(number)
            n_lonely = int(
                np.isnan(rows["jets"][rows["mark"] == Status.NOT_SELECTED + 1, SECOND_JET]).sum()
            )
            counts["fewer_than_two_jets"] += n_lonely
            counts["soft_leading_jet"] -= n_lonely
        counts["soft_leading_jet"] += counts.pop(Status.NOT_SELECTED.name.lower(), 0)
        return {name: number for name, number in counts.items() if number}

    def finish(self, note: str, *, has_label: bool) -> None:
        """Writes the good rows into the feature file and removes the unfinished one.

        Args:
            note: where they came from, for an attribute of the file.
            has_label: whether the labels mean anything.

        Raises:
            InputError: the disk is full or not writable; nothing is lost.
        """
        temporary = self._final.with_name(f".{self._final.name}.{os.getpid()}.partial")
        with self._translated():
            try:
                writer = PandasFixedWriter(temporary, JET_COLUMNS, has_label=has_label, dtype="<f8")
                writer.describe(NOTE, note)
                first = 0
                for rows in self._blocks():
                    good = np.flatnonzero(rows["mark"] == Status.GOOD + 1)
                    label = rows["label"][good] if has_label else None
                    writer.append(rows["jets"][good], label, first + good)
                    first += len(rows)
                writer.finish()
                complete(temporary, self._final)
            finally:
                temporary.unlink(missing_ok=True)
        self.discard()

    def discard(self) -> None:
        """Removes the rows."""
        self._path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _blocks(self) -> Iterator[NDArray[np.void]]:
        for start in range(0, self.n_rows, WRITE_ROWS):
            n = min(WRITE_ROWS, self.n_rows - start)
            yield np.fromfile(self._path, ROW, count=n, offset=start * ROW.itemsize)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if self.n_rows == 0:
            self.discard()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"expected to write {self._final}; got {error}; is the folder writable and the "
                f"disk not full? what was done is kept"
            ) from error
