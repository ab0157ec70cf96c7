"""ROOT files through uproot: TTree and RNTuple, flat branches and lists, read in chunks."""

import lzma
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import awkward as ak
import cramjam
import numpy as np
import uproot
from numpy.typing import NDArray

from replay.observables import Jets, dijet_observables
from replay.settings import RootConfig
from replay.sources.expressions import Column, Expression
from replay.sources.files import FileSource, open_files
from replay.sources.reader import Rows, labels_from
from streams import LHCO, EventSchema, Feature, InputError, Status
from streams.errors import nearest

DIJET_FIELDS = ("pt", "eta", "phi", "mass", "tau1", "tau2")
"""What a jet collection must hold, in GeV and radians; ``mass`` is the ungroomed one."""

UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    cramjam.DecompressionError,
    lzma.LZMAError,
    struct.error,
    uproot.DeserializationError,
    zlib.error,
)
"""What uproot and its decompressors raise over damaged files: wrong bytes become wrong lengths,
types and names. Found by overwriting bytes (tests/replay/test_root.py)."""


class Tree:
    """A TTree or an RNTuple as columns of float64, addressed by the same names in both.

    Args:
        path: the file.
        name: the tree's name.

    Raises:
        InputError: not a ROOT file, truncated, or without such a tree.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self._where = f"{path}, tree {name!r}"
        try:
            # A dict keeps colons in file names from being read as "file:tree". Plain reads, in
            # this thread: a memory map would make the resident size grow with the file.
            self._file = uproot.open(
                {str(path): None},
                handler=uproot.MultithreadedFileSource,
                use_threads=False,
                num_workers=1,
            )
        except UNREADABLE as error:
            raise InputError(
                f"expected a ROOT file; got {_first_line(error)}; at {path}; is it complete?"
            ) from error
        try:
            self._require_whole()
            self._tree = self._find_tree(name)
            self._keys = _canonical_names(_keys(self._tree))
            self.n_rows = int(self._tree.num_entries)
        except UNREADABLE as error:
            self.close()
            raise InputError(
                f"expected a readable TTree or RNTuple; got {_first_line(error)}; at {self._where}"
            ) from error
        except InputError:
            self.close()
            raise

    def _require_whole(self) -> None:
        # A tree can often be read from a file that lacks its end; then it isn't what was written.
        expected, got = int(self._file.file.fEND), self.path.stat().st_size
        if got < expected:
            raise InputError(
                f"expected {expected} bytes; got {got}; at {self.path}; the file is cut short"
            )

    def _find_tree(self, name: str) -> Any:
        trees = [
            key
            for key, kind in self._file.classnames(cycle=False).items()
            if kind in ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
        ]
        if name not in trees:
            raise InputError(
                f"expected a TTree or RNTuple {name!r}; {nearest(name, trees)}; at {self.path}; "
                f"set source.tree"
            )
        return self._file[name]

    def require(self, branches: Iterable[str]) -> None:
        """Raises InputError, with the nearest names, unless all branches exist."""
        for branch in sorted(branches):
            if branch not in self._keys:
                raise InputError(
                    f"expected a branch {branch!r}; {nearest(branch, self._keys)}; at {self._where}"
                )

    def cluster_rows(self, branches: Iterable[str]) -> int:
        """Returns how many rows are compressed together at most in any of some branches.

        Raises:
            InputError: the tree's tables are damaged.
        """
        try:
            summaries = getattr(self._tree, "cluster_summaries", None)
            if summaries is not None:
                sizes = [int(cluster.num_entries) for cluster in summaries]
            else:
                offsets = [self._tree[self._keys[name]].entry_offsets for name in branches]
                sizes = [int(np.diff(o).max(initial=1)) for o in offsets]
        except UNREADABLE as error:
            raise InputError(
                f"expected a readable TTree or RNTuple; got {_first_line(error)}; at {self._where}"
            ) from error
        return max(sizes, default=1)

    def read(self, branches: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        """Returns branches of rows start to stop: arrays of shape (n,) or lists, as float64.

        Raises:
            InputError: a branch is damaged there, or holds neither numbers nor lists of them.
        """
        columns = {}
        for branch in branches:
            try:
                array = self._tree[self._keys[branch]].array(
                    entry_start=start, entry_stop=stop, array_cache=None
                )
            except UNREADABLE as error:
                raise InputError(
                    f"expected readable rows {start} to {stop} of branch {branch!r}; got "
                    f"{_first_line(error)}; at {self._where}"
                ) from error
            columns[branch] = self._as_numbers(array, branch)
            if len(columns[branch]) != stop - start:
                raise InputError(
                    f"expected {stop - start} rows; got {len(columns[branch])}; in branch "
                    f"{branch!r} of {self._where}"
                )
        return columns

    def _as_numbers(self, array: Any, branch: str) -> Column:
        is_numeric = not array.fields and "string" not in str(array.type)
        if is_numeric and array.ndim == 1:
            # int and bool become float64: unsigned counters would wrap when subtracted.
            return ak.to_numpy(array).astype(np.float64)
        if is_numeric and array.ndim == 2:
            lists = ak.values_astype(ak.from_regular(array), np.float64)
            if not ak.is_valid(lists):
                raise InputError(
                    f"expected lists of zero or more elements; got {ak.validity_error(lists)}; in "
                    f"branch {branch!r} of {self._where}; the file is damaged"
                )
            return lists
        raise InputError(
            f"expected numbers or lists of numbers; got {array.type}; in branch {branch!r} of "
            f"{self._where}"
        )

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        self._file.close()


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
        self._branches = self._needed_branches()
        self._tree = Tree(path, config.tree)
        try:
            self._tree.require(self._branches)
            rows = self._tree.cluster_rows(self._branches)
            self._block_rows = min(max(rows, 1024), 32_768)
            self.read_rows(0, min(1, self.n_rows))  # wrong types show at the start of a run
        except InputError:
            self.close()
            raise

    def _needed_branches(self) -> tuple[str, ...]:
        expressions = [*self._features, self._cut, self._label]
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
        x, usable, selected = (
            self._dijet_features(columns) if self._dijet else self._table(columns, n)
        )
        if self._cut is not None:
            cut = self._cut.evaluate(columns, n)
            selected = selected & ~cut.missing & (np.nan_to_num(cut.values) != 0)
        status = np.where(usable, Status.GOOD, Status.BAD_INPUT)
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

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        self._tree.close()

    def _table(
        self, columns: dict[str, Column], n: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """Returns the features of the table, which are finite, and which exist."""
        x = np.empty((n, self._schema.n_features), dtype=np.float32)
        exists = np.ones(n, dtype=np.bool_)
        for column, expression in enumerate(self._features):
            evaluated = expression.evaluate(columns, n)
            with np.errstate(over="ignore"):
                x[:, column] = evaluated.values
            exists &= ~evaluated.missing
        return x, np.asarray(np.isfinite(x).all(axis=1)), exists

    def _dijet_features(
        self, columns: dict[str, Column]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """Returns the LHCO observables, which are usable, and which events have two jets."""
        first, second, exists = leading_two(columns, self._dijet)
        dijets = dijet_observables(first, second)
        return dijets.x, dijets.status == Status.GOOD, exists

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
    schema = EventSchema(tuple(Feature(f.name, f.unit, f.low, f.high) for f in config.features))
    return schema, tuple(
        Expression(f.expression, where=f"source.features {f.name!r}") for f in config.features
    )


def _keys(tree: Any) -> list[str]:
    """Returns the names of a tree's branches or fields, with those inside of others.

    An RNTuple's own `keys` takes seconds for some thousand fields: it scans all for each.
    """
    if not hasattr(tree, "field_records"):
        return list(tree.keys())
    paths: list[str] = []
    for number, record in enumerate(tree.field_records):
        parent, name = record.parent_field_id, record.field_name
        above = "" if parent == number else paths[parent]
        if name.startswith("_") and name[1:].isdigit():  # the elements of a collection
            paths.append(above)
        else:
            paths.append(f"{above}.{name}" if above else name)
    return paths


def _canonical_names(keys: Iterable[str]) -> dict[str, str]:
    """Returns the key of each branch under the name that expressions use.

    An RNTuple's field ``Jet.pt`` is ``Jet_pt``, a TTree's ``event/met`` is ``met``; a key that
    is a name already comes first. Fields below ``_collection...`` repeat others.
    """
    names: dict[str, str] = {}
    for key in sorted(keys, key=lambda k: ("." in k or "/" in k, k)):
        if not key.startswith("_collection"):
            last = key.rsplit("/", 1)[-1]
            names.setdefault(last.rstrip(".").replace(".", "_"), key)
    return names


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "") or repr(error)
