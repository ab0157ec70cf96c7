"""Events in pandas' fixed HDF5 layout, key ``df``: `pandas.read_hdf` reads it as a frame."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from replay.sinks.atomic import LABEL

KEY = "df"
CHUNK_ROWS = 8192
NO_NAME = np.bytes_(b"N.")
"""How pandas stores that an axis has no name."""


class PandasFixedWriter:
    """Writes a frame block by block: the features in one type, the label in int64.

    The attributes are those that pandas and PyTables look for; no index is sorted and nothing is
    compressed, so that any HDF5 reader can use the file.

    Args:
        path: the file.
        names: the columns' names.
        has_label: whether a column ``label`` follows.
        dtype: of the features.
    """

    def __init__(
        self, path: Path, names: tuple[str, ...], *, has_label: bool, dtype: str = "<f4"
    ) -> None:
        self._file = h5py.File(path, "w")
        self._file.attrs.update(_node("GROUP", "1.0") | {"PYTABLES_FORMAT_VERSION": _text("2.1")})
        frame = self._file.create_group(KEY)
        blocks: list[tuple[tuple[str, ...], str]] = [(names, dtype)]
        if has_label:
            blocks.append(((LABEL,), "<i8"))
        frame.attrs.update(
            _node("GROUP", "1.0")
            | {
                "pandas_type": _text("frame"),
                "pandas_version": _text("0.15.2"),
                "encoding": _text("UTF-8"),
                "errors": _text("strict"),
                "ndim": np.int64(2),
                "nblocks": np.int64(len(blocks)),
                "axis0_variety": _text("regular"),
                "axis1_variety": _text("regular"),
            }
        )
        _write_names(frame, "axis0", (*names, LABEL) if has_label else names)
        self._rows = _create(frame, "axis1", (), "<i8")
        self._rows.attrs.update({"kind": _text("integer"), "name": NO_NAME})
        self._values: list[h5py.Dataset] = []
        for number, (columns, dtype) in enumerate(blocks):
            frame.attrs[f"block{number}_items_variety"] = _text("regular")
            _write_names(frame, f"block{number}_items", columns)
            self._values.append(_create(frame, f"block{number}_values", (len(columns),), dtype))

    def append(
        self,
        x: NDArray[np.floating[Any]],
        label: NDArray[np.uint8] | None,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """Appends events and their labels.

        Args:
            x: features, shape (n, d).
            label: truth, shape (n,).
            rows: the frame's index, shape (n,); None for counting on from 0.
        """
        start = len(self._rows)
        stop = start + len(x)
        blocks = [x] if label is None else [x, label.astype(np.int64)[:, None]]
        for values, block in zip(self._values, blocks, strict=True):
            values.resize(stop, axis=0)
            values[start:stop] = block
        self._rows.resize(stop, axis=0)
        self._rows[start:stop] = np.arange(start, stop) if rows is None else rows

    def describe(self, name: str, text: str) -> None:
        """Writes a text into the file's own attributes, for whoever looks."""
        self._file.attrs[name] = text

    def finish(self) -> None:
        """Closes the file."""
        self._file.close()


def _create(frame: h5py.Group, name: str, columns: tuple[int, ...], dtype: str) -> h5py.Dataset:
    """Creates an empty dataset that grows in rows, as PyTables' extendable array."""
    dataset = frame.create_dataset(
        name,
        shape=(0, *columns),
        maxshape=(None, *columns),
        chunks=(CHUNK_ROWS, *columns),
        dtype=dtype,
    )
    dataset.attrs.update(
        _node("EARRAY", "1.1") | {"EXTDIM": np.int32(0), "transposed": np.uint8(1)}
    )
    return dataset


def _write_names(frame: h5py.Group, name: str, columns: tuple[str, ...]) -> None:
    dataset = frame.create_dataset(name, data=np.array([c.encode() for c in columns]))
    dataset.attrs.update(
        _node("ARRAY", "2.4")
        | {
            "FLAVOR": _text("numpy"),
            "kind": _text("string"),
            "name": NO_NAME,
            "nan_rep": _text("nan"),
            "transposed": np.uint8(1),
        }
    )


def _node(kind: str, version: str) -> dict[str, object]:
    return {
        "CLASS": _text(kind),
        "TITLE": _text(" "),
        "VERSION": _text(version),
    }


def _text(value: str) -> NDArray[np.bytes_]:
    """Returns text as PyTables expects it: of fixed length and marked as UTF-8."""
    return np.array(value.encode(), dtype=h5py.string_dtype("utf-8", len(value)))
