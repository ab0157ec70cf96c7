"""Files that hold a schema's own columns, as `replay.sinks` writes them, in any of its formats."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from replay.settings import SelectionConfig
from replay.sinks import SUFFIXES
from replay.sinks.atomic import LABEL
from replay.sources.files import FileSource
from replay.sources.reader import Rows, labels_from, rows_from
from streams import EventSchema, InputError, Source
from streams.errors import nearest


class Columns(Protocol):
    """One open file of named columns. Rows are counted from 0."""

    @property
    def columns(self) -> Sequence[str | int]:
        """The columns' names."""
        ...

    @property
    def n_rows(self) -> int:
        """Rows in the file."""
        ...

    def read(self, columns: Sequence[str], start: int, stop: int) -> NDArray[np.float64]:
        """Returns some columns of rows start to stop, shape (stop - start, n).

        Raises:
            InputError: the file is damaged there, or a column doesn't hold numbers.
        """
        ...

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        ...


class TableReader:
    """A file of columns as a `replay.sources.reader.Reader`; closes the file.

    Args:
        path: the file.
        columns: its content; further columns are left alone.
        schema: which columns to take; one named ``label`` beside them is the truth.

    Raises:
        InputError: a column is missing or doesn't hold numbers, or there are no rows.
    """

    block_rows = 65_536
    shuffle_rows = 65_536

    def __init__(self, path: Path, columns: Columns, schema: EventSchema) -> None:
        self.path = path
        self.schema = schema
        self._columns = columns
        self.n_rows = columns.n_rows
        self.has_label = LABEL in columns.columns and LABEL not in schema.names
        self._names = (*schema.names, LABEL) if self.has_label else schema.names
        self._require()
        if not self.n_rows:
            raise InputError(f"expected events; got a table without rows; at {path}")
        self.read_rows(0, 1)  # wrong types show at the start

    def read_rows(self, start: int, stop: int, keep: NDArray[np.bool_] | None = None) -> Rows:
        """Returns rows start to stop, or those of them that a mask keeps."""
        table = self._columns.read(self._names, start, stop)
        if keep is not None:
            table = table[keep]
        label = self._labels(table[:, -1]) if self.has_label else None
        return rows_from(table[:, : self.schema.n_features], label)

    def read_labels(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Returns the truth labels alone, shape (stop - start,)."""
        if not self.has_label:
            raise InputError(f"expected a column {LABEL!r}; got none; at {self.path}")
        return self._labels(self._columns.read((LABEL,), start, stop)[:, 0])

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        self._columns.close()

    def _require(self) -> None:
        known = self._columns.columns
        for name in self.schema.names:
            if name not in known:
                raise InputError(
                    f"expected a column {name!r}; {nearest(name, map(str, known))}; at "
                    f"{self.path}; the columns must be {', '.join(self.schema.names)} and maybe "
                    f"{LABEL}; other files are described by the [source] of a TOML file"
                )

    def _labels(self, values: NDArray[np.float64]) -> NDArray[np.uint8]:
        return labels_from(values, f"column {LABEL!r} of {self.path}")


def open_table(path: Path, schema: EventSchema) -> Source:
    """Returns the events of one file whose columns are a schema's own; the caller closes it.

    Args:
        path: an array (.npy, its columns in the schema's order, the label last), a frame of
            pandas' fixed layout under the key ``df`` (.h5), a Parquet file, or a ROOT file with
            a tree ``Events``. The suffix tells which.
        schema: what the columns are; a column ``label`` beside them is the truth.

    Raises:
        InputError: no such file or format, it's damaged, or a column is missing.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"expected a file that ends in {', '.join(SUFFIXES)}; got {str(path)!r}; other files "
            f"are described by the [source] of a TOML file"
        )
    if not path.is_file():
        there = [p.name for p in path.parent.glob(f"*{path.suffix}")]
        raise InputError(
            f"expected an existing file; got {str(path)!r}; {nearest(path.name, there)}"
        )
    with contextlib.ExitStack() as opened:
        columns = _open_columns(path, schema)
        opened.callback(columns.close)
        source = FileSource([TableReader(path, columns, schema)], SelectionConfig())
        opened.pop_all()  # from here on the source closes it
    return source


def _open_columns(path: Path, schema: EventSchema) -> Columns:
    match path.suffix:
        case ".npy":
            from replay.sources.npy import ArrayColumns

            return ArrayColumns(path, schema)
        case ".parquet":
            from replay.sources.parquet import ParquetColumns

            return ParquetColumns(path)
        case ".root":
            from replay.sources.tree_columns import TreeColumns

            return TreeColumns(path)
    from replay.sources.hdf5 import KEY, PandasFixed

    return PandasFixed(path, KEY)
