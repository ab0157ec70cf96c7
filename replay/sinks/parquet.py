"""Events as a Parquet file: one float32 column per feature, the label as uint8."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from replay.sinks.atomic import LABEL


class ParquetWriter:
    """Writes one row group per call.

    Args:
        path: the file.
        names: the columns' names.
        has_label: whether a column ``label`` follows.
    """

    def __init__(self, path: Path, names: tuple[str, ...], *, has_label: bool) -> None:
        fields = [(name, pa.float32()) for name in names]
        if has_label:
            fields.append((LABEL, pa.uint8()))
        self._schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(path, self._schema)

    def append(self, x: NDArray[np.float32], label: NDArray[np.uint8] | None) -> None:
        """Appends events and their labels."""
        columns: list[NDArray[np.generic]] = list(np.ascontiguousarray(x.T))
        if label is not None:
            columns.append(label)
        self._writer.write_table(pa.table([pa.array(c) for c in columns], schema=self._schema))

    def finish(self) -> None:
        """Writes the footer and closes the file."""
        self._writer.close()
