"""Two snapshots side by side: what changed in what they say, and how far apart their densities are.

Everything is a pure function of snapshots, number of samples and seed;
`SnapshotComparison.document` is what machines and pages get.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from onlineflows.density import Density
from onlineflows.errors import ConfigError, SnapshotError
from onlineflows.offline.changes import Changes, changes_between
from onlineflows.offline.divergence import DensityComparison, compare_densities, require_enough
from onlineflows.online.snapshot import Snapshot
from streams import SchemaError


@dataclass(frozen=True, slots=True)
class MapShift:
    """How far the frozen marginal map of a feature moved, over samples of both snapshots.

    Args:
        name: of the feature.
        largest: the largest |z_b(x) - z_a(x)|; z is near standard normal.
        rms: the root of its mean square.
    """

    name: str
    largest: float
    rms: float


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotComparison:
    """Two snapshots side by side.

    Args:
        changes: what the manifests say differently.
        preprocessing: how far the marginal map of each feature moved; empty where the densities
            aren't comparable.
        density: how far apart the densities are; None where they aren't comparable.
        why_not: the reason why not, empty where they are.
    """

    changes: Changes
    preprocessing: tuple[MapShift, ...]
    density: DensityComparison | None
    why_not: str

    def document(self) -> dict[str, Any]:
        """Returns plain JSON types."""
        return {
            "changes": self.changes.document(),
            "preprocessing": [asdict(shift) for shift in self.preprocessing],
            "density": None if self.density is None else self.density.document(),
            "why_not": self.why_not or None,
        }


def compare_snapshots(
    a: Snapshot, b: Snapshot, *, n: int, seed: int, model: str | None = None
) -> SnapshotComparison:
    """Returns what changed between two snapshots, and how far apart their densities are.

    Densities of different events, as with another schema or another window, can't be compared:
    then only the manifests are, and the result says why.

    Args:
        a: the first, say the older one.
        b: the second.
        n: samples drawn from each.
        seed: of the draws.
        model: which model of both; None for the first of a.

    Raises:
        ConfigError: neither has a model of this name, or there are too few samples.
    """
    require_enough(n)
    changes = changes_between(a.manifest, b.manifest)
    name = a.model_names[0] if model is None else model
    if name not in b.model_names:
        a.entry(name)  # raises where neither has it
    try:
        first, second = a.density(name), b.density(name)
        first.schema.require_equal(second.schema, where=f"densities of model {name!r}")
    except (ConfigError, SchemaError, SnapshotError) as error:
        return SnapshotComparison(changes, (), None, str(error))
    compared = compare_densities(first, second, n=n, seed=seed, model=name)
    return SnapshotComparison(changes, _map_shifts(first, second, compared), compared, "")


def _map_shifts(a: Density, b: Density, compared: DensityComparison) -> tuple[MapShift, ...]:
    x = np.concatenate([compared.x_a, compared.x_b])
    moved = b.preprocessing.forward(x)[0] - a.preprocessing.forward(x)[0]
    largest, rms = np.abs(moved).max(axis=0), np.sqrt((moved**2).mean(axis=0))
    return tuple(
        MapShift(name, float(most), float(typical))
        for name, most, typical in zip(compared.schema.names, largest, rms, strict=True)
    )
