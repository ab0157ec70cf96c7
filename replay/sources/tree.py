"""A TTree or an RNTuple through uproot: columns of numbers under the same names in both."""

import lzma
import os
import struct
import weakref
import zlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import awkward as ak
import cramjam
import numpy as np
import uproot

from replay.sources.evaluation import Column
from replay.sources.reader import first_line
from streams import InputError
from streams.errors import nearest

UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    StopIteration,
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

TREE_CLASSES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")


def open_root(path: Path) -> tuple[BinaryIO, Any]:
    """Returns an open file and what uproot makes of it.

    The file object is ours, because uproot leaves its own open where it finds damage. Reads are
    plain: a memory map would make the resident size grow with the file.

    Raises:
        InputError: there is no such file, it isn't a ROOT file, or its end is missing.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        there = [p.name for p in path.parent.glob(f"*{path.suffix}")]
        raise InputError(
            f"expected a ROOT file; there is none; {nearest(path.name, there)}; at {path}"
        ) from error
    except OSError as error:
        raise InputError(f"expected a ROOT file; got {first_line(error)}; at {path}") from error
    try:
        return file, uproot.open(file, use_threads=False, num_workers=1)
    except UNREADABLE as error:
        n_bytes = file.seek(0, os.SEEK_END)
        file.close()
        is_short = str(error).startswith("expected Chunk of length")
        got = f"{n_bytes:,} bytes that end too early" if is_short else first_line(error)
        raise _no_root(path, got) from error


def _no_root(path: Path, got: str) -> InputError:
    return InputError(f"expected a ROOT file; got {got}; at {path}; is it complete?")


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
        self._bytes, self._file = open_root(path)
        # uproot's objects refer to each other: without this, a forgotten tree stays open for long.
        weakref.finalize(self, self._bytes.close)
        try:
            self._require_whole()
            self._tree = self._find_tree(name)
            self._keys = _canonical_names(_keys(self._tree))
            self.n_rows = int(self._tree.num_entries)
        except UNREADABLE as error:
            self.close()
            raise InputError(
                f"expected a readable TTree or RNTuple; got {first_line(error)}; at {self._where}"
            ) from error
        except InputError:
            self.close()
            raise

    @property
    def keys(self) -> Mapping[str, str]:
        """The file's own key of each branch, by the name that the branch has here."""
        return self._keys

    def type_names(self) -> dict[str, str]:
        """Returns the C++ type of each branch, by the name that the branch has here.

        Raises:
            InputError: the tree's description is damaged.
        """
        try:
            own = {key: str(self._tree[key].typename) for key in self._keys.values()}
        except UNREADABLE as error:
            raise InputError(
                f"expected a readable TTree or RNTuple; got {first_line(error)}; at {self._where}"
            ) from error
        # In an RNTuple the elements of a list are a field of their own: Jet._0.pt.
        lists = set(_keys(self._tree, only_lists=True))
        return {name: _with_lists(key, own[key], lists) for name, key in self._keys.items()}

    def _require_whole(self) -> None:
        # A tree can often be read from a file that lacks its end; then it isn't what was written.
        expected, got = int(self._file.file.fEND), self.path.stat().st_size
        if got < expected:
            raise InputError(
                f"expected {expected} bytes; got {got}; at {self.path}; the file is cut short"
            )

    def _find_tree(self, name: str) -> Any:
        trees = _tree_names(self._file)
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
                f"expected a readable TTree or RNTuple; got {first_line(error)}; at {self._where}"
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
                    f"{first_line(error)}; at {self._where}"
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
        self._bytes.close()


def tree_names(path: Path) -> list[str]:
    """Returns the names of all trees and RNTuples in a file, in its order.

    Raises:
        InputError: it isn't a ROOT file, or damaged.
    """
    file, opened = open_root(path)
    with file, opened:
        try:
            return _tree_names(opened)
        except UNREADABLE as error:
            raise _no_root(path, first_line(error)) from error


def _tree_names(file: Any) -> list[str]:
    return [key for key, kind in file.classnames(cycle=False).items() if kind in TREE_CLASSES]


def _keys(tree: Any, *, only_lists: bool = False) -> list[str]:
    """Returns the names of a tree's branches or fields, with those inside of others; or only those
    of an RNTuple's lists.

    An RNTuple's own `keys` takes seconds for some thousand fields: it scans all for each.
    """
    if not hasattr(tree, "field_records"):
        return [] if only_lists else list(tree.keys())
    paths: list[str] = []
    lists: list[str] = []
    for number, record in enumerate(tree.field_records):
        parent, name = record.parent_field_id, record.field_name
        above = "" if parent == number else paths[parent]
        if name.startswith("_") and name[1:].isdigit():  # the elements of a collection
            paths.append(above)
            lists.append(above)
        else:
            paths.append(f"{above}.{name}" if above else name)
    return lists if only_lists else paths


def _with_lists(key: str, type_name: str, lists: Collection[str]) -> str:
    """The type of a branch as an event has it: of the field ``Jet.pt`` there is a list."""
    above = (key[:i] for i, letter in enumerate(key) if letter == ".")
    n_lists = sum(field in lists for field in above)
    return "std::vector<" * n_lists + type_name + ">" * n_lists


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
