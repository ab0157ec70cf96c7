"""LHC Olympics feature files: pandas' fixed layout in HDF5, read with h5py in slices of rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 (registers the Blosc filter that the published files use)
import numpy as np
from numpy.typing import NDArray

from replay.observables import Jets, dijet_observables
from replay.settings import LhcoFeaturesConfig
from replay.sources.files import FileSource, open_files
from replay.sources.reader import Rows, first_line, labels_from, rows_from
from streams import LHCO, EventSchema, InputError
from streams.errors import nearest

JET_COLUMNS = tuple(
    f"{name}j{jet}" for jet in (1, 2) for name in ("px", "py", "pz", "m", "tau1", "tau2", "tau3")
)
"""The 14 columns of a feature file in the official order; the label comes 15th, if at all."""

KEY = "df"
"""The frame's name in the published files."""

LABEL = "label"
USED = (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12)
"""Which of the jet columns the observables need: all but tau3."""


class PandasFixed:
    """A frame that pandas stored in its "fixed" format: blocks of columns of one type each.

    Pandas itself isn't needed, and nothing is unpickled.

    Args:
        path: the file.
        key: the frame's name.

    Raises:
        InputError: not an HDF5 file, truncated, no such key, or another layout.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self._where = f"{path}, key {key!r}"
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise InputError(
                f"expected an HDF5 file; got {first_line(error)}; at {path}; is it complete?"
            ) from error
        try:
            self._open(key)
        except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            self.close()
            raise InputError(
                f"expected a frame in pandas' fixed layout; got {first_line(error)}; "
                f"at {self._where}"
            ) from error
        except InputError:
            self.close()
            raise

    def _open(self, key: str) -> None:
        group = self._file.get(key)
        if not isinstance(group, h5py.Group):
            raise InputError(
                f"expected the key {key!r}; {nearest(key, self._file.keys())}; at {self.path}; "
                f"set source.key"
            )
        kind = group.attrs.get("pandas_type", b"nothing")
        kind = kind.decode() if isinstance(kind, bytes) else str(kind)
        if kind != "frame":
            raise InputError(
                f"expected a frame in pandas' fixed layout; got pandas_type {kind!r}; at "
                f"{self._where}; write it with to_hdf(path, key={key!r}, format='fixed')"
            )
        self.columns = _names(group["axis0"], self._where)
        self.n_rows = int(group["axis1"].shape[0])
        self._blocks: list[h5py.Dataset] = []
        self._place: dict[str | int, tuple[int, int]] = {}
        for number in range(int(group.attrs["nblocks"])):
            values = group[f"block{number}_values"]
            items = _names(group[f"block{number}_items"], self._where)
            if values.shape != (self.n_rows, len(items)) or values.dtype.kind not in "fiub":
                raise InputError(
                    f"expected numbers of shape ({self.n_rows}, {len(items)}); got "
                    f"{values.dtype} {values.shape}; in block {number} of {self._where}"
                )
            self._place |= {name: (number, column) for column, name in enumerate(items)}
            self._blocks.append(values)
        if set(self._place) != set(self.columns):
            raise InputError(
                f"expected the columns {self.columns} in the blocks; got {list(self._place)}; at "
                f"{self._where}; the file is damaged"
            )

    def read(self, columns: Sequence[str | int], start: int, stop: int) -> NDArray[Any]:
        """Returns some columns of rows start to stop, shape (stop - start, n), as float64.

        Raises:
            InputError: the file is damaged there.
        """
        places = [self._place[name] for name in columns]
        table = np.empty((stop - start, len(places)))
        try:
            for number in {block for block, _ in places}:
                targets = [i for i, (block, _) in enumerate(places) if block == number]
                wanted = [places[i][1] for i in targets]
                values = self._blocks[number]
                if len(wanted) == 1:
                    table[:, targets[0]] = values[start:stop, wanted[0]]
                elif targets == wanted == list(range(values.shape[1])):
                    table[:, : len(wanted)] = values[start:stop]  # whole rows, as they are
                else:
                    table[:, targets] = values[start:stop][:, wanted]
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"expected readable rows {start} to {stop}; got {first_line(error)}; at "
                f"{self._where}; the file is damaged"
            ) from error
        return table

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        self._file.close()


class FeatureReader:
    """One feature file as a `replay.sources.reader.Reader`.

    The columns are found by name; columns that are merely numbered 0 to 13 or 14 (as other
    versions of pandas wrote them) by position. A file that holds the five observables of
    `streams.LHCO` under their own names, as `replay.sinks` writes them, is read as it is.

    Args:
        path: the file.
        key: the frame's name in it.

    Raises:
        InputError: the file isn't one, or a column is missing.
    """

    block_rows = 8192
    shuffle_rows = 65_536

    def __init__(self, path: Path, key: str) -> None:
        self._frame = PandasFixed(path, key)
        try:
            self._find_columns()
        except InputError:
            self.close()
            raise

    def _find_columns(self) -> None:
        columns = self._frame.columns
        self._is_observables = set(LHCO.names) <= set(columns)
        if all(isinstance(name, int) for name in columns):
            if len(columns) not in (14, 15):
                raise InputError(
                    f"expected 14 jet columns, with or without a label; got {len(columns)} "
                    f"unnamed columns; at {self.path}"
                    + (
                        "; is it a particle file (type 'lhco_particles')?"
                        if len(columns) >= 2100
                        else ""
                    )
                )
            self._columns: list[str | int] = [columns[i] for i in USED]
            self._label: str | int | None = columns[14] if len(columns) == 15 else None
            return
        self._label = LABEL if LABEL in columns else None
        self._columns = list(LHCO.names)
        if not self._is_observables:
            self._columns = [JET_COLUMNS[i] for i in USED]
        for name in self._columns:
            if name not in columns:
                raise InputError(
                    f"expected a column {name!r}; {nearest(str(name), map(str, columns))}; "
                    f"at {self.path}; expected are {', '.join(JET_COLUMNS)} and maybe {LABEL}"
                )

    @property
    def path(self) -> Path:
        """The file."""
        return self._frame.path

    @property
    def schema(self) -> EventSchema:
        """The observables of the LHC Olympics."""
        return LHCO

    @property
    def n_rows(self) -> int:
        """Rows in the file."""
        return self._frame.n_rows

    @property
    def has_label(self) -> bool:
        """Whether the file holds truth labels."""
        return self._label is not None

    def read_rows(self, start: int, stop: int, keep: NDArray[np.bool_] | None = None) -> Rows:
        """Returns rows start to stop, or those of them that a mask keeps."""
        names = self._columns if self._label is None else [*self._columns, self._label]
        table = self._frame.read(names, start, stop)
        if keep is not None:
            table = table[keep]
        label = None if self._label is None else self._labels(table[:, -1])
        if self._is_observables:
            return rows_from(table[:, : LHCO.n_features], label)
        dijets = dijet_observables(Jets.from_table(table[:, :6]), Jets.from_table(table[:, 6:12]))
        return Rows(dijets.x, dijets.status, label)

    def read_labels(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Returns the truth labels alone, shape (stop - start,)."""
        if self._label is None:
            raise InputError(f"expected a label column; got none; at {self.path}")
        return self._labels(self._frame.read([self._label], start, stop)[:, 0])

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        self._frame.close()

    def _labels(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        return labels_from(values, f"column {self._label!r} of {self.path}")


def open_features(config: LhcoFeaturesConfig) -> FileSource:
    """Returns the stream over LHC Olympics feature files.

    Raises:
        InputError: a file is missing or isn't one.
    """
    return open_files(config.paths, lambda path: FeatureReader(path, config.key), config.selection)


def is_lhco_features(path: Path) -> bool:
    """Returns whether a file is an LHC Olympics feature file: a frame ``df`` with the 14 jet
    columns, by name or numbered. False for whatever can't be read as one.
    """
    try:
        frame = PandasFixed(path, KEY)
    except InputError:
        return False
    columns = frame.columns
    frame.close()
    return set(JET_COLUMNS) <= set(columns) or _are_numbered(columns)


def _are_numbered(columns: Sequence[str | int]) -> bool:
    """Whether columns without names are as many as the jet columns, with or without a label."""
    return len(columns) in (14, 15) and all(isinstance(name, int) for name in columns)


def _names(items: Any, where: str) -> list[str | int]:
    """Returns the column names of an axis: text or whole numbers; a pickled axis is refused."""
    if not isinstance(items, h5py.Dataset) or items.dtype.kind not in "SUi":
        raise InputError(
            f"expected column names that are all text or all whole numbers; got an axis of type "
            f"{getattr(items, 'dtype', 'group')}; at {where}; rename the columns"
        )
    return [name.decode() if isinstance(name, bytes) else int(name) for name in items[()]]
