"""A TTree or an RNTuple with one number per event in each column."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from replay.sinks.root import TREE
from replay.sources.tree import Tree
from streams import InputError


class TreeColumns:
    """The flat branches of the tree ``Events``.

    Args:
        path: the file.

    Raises:
        InputError: not a ROOT file, truncated, or without such a tree.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tree = Tree(path, TREE)
        keys = self._tree.keys
        # The file's own names, "a.b", and those that expressions use, "a_b".
        self._branches = {name: name for name in keys} | {key: name for name, key in keys.items()}
        self.columns = tuple(self._branches)
        self.n_rows = self._tree.n_rows

    def read(self, columns: Sequence[str], start: int, stop: int) -> NDArray[np.float64]:
        """Returns some columns of rows start to stop, shape (stop - start, n).

        Raises:
            InputError: the file is damaged there, or a branch isn't one number per event.
        """
        branches = [self._branches[name] for name in columns]
        read = self._tree.read(branches, start, stop)
        for name, values in read.items():
            if not isinstance(values, np.ndarray):
                raise InputError(
                    f"expected one number per event; got lists; in branch {name!r} of {self._path}"
                )
        return np.column_stack([read[branch] for branch in branches])

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        self._tree.close()
