"""Signal region and sidebands: intervals of the resonant variable m, and their weights."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import ConfigError, TooFewEventsError

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Regions:
    """A signal region and the sidebands around it.

    Every interval includes its lower end and excludes its upper one, so that adjacent intervals
    share no event and leave none out.

    Args:
        signal_region: interval of m, in the unit of the schema's resonant feature.
        sidebands: one or more strips that overlap neither the signal region nor each other.

    Raises:
        ConfigError: an interval is empty or not finite, or two of them overlap.

    Example:
        >>> regions = Regions((3.3, 3.7), ((3.1, 3.3), (3.7, 3.9)))
        >>> regions.in_signal_region(np.array([3.2, 3.5, 3.8]))
        array([False,  True, False])

    Reference:
        The strips of CWoLa hunting in Hallin et al. 2021 (2109.00546): 3.3-3.7 TeV against the
        adjacent 200 GeV.
    """

    signal_region: Interval = (3.3, 3.7)
    sidebands: tuple[Interval, ...] = ((3.1, 3.3), (3.7, 3.9))

    def __post_init__(self) -> None:
        if not self.sidebands:
            raise ConfigError("sidebands: expected at least one interval; got none")
        named = [("signal_region", self.signal_region)]
        named += [(f"sidebands[{i}]", strip) for i, strip in enumerate(self.sidebands)]
        for name, (low, high) in named:
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigError(f"{name}: expected finite low < high; got ({low}, {high})")
        ordered = sorted(named, key=lambda pair: pair[1])
        for (left, a), (right, b) in itertools.pairwise(ordered):
            if b[0] < a[1]:
                raise ConfigError(
                    f"{right}: expected intervals that don't overlap; got {b} and {left} {a}"
                )

    def in_signal_region(self, m: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Returns which events lie in the signal region, shape (n,)."""
        low, high = self.signal_region
        inside: NDArray[np.bool_] = (m >= low) & (m < high)
        return inside

    def strip(self, m: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
        """Returns the index of the sideband that each event lies in, -1 for none, shape (n,)."""
        index = np.full(m.shape, -1, dtype=np.intp)
        for i, (low, high) in enumerate(self.sidebands):
            index[(m >= low) & (m < high)] = i
        return index


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The events of a data set that take part in signal region against sidebands.

    Args:
        index: rows of the selected events, shape (n,).
        target: 1 in the signal region, 0 in a sideband, shape (n,).
        weight: training weights, shape (n,); see `select`.
    """

    index: NDArray[np.intp]
    target: NDArray[np.uint8]
    weight: NDArray[np.float64]

    @property
    def n_signal_region(self) -> int:
        """Events in the signal region."""
        return int(np.count_nonzero(self.target))

    @property
    def n_sidebands(self) -> int:
        """Events in all sidebands together."""
        return len(self.target) - self.n_signal_region


def select(m: NDArray[np.floating[Any]], regions: Regions) -> Selection:
    """Returns the events in the regions with weights that balance them.

    Every event of the signal region weighs 1. Each strip's events share one weight such that all
    strips have the same sum and together that of the signal region: the falling spectrum would
    otherwise let the lower strip dominate, and features that drift linearly with m would differ on
    average between the two classes.

    Args:
        m: the resonant feature, shape (n,), in the unit of the regions.
        regions: signal region and sidebands.

    Raises:
        TooFewEventsError: the signal region or a strip is empty.

    Reference:
        Hallin et al. 2021 (2109.00546), the settings of CWoLa hunting in its published code.
    """
    inside = regions.in_signal_region(m)
    strip = regions.strip(m)
    counts = [int(np.count_nonzero(strip == i)) for i in range(len(regions.sidebands))]
    n_inside = int(np.count_nonzero(inside))
    if n_inside == 0 or 0 in counts:
        raise TooFewEventsError(
            f"expected events in the signal region {regions.signal_region} and in each sideband "
            f"{regions.sidebands}; got {n_inside} and {counts} of {len(m)} events; "
            "move the regions to where the data are, or use more events"
        )
    index = np.flatnonzero(inside | (strip >= 0))
    per_strip = np.array([n_inside / (len(counts) * count) for count in counts])
    weight = np.where(inside[index], 1.0, per_strip[strip[index]])
    return Selection(index=index, target=inside[index].astype(np.uint8), weight=weight)
