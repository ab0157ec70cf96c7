"""Events as a numpy array: float32 columns in the schema's order, the label last."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HEADER_NBYTES = 128
"""Reserved for the header, which holds the number of events and is written twice."""

MAGIC = b"\x93NUMPY\x01\x00"


class NpyWriter:
    """Writes an npy file (format version 1.0) whose length isn't known beforehand.

    Args:
        path: the file.
        names: the columns' names; only their number is used.
        has_label: whether the label is one more column.
    """

    DTYPE = "<f4"
    """Of every column."""

    def __init__(self, path: Path, names: tuple[str, ...], *, has_label: bool) -> None:
        self._n_columns = len(names) + has_label
        self._n_events = 0
        self._file = path.open("wb")
        self._file.write(self._header())

    def append(self, x: NDArray[np.float32], label: NDArray[np.uint8] | None) -> None:
        """Appends events and their labels."""
        table = x if label is None else np.column_stack([x, label.astype(np.float32)])
        self._file.write(np.ascontiguousarray(table, dtype=self.DTYPE).tobytes())
        self._n_events += len(x)

    def finish(self) -> None:
        """Writes the header again, with the number of events, and closes the file."""
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()

    def _header(self) -> bytes:
        shape = (self._n_events, self._n_columns)
        text = f"{{'descr': '{self.DTYPE}', 'fortran_order': False, 'shape': {shape}, }}"
        length = HEADER_NBYTES - len(MAGIC) - 2
        return MAGIC + length.to_bytes(2, "little") + text.ljust(length - 1).encode() + b"\n"
