"""Where events may go: one module per format, chosen by the file's suffix."""

from pathlib import Path

from replay.sinks.atomic import AtomicSink, Writer
from streams import EventSchema, InputError

__all__ = ["SUFFIXES", "AtomicSink", "open_sink"]

SUFFIXES = (".npy", ".h5", ".hdf5", ".parquet", ".root")
"""The formats that can be written."""


def open_sink(path: Path, schema: EventSchema) -> AtomicSink:
    """Returns a sink that writes a file of events; the caller closes it.

    Every format has one column per feature under the feature's own name, in float32, and, where
    labels are written, a column ``label`` last (an npy file has the columns without names).

    Args:
        path: the file; its suffix chooses the format. An existing file is replaced on closing.
        schema: what the events are.

    Raises:
        InputError: no such format, or the folder can't be written to.

    Example:
        >>> from streams import LHCO
        >>> open_sink(Path("events.csv"), LHCO)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        streams.errors.InputError: expected a file name that ends in .npy, .h5, ...
    """
    return AtomicSink(path, schema, _writer_for(path))


def _writer_for(path: Path) -> type[Writer]:
    match path.suffix:
        case ".npy":
            from replay.sinks.npy import NpyWriter

            return NpyWriter
        case ".h5" | ".hdf5":
            from replay.sinks.hdf5 import PandasFixedWriter

            return PandasFixedWriter
        case ".parquet":
            from replay.sinks.parquet import ParquetWriter

            return ParquetWriter
        case ".root":
            from replay.sinks.root import RootWriter

            return RootWriter
    raise InputError(f"expected a file name that ends in {', '.join(SUFFIXES)}; got {str(path)!r}")
