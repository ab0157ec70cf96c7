"""What changed from one snapshot to another, feature by feature.

Both are drawn from with the same random numbers: distances between equal snapshots are zero, and
those between others scatter less than between draws that are independent.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.live.draws import Draw
from onlineflows.offline.distances import ks_distance, wasserstein_distance

N_BINS = 50
REACH = 0.002
"""Share of the events at either end that a histogram needn't show."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureChange:
    """How the marginal of a feature differs between two snapshots.

    Args:
        name, unit: of the feature.
        edges: of the bins, shape (k + 1,).
        before, after: share of the events in each bin, shape (k,).
        shift: distance that probability must be moved (Wasserstein), in the feature's unit.
        shift_in_widths: the same in standard deviations of the earlier snapshot, those of a sample
            (n - 1), as in `offline.divergence`; 0 where it has no width.
        kolmogorov: largest distance of the distribution functions.
    """

    name: str
    unit: str
    edges: NDArray[np.floating[Any]]
    before: NDArray[np.floating[Any]]
    after: NDArray[np.floating[Any]]
    shift: float
    shift_in_widths: float
    kolmogorov: float


def changes(before: Draw, after: Draw) -> tuple[FeatureChange, ...]:
    """Returns what changed in each feature that both snapshots have; nothing where there are no
    events.
    """
    if not (len(before.x) and len(after.x)):
        return ()
    found = []
    for feature in before.features:
        a, b = before.column(feature.name), after.column(feature.name)
        if a is not None and b is not None:
            found.append(_change(feature.name, feature.unit, a, b))
    return tuple(found)


def _change(name: str, unit: str, a: NDArray[np.float32], b: NDArray[np.float32]) -> FeatureChange:
    ends = np.quantile(np.concatenate([a, b]), [REACH, 1 - REACH])
    low, high = float(ends[0]), float(ends[1])
    edges = np.linspace(low, high if high > low else low + 1.0, N_BINS + 1)
    width = float(a.std(ddof=1, dtype=np.float64)) if len(a) > 1 else 0.0
    shift = wasserstein_distance(a, b)
    return FeatureChange(
        name=name,
        unit=unit,
        edges=edges,
        before=np.histogram(a, edges)[0] / len(a),
        after=np.histogram(b, edges)[0] / len(b),
        shift=shift,
        shift_in_widths=shift / width if width > 0 else 0.0,
        kolmogorov=ks_distance(a, b),
    )
