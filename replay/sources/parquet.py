"""Parquet files of events, read as a stream of record batches."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from replay.sources.reader import first_line
from streams import InputError

BATCH_ROWS = 65_536
BUFFER_NBYTES = 1 << 20
"""Read at a time of each column, so that a row group is never in memory as a whole."""

UNREADABLE = (pa.ArrowException, MemoryError, OSError, ValueError)


class ParquetColumns:
    """The columns of a Parquet file. Rows are fast to read in order; a jump starts anew at the
    row group around them.

    Args:
        path: the file.

    Raises:
        InputError: not a Parquet file, or cut short.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = pq.ParquetFile(path, buffer_size=BUFFER_NBYTES, pre_buffer=False)
            metadata = self._file.metadata
            groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
            self.columns = tuple(self._file.schema_arrow.names)
        except UNREADABLE as error:
            raise InputError(
                f"expected a Parquet file; got {first_line(error)}; at {path}; is it complete?"
            ) from error
        self._group_starts = np.cumsum([0, *groups])
        self.n_rows = int(self._group_starts[-1])
        self._names: tuple[str, ...] = ()
        self._batches: Iterator[NDArray[np.float64]] = iter(())
        self._held: NDArray[np.float64] = np.empty((0, 0))
        self._at = -1

    def read(self, columns: Sequence[str], start: int, stop: int) -> NDArray[np.float64]:
        """Returns some columns of rows start to stop, shape (stop - start, n).

        Raises:
            InputError: the file is damaged there, or a column doesn't hold numbers.
        """
        if start != self._at or tuple(columns) != self._names:
            self._go_to(tuple(columns), start)
        self._at = -1  # unless all goes well
        table = np.concatenate([np.empty((0, len(columns))), *self._parts(stop - start)])
        self._at = stop
        return table

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        self._batches = iter(())
        self._at = -1
        self._file.close()

    def _go_to(self, columns: tuple[str, ...], row: int) -> None:
        group = int(np.searchsorted(self._group_starts, row, side="right")) - 1
        self._names, self._batches = columns, self._from_group(group, columns)
        self._held = np.empty((0, len(columns)))
        for _ in self._parts(row - int(self._group_starts[group])):
            pass

    def _parts(self, n: int) -> Iterator[NDArray[np.float64]]:
        """Yields the next n rows."""
        while n > 0:
            if not len(self._held):
                self._held = next(self._batches, self._held)
            if not len(self._held):
                raise InputError(f"expected {n} more rows; got none; at {self._path}")
            part, self._held = self._held[:n], self._held[n:]
            n -= len(part)
            yield part

    def _from_group(self, group: int, columns: tuple[str, ...]) -> Iterator[NDArray[np.float64]]:
        """Yields the batches from a row group on, shape (n, d); none is empty."""
        try:
            for batch in self._file.iter_batches(
                BATCH_ROWS,
                row_groups=range(group, len(self._group_starts) - 1),
                columns=list(columns),
                use_threads=False,
            ):
                if batch.num_rows:
                    yield np.column_stack([self._numbers(batch, name) for name in columns])
        except UNREADABLE as error:
            raise InputError(
                f"expected readable rows; got {first_line(error)}; at {self._path}; the file is "
                f"damaged"
            ) from error

    def _numbers(self, batch: Any, name: str) -> NDArray[np.float64]:
        """A column of a batch; NaN where it has no value."""
        place = batch.schema.get_field_index(name)
        if place < 0:
            raise InputError(f"expected one column {name!r}; got several; at {self._path}")
        column = batch.column(place)
        kind = column.type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or kind == pa.bool_()):
            raise InputError(f"expected numbers; got {kind}; in column {name!r} of {self._path}")
        numbers: NDArray[np.float64] = pc.cast(column, pa.float64(), safe=False).to_numpy(
            zero_copy_only=False
        )
        return numbers
