"""ROOT files: features by expressions, or the dijet observables of a jet collection."""

from pathlib import Path

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from replay.observables import Jets, dijet_observables
from replay.quality import to_float32
from replay.settings import RootConfig
from replay.sources.evaluation import Column
from replay.sources.expressions import Expression
from replay.sources.files import FileSource, open_files
from replay.sources.reader import Rows, labels_from
from replay.sources.tree import Tree
from streams import LHCO, EventSchema, Feature, InputError, SchemaError, Status

DIJET_FIELDS = ("pt", "eta", "phi", "mass", "tau1", "tau2")
"""What a jet collection must hold, in GeV and radians; ``mass`` is the ungroomed one."""


class RootReader:
    """One ROOT file as a `replay.sources.reader.Reader`.

    Args:
        path: the file.
        config: the tree, and what to compute from it.

    Raises:
        InputError: the file, the tree, a branch or an expression isn't as expected.
    """

    def __init__(self, path: Path, config: RootConfig) -> None:
        self._dijet = config.dijet
        self._schema, self._features = _schema_of(config)
        self._cut = Expression(config.cut, where="source.cut") if config.cut else None
        self._label = Expression(config.label, where="source.label") if config.label else None
        self._keys = tuple(
            Expression(text, where=f"source.{name}")
            for name in ("event_id", "order")
            for text in getattr(config, name)
        )
        self.n_keys = (len(config.event_id), len(config.order))
        self._time = Expression(config.time, where="source.time") if config.time else None
        self.time_step_s = config.time_step_s if config.time else None
        self._branches = self._needed_branches()
        self._tree = Tree(path, config.tree)
        try:
            self._tree.require(self._branches)
            self._tree.require(self._time.branches if self._time else ())
            rows = self._tree.cluster_rows(self._branches)
            self._block_rows = min(max(rows, 1024), 32_768)
            self.read_rows(0, min(1, self.n_rows))  # wrong types show at the start of a run
        except InputError:
            self.close()
            raise

    def _needed_branches(self) -> tuple[str, ...]:
        expressions = [*self._features, *self._keys, self._cut, self._label]
        branches = {name for e in expressions if e is not None for name in e.branches}
        if self._dijet:
            branches |= {f"{self._dijet}_{name}" for name in DIJET_FIELDS}
        return tuple(sorted(branches))

    @property
    def path(self) -> Path:
        """The file."""
        return self._tree.path

    @property
    def schema(self) -> EventSchema:
        """What the configuration says that an event is."""
        return self._schema

    @property
    def n_rows(self) -> int:
        """Rows in the tree."""
        return self._tree.n_rows

    @property
    def has_label(self) -> bool:
        """Whether the configuration names a truth label."""
        return self._label is not None

    @property
    def block_rows(self) -> int:
        """The tree's own clusters, between 1,024 and 32,768 rows."""
        return self._block_rows

    @property
    def shuffle_rows(self) -> int:
        """Several clusters."""
        return 4 * 32_768

    def read_rows(self, start: int, stop: int, keep: NDArray[np.bool_] | None = None) -> Rows:
        """Returns rows start to stop, or those of them that a mask keeps."""
        columns = self._tree.read(self._branches, start, stop)
        n = stop - start
        x, status, selected = (
            self._dijet_features(columns) if self._dijet else self._table(columns, n)
        )
        if self._cut is not None:
            cut = self._cut.evaluate(columns, n)
            selected = selected & ~cut.missing & (np.nan_to_num(cut.values) != 0)
        status = np.where(selected, status, Status.NOT_SELECTED).astype(np.uint8)
        label = None if self._label is None else self._labels(self._label, columns, n)
        if keep is None:
            return Rows(x, status, label)
        return Rows(x[keep], status[keep], None if label is None else label[keep])

    def read_labels(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Returns the truth labels alone, shape (stop - start,)."""
        if self._label is None:
            raise InputError(f"expected source.label; got none; for {self.path}")
        columns = self._tree.read(sorted(self._label.branches), start, stop)
        return self._labels(self._label, columns, stop - start)

    def read_keys(self, start: int, stop: int) -> NDArray[np.float64]:
        """Returns what identifies and orders the events, shape (stop - start, n)."""
        names = sorted({name for key in self._keys for name in key.branches})
        columns = self._tree.read(names, start, stop)
        values = [key.evaluate(columns, stop - start).values for key in self._keys]
        return np.stack(values, axis=1).astype(np.float64)

    def read_times(self, start: int, stop: int) -> NDArray[np.float64]:
        """Returns when rows start to stop were recorded, in seconds, shape (stop - start,)."""
        if self._time is None:
            raise InputError(f"expected source.time; got none; for {self.path}")
        columns = self._tree.read(sorted(self._time.branches), start, stop)
        return self._time.evaluate(columns, stop - start).values

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        self._tree.close()

    def _table(
        self, columns: dict[str, Column], n: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.bool_]]:
        """Returns the features of the table, whether they can be used, and which exist."""
        values = np.empty((n, self._schema.n_features))
        exists = np.ones(n, dtype=np.bool_)
        for column, expression in enumerate(self._features):
            evaluated = expression.evaluate(columns, n)
            values[:, column] = evaluated.values
            exists &= ~evaluated.missing
        return *to_float32(values), exists

    def _dijet_features(
        self, columns: dict[str, Column]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.bool_]]:
        """Returns the LHCO observables, whether they can be used, and which events have two
        jets.
        """
        first, second, exists = leading_two(columns, self._dijet)
        dijets = dijet_observables(first, second)
        return dijets.x, dijets.status, exists

    def _labels(self, label: Expression, columns: dict[str, Column], n: int) -> NDArray[np.uint8]:
        where = f"label {label.text!r} of {self.path}"
        return labels_from(label.evaluate(columns, n).values, where)


def leading_two(columns: dict[str, Column], prefix: str) -> tuple[Jets, Jets, NDArray[np.bool_]]:
    """Returns the two jets of highest pT of each event, NaN where there are fewer, and which
    events have two.

    Args:
        columns: lists ``<prefix>_pt`` and the other `DIJET_FIELDS`, in GeV and radians.
        prefix: the collection's name.

    Raises:
        InputError: the lists differ in length.
    """
    counts = ak.to_numpy(ak.num(columns[f"{prefix}_pt"])).astype(np.int64)
    fields = [columns[f"{prefix}_{name}"] for name in DIJET_FIELDS]
    if any(not np.array_equal(ak.to_numpy(ak.num(values)), counts) for values in fields):
        raise InputError(
            f"expected {prefix}_pt, _eta and the others to have equally many elements; got "
            f"different numbers; in the collection {prefix!r}"
        )
    flat = np.stack([ak.to_numpy(ak.flatten(values)) for values in fields], axis=1)
    event = np.repeat(np.arange(len(counts)), counts)
    flat = flat[np.lexsort((-flat[:, 0], event))]  # by event, then by falling pT
    has_two: NDArray[np.bool_] = counts >= 2
    start = (np.cumsum(counts) - counts)[has_two]
    pair: NDArray[np.float64] = np.full((2, len(counts), len(DIJET_FIELDS)), np.nan)
    pair[0, has_two] = flat[start]
    pair[1, has_two] = flat[start + 1]
    return Jets.from_cylindrical(pair[0]), Jets.from_cylindrical(pair[1]), has_two


def open_root(config: RootConfig) -> FileSource:
    """Returns the stream over ROOT files.

    Raises:
        InputError: a file, the tree, a branch or an expression isn't as expected.
    """
    return open_files(config.paths, lambda path: RootReader(path, config), config.selection)


def _schema_of(config: RootConfig) -> tuple[EventSchema, tuple[Expression, ...]]:
    if bool(config.dijet) == bool(config.features):
        raise InputError(
            f"expected either source.dijet or source.features; got dijet={config.dijet!r} and "
            f"{len(config.features)} features"
        )
    if config.dijet:
        return LHCO, ()
    try:
        schema = EventSchema(tuple(Feature(f.name, f.unit, f.low, f.high) for f in config.features))
    except SchemaError as error:
        raise InputError(f"source.features: {error}") from error
    return schema, tuple(
        Expression(f.expression, where=f"source.features {f.name!r}") for f in config.features
    )
