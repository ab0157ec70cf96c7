"""Numpy arrays of events, memory-mapped slice by slice."""

import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from replay.sinks.atomic import LABEL
from replay.sources.reader import first_line
from streams import EventSchema, InputError

UNREADABLE = (MemoryError, OSError, OverflowError, TypeError, ValueError, tokenize.TokenError)
"""What numpy raises over a header that is damaged or none."""


class ArrayColumns:
    """An array of shape (n, d), or (n, d + 1) with the label last, as named columns.

    Args:
        path: the file.
        schema: names the d columns.

    Raises:
        InputError: not an npy file, cut short, or of another shape or type.
    """

    def __init__(self, path: Path, schema: EventSchema) -> None:
        self._path = path
        array = self._map()
        d = schema.n_features
        if array.ndim != 2 or array.shape[1] not in (d, d + 1) or array.dtype.kind not in "fiub":
            raise InputError(
                f"expected numbers of shape (n, {d}) or, with labels, (n, {d + 1}); got "
                f"{array.dtype} {array.shape}; at {path}; the columns must be "
                f"{', '.join(schema.names)} and maybe {LABEL}"
            )
        self._shape = array.shape
        self.n_rows = int(array.shape[0])
        self.columns = (*schema.names, LABEL)[: array.shape[1]]

    def read(self, columns: Sequence[str], start: int, stop: int) -> NDArray[np.float64]:
        """Returns some columns of rows start to stop, shape (stop - start, n).

        Raises:
            InputError: the file was changed since it was opened.
        """
        # A map for each slice: one that is kept would hold every page read in memory.
        array = self._map()
        if array.shape != self._shape:
            raise InputError(
                f"expected an array of shape {self._shape}, as before; got {array.shape}; at "
                f"{self._path}; the file was changed"
            )
        places = [self.columns.index(name) for name in columns]
        with np.errstate(invalid="ignore"):  # a signalling NaN is one like others
            return np.asarray(array[start:stop][:, places], dtype=np.float64)

    def close(self) -> None:
        """Does nothing: no file is kept open."""

    def _map(self) -> NDArray[Any]:
        try:
            return open_memmap(self._path, mode="r")
        except UNREADABLE as error:
            raise InputError(
                f"expected a numpy array (.npy); got {first_line(error)}; at {self._path}; is it "
                f"complete?"
            ) from error
