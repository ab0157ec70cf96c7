"""Events drawn from snapshots, once each, to be laid beside what is seen."""

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.schema import Feature

N_EVENTS = 32_768
"""Enough for a curve in fifty bins; drawn in a fraction of a second."""

SEED = 1
"""The same for all snapshots, so that two that are equal look equal."""

N_KEPT = 16
"""Snapshots whose events are kept: under a megabyte each."""


Key = tuple[Path, int]
"""Names a snapshot: its folder, and when it was written."""


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Events drawn from the first model of a snapshot.

    Args:
        features: what the columns are.
        x: events, shape (n, d), in the schema's units; empty where nothing could be drawn.
        problem: why not; empty where it could.
    """

    features: tuple[Feature, ...] = ()
    x: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    problem: str = ""

    def column(self, name: str) -> NDArray[np.float32] | None:
        """Returns the events' values of a feature, shape (n,); None where it isn't known."""
        names = [feature.name for feature in self.features]
        values: NDArray[np.float32] | None = None
        if name in names:
            values = self.x[:, names.index(name)]
        return values

    def expected(
        self, name: str, low: float, high: float, n_bins: int
    ) -> NDArray[np.floating[Any]]:
        """Returns the share of all events in each bin of a histogram, shape (n_bins,); no bins
        where the feature isn't known.
        """
        values = self.column(name)
        if values is None or not len(values):
            return np.empty(0)
        return np.histogram(values, n_bins, (low, high))[0] / len(values)


def draw(snapshot: Path) -> Draw:
    """Returns events drawn from a snapshot; one that can't be read says why. Loads torch."""
    import torch

    from onlineflows.errors import OnlineFlowsError
    from onlineflows.online.snapshot import read_snapshot

    torch.set_num_threads(1)  # the learner needs the others
    try:
        density = read_snapshot(snapshot).density()
        return Draw(density.schema.features, density.sample(N_EVENTS, SEED))
    except OnlineFlowsError as error:
        return Draw(problem=str(error))


class Draws:
    """The draws that were made, those used last. Each is kept under what it was drawn from: the
    snapshot's folder, and when that was written.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, Draw] = OrderedDict()

    def get(self, key: Key) -> Draw | None:
        """Returns what was drawn from a snapshot; None where that wasn't done yet."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: Key, drawn: Draw) -> None:
        """Keeps a draw; the one that wasn't used for longest gives way."""
        self._kept[key] = drawn
        while len(self._kept) > N_KEPT:
            self._kept.popitem(last=False)
