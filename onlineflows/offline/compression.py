"""The equivalent trigger fraction: how many stored events search as well as a snapshot.

The equivalent fraction f* is that of the events whose search has the significance Z of the
snapshot's (see `onlineflows.offline.searches`; 2202.09375 asks for the trigger reduction of equal
significance, the definitions here are ours). With the SIC in place of Z, f* compares the
classifiers alone. A snapshot is worth its bytes where f* is above f_store, its bytes over those of
all events.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from onlineflows.errors import DataError
from onlineflows.offline.metrics import Value
from onlineflows.offline.searches import SnapshotSearches, Statistic, StoredCurve, Yields

Floats = NDArray[np.float64]
Bound = Literal["", "at_least", "at_most"]

N_BOOTSTRAP = 500
BAND = (15.865, 84.135)
"""Percentiles of the band: one standard deviation of a Gaussian."""


@dataclass(frozen=True, slots=True)
class Equivalent:
    """Stored events that search as well as a snapshot.

    Args:
        n_events: how many.
        low: lower end of the band.
        high: upper end of the band.
        bound: "at_least" where the snapshot is better than the largest number measured, "at_most"
            where it is no better than the smallest; `n_events` is that number then.
    """

    n_events: float
    low: float
    high: float
    bound: Bound


def equivalent_events(
    n_events: NDArray[np.int64],
    stored: Sequence[Floats],
    target: Floats,
    *,
    rng: np.random.Generator,
    n_bootstrap: int = N_BOOTSTRAP,
) -> Equivalent:
    """Returns the number of stored events whose search is as good as the snapshot's.

    The medians over draws are made monotone (isotonic regression) and interpolated in log n. The
    band is a bootstrap over the draws at every n and over the snapshot's trainings.

    Args:
        n_events: numbers of stored events, rising, shape (k,).
        stored: a statistic's draws at each, k lists.
        target: its draws for the snapshot, shape (t,).
        rng: of the bootstrap.
        n_bootstrap: resamplings.

    Raises:
        DataError: there is nothing to compare.
    """
    if len(n_events) < 2 or len(stored) != len(n_events) or not len(target):
        raise DataError(
            "expected searches on at least two numbers of stored events and one on the snapshot; "
            f"got {len(n_events)} and {len(target)}"
        )
    log_n = np.log(n_events)
    central, bound = _crossing(log_n, np.array([np.median(v) for v in stored]), np.median(target))
    resampled = [
        _crossing(
            log_n,
            np.array([np.median(rng.choice(v, len(v))) for v in stored]),
            np.median(rng.choice(target, len(target))),
        )[0]
        for _ in range(n_bootstrap)
    ]
    low, high = np.percentile(resampled, BAND)
    return Equivalent(
        math.exp(central), math.exp(min(low, central)), math.exp(max(high, central)), bound
    )


def _crossing(log_n: Floats, values: Floats, target: np.floating[Any]) -> tuple[float, Bound]:
    """The log n at which the monotone curve through the values first reaches the target."""
    curve: Floats = isotonic_regression(values).x
    if target > curve[-1]:
        return float(log_n[-1]), "at_least"
    if target <= curve[0]:
        return float(log_n[0]), "at_most" if target < curve[0] else ""
    right = int(np.argmax(curve >= target))
    share = (target - curve[right - 1]) / (curve[right] - curve[right - 1])
    return float(log_n[right - 1] + share * (log_n[right] - log_n[right - 1])), ""


@dataclass(frozen=True, slots=True, eq=False)
class CompressionResult:
    """What a snapshot is worth in stored events.

    Args:
        n_seen: events that the snapshot stands for.
        f_store: bytes of the snapshot over bytes of the events.
        stored: searches on stored events.
        snapshot: searches on the snapshot.
        yields: of the stream; its signal is 0 where its share isn't known.
        equivalent: stored events of equal statistic, by statistic.
    """

    n_seen: int
    f_store: float
    stored: StoredCurve
    snapshot: SnapshotSearches
    yields: Yields
    equivalent: Mapping[Statistic, Equivalent] = field(default_factory=dict)

    def fraction(self, statistic: Statistic) -> Value:
        """Returns f* with half the width of its band."""
        found = self.equivalent[statistic]
        return Value(found.n_events / self.n_seen, (found.high - found.low) / 2 / self.n_seen)

    def document(self) -> dict[str, Any]:
        """Returns plain JSON types."""
        document: dict[str, Any] = {
            "n_seen": self.n_seen,
            "f_store": self.f_store,
            "snapshot_sic": _spread(self.snapshot.sic),
            "stored": [
                {"n_events": int(n), "f": int(n) / self.n_seen, "sic": _spread(draws)}
                for n, draws in zip(self.stored.n_events, self.stored.sic, strict=True)
            ],
        }
        if "significance" in self.equivalent:
            document["snapshot_significance"] = _spread(self.snapshot.significance)
            document["signal_kept"] = _spread(self.snapshot.signal_kept)
            z = self.stored.values("significance", self.yields)
            for row, draws in zip(document["stored"], z, strict=True):
                row["significance"] = _spread(draws)
        for statistic, found in self.equivalent.items():
            document[f"equivalent_{statistic}"] = {
                "f": found.n_events / self.n_seen,
                "low": found.low / self.n_seen,
                "high": found.high / self.n_seen,
                "gain": found.n_events / self.n_seen / self.f_store,
                "bound": found.bound,
            }
        return document


def compare_with_stored(
    stored: StoredCurve,
    snapshot: SnapshotSearches,
    *,
    yields: Yields,
    n_seen: int,
    f_store: float,
    rng: np.random.Generator,
) -> CompressionResult:
    """Returns f* in both statistics; of the SIC alone where the yield of signal isn't known.

    Args:
        stored: searches on stored events of the same stream; numbers above `n_seen` are left out.
        snapshot: searches on the snapshot.
        yields: of the stream.
        n_seen: events that the snapshot stands for.
        f_store: bytes of the snapshot over bytes of the events.
        rng: of the bootstrap.
    """
    kept = [i for i, n in enumerate(stored.n_events) if n <= n_seen]
    stored = StoredCurve(stored.n_events[kept], tuple(stored.sic[i] for i in kept))
    statistics: tuple[Statistic, ...] = ("significance", "sic") if yields.signal > 0 else ("sic",)
    equivalent = {
        statistic: equivalent_events(
            stored.n_events,
            stored.values(statistic, yields),
            snapshot.values(statistic),
            rng=rng,
        )
        for statistic in statistics
    }
    return CompressionResult(n_seen, f_store, stored, snapshot, yields, equivalent)


def _spread(draws: Floats) -> dict[str, float]:
    """Median, mean and standard deviation of draws."""
    return {
        "median": float(np.median(draws)),
        "mean": float(draws.mean()),
        "std": float(draws.std(ddof=1)) if len(draws) > 1 else 0.0,
    }
