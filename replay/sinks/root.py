"""Events as a ROOT file: a TTree ``Events`` with one float branch per feature."""

from pathlib import Path

import numpy as np
import uproot
from numpy.typing import NDArray

from replay.sinks.atomic import LABEL

TREE = "Events"
BASKET_ROWS = 65_536
"""Events are gathered until so many are there: a basket per small call would be slow to read."""


class RootWriter:
    """Writes a TTree in baskets of some 65,000 events.

    Args:
        path: the file.
        names: the branches' names.
        has_label: whether a branch ``label`` follows.
    """

    def __init__(self, path: Path, names: tuple[str, ...], *, has_label: bool) -> None:
        self._names = names
        self._held: list[tuple[NDArray[np.float32], NDArray[np.uint8] | None]] = []
        self._n_held = 0
        self._file = uproot.recreate(path)
        branches: dict[str, str] = dict.fromkeys(names, "f4")
        if has_label:
            branches[LABEL] = "u1"
        self._tree = self._file.mktree(TREE, branches)

    def append(self, x: NDArray[np.float32], label: NDArray[np.uint8] | None) -> None:
        """Appends events and their labels."""
        self._held.append((x.copy(), None if label is None else label.copy()))
        self._n_held += len(x)
        if self._n_held >= BASKET_ROWS:
            self._flush()

    def finish(self) -> None:
        """Writes what is held and closes the file."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if self._n_held:
            x = np.concatenate([x for x, _ in self._held])
            columns: dict[str, NDArray[np.generic]] = dict(zip(self._names, x.T, strict=True))
            labels = [label for _, label in self._held if label is not None]
            if labels:
                columns[LABEL] = np.concatenate(labels)
            self._tree.extend(columns)
        self._held, self._n_held = [], 0
