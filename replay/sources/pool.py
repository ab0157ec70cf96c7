"""A bounded number of open files, however many a stream is made of."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from replay.sources.clock import Timed
from replay.sources.reader import Reader, Rows
from replay.sources.screening import Keyed
from streams import EventSchema, InputError

MAX_OPEN = 16
"""Open files at a time: far from any limit of the system, enough for shuffled blocks."""


class ReaderPool:
    """Opens files when they are read and closes those that were not read for longest.

    Args:
        open_one: opens one file.
        max_open: files that are open at a time.
    """

    def __init__(self, open_one: Callable[[Path], Reader], *, max_open: int = MAX_OPEN) -> None:
        self._open_one = open_one
        self._max_open = max_open
        self._open: OrderedDict[Path, Reader] = OrderedDict()
        self._is_closed = False

    def reader(self, path: Path) -> Reader:
        """Returns the open reader of a file; valid until the next call.

        Raises:
            InputError: the file can't be opened, or the pool is closed.
        """
        if self._is_closed:
            raise InputError(f"expected an open source; got a closed one; for {path}")
        if path not in self._open:
            while len(self._open) >= self._max_open:
                self._open.popitem(last=False)[1].close()
            self._open[path] = self._open_one(path)
        self._open.move_to_end(path)
        return self._open[path]

    def close(self) -> None:
        """Closes all files; safe to call twice."""
        self._is_closed = True
        while self._open:
            self._open.popitem()[1].close()


class PooledReader:
    """One file of a pool as a `replay.sources.reader.Reader`.

    Args:
        path: the file; it's opened once here to learn what it holds.
        pool: keeps it open, or doesn't.

    Raises:
        InputError: the file can't be opened.
    """

    def __init__(self, path: Path, pool: ReaderPool) -> None:
        reader = pool.reader(path)
        self._pool = pool
        self.path = path
        self.schema: EventSchema = reader.schema
        self.n_rows = reader.n_rows
        self.has_label = reader.has_label
        self.block_rows = reader.block_rows
        self.shuffle_rows = reader.shuffle_rows
        self.n_keys = reader.n_keys if isinstance(reader, Keyed) else (0, 0)
        self.time_step_s = reader.time_step_s if isinstance(reader, Timed) else None

    def read_rows(self, start: int, stop: int, keep: NDArray[np.bool_] | None = None) -> Rows:
        """Returns rows start to stop, or those of them that a mask keeps."""
        return self._reader().read_rows(start, stop, keep)

    def read_labels(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Returns the truth labels alone, shape (stop - start,)."""
        return self._reader().read_labels(start, stop)

    def read_keys(self, start: int, stop: int) -> NDArray[np.float64]:
        """Returns what identifies and orders the events, shape (stop - start, n)."""
        reader = self._reader()
        if not isinstance(reader, Keyed):
            raise InputError(f"expected identifiers; got none; at {self.path}")
        return reader.read_keys(start, stop)

    def read_times(self, start: int, stop: int) -> NDArray[np.float64]:
        """Returns when rows start to stop were recorded, shape (stop - start,)."""
        reader = self._reader()
        if not isinstance(reader, Timed):
            raise InputError(f"expected times; got none; at {self.path}")
        return reader.read_times(start, stop)

    def close(self) -> None:
        """Closes the pool's files; safe to call twice."""
        self._pool.close()

    def _reader(self) -> Reader:
        reader = self._pool.reader(self.path)
        if reader.n_rows != self.n_rows:
            raise InputError(
                f"expected {self.n_rows} rows, as at the start of the run; got {reader.n_rows}; "
                f"at {self.path}; the file was changed"
            )
        return reader
