"""What a consumer says of itself while it learns; see `streams.telemetry`."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.online.history import told
from onlineflows.online.learner import Learner
from streams import EventSchema
from streams.telemetry import DriftAlarm, HistoryPoint, Marginal

N_BINS = 50
LEAST_EVENTS = 256
"""Ends of the histograms are chosen once there are so many events."""
BEYOND = 0.02
"""Share of the events at either end that a histogram needn't show."""
MARGIN = 0.25
"""How much wider than the rest a histogram is, on either side."""
N_ALARMS = 16
"""Alarms that are told: the newest."""


class Marginals:
    """Histograms of the newest events whose ends are chosen once, so that they can be compared.

    Args:
        schema: of the events.
    """

    def __init__(self, schema: EventSchema) -> None:
        self._schema = schema
        self._ends: list[tuple[float, float]] = []

    def of(self, x: NDArray[np.float32]) -> list[Marginal]:
        """Returns a histogram of each feature; none while there are too few events.

        Args:
            x: the newest events, shape (n, d).
        """
        if not self._ends:
            if len(x) < LEAST_EVENTS:
                return []
            self._ends = [
                ends_of(x[:, i], feature.low, feature.high)
                for i, feature in enumerate(self._schema.features)
            ]
        counts = histograms(x, self._ends)
        return [
            Marginal(feature.name, feature.unit, low, high, counted, len(x))
            for feature, (low, high), counted in zip(
                self._schema.features, self._ends, counts, strict=True
            )
        ]


def histograms(x: NDArray[np.float32], ends: Sequence[tuple[float, float]]) -> list[list[int]]:
    """Returns how many events are in each of `N_BINS` bins of equal width, feature by feature.

    All features in one pass: it is done once a second in the learner's own loop.

    Args:
        x: events, shape (n, d).
        ends: of each feature's histogram; both belong to it.

    Example:
        >>> counts = histograms(np.array([[0.5], [1.0], [3.0]], np.float32), [(0.0, 1.0)])[0]
        >>> counts[25], counts[49], sum(counts)
        (1, 1, 2)
    """
    low, high = np.array(ends).T
    places = (x - low) * (N_BINS / (high - low))
    inside = (places >= 0) & (x <= high)
    bins = np.minimum(places[inside].astype(np.intp), N_BINS - 1)
    bins += (np.arange(len(ends)) * N_BINS + np.zeros((len(x), 1), np.intp))[inside]
    counts: list[list[int]] = (
        np.bincount(bins, minlength=len(ends) * N_BINS).reshape(len(ends), N_BINS).tolist()
    )
    return counts


def ends_of(values: NDArray[np.floating[Any]], low: float, high: float) -> tuple[float, float]:
    """Returns the ends of a histogram that shows nearly all values, inside the support.

    Args:
        values: shape (n,).
        low: lower end of the support; may be infinite.
        high: upper end; may be infinite.

    Example:
        >>> ends_of(np.linspace(0, 1, 1001), 0.0, np.inf)
        (0.0, 1.22)
    """
    inner_low, inner_high = (float(q) for q in np.quantile(values, [BEYOND, 1 - BEYOND]))
    margin = MARGIN * (inner_high - inner_low) or max(abs(inner_low), 1.0)
    ends = max(low, inner_low - margin), min(high, inner_high + margin)
    return ends if ends[0] < ends[1] else (inner_low - margin, inner_high + margin)


def history_of(learner: Learner) -> list[HistoryPoint]:
    """Returns the NLL of new events over the run; the last is a mean over enough of the newest.

    Whoever listens can't see how many events a point holds, and takes the last for the NLL of now.
    """
    points = told(learner.history.points())
    return [HistoryPoint(p.n_seen, round(p.nll, 5)) for p in points if math.isfinite(p.nll)]


def alarms_of(learner: Learner) -> list[DriftAlarm]:
    """Returns the newest drift alarms."""
    return [
        DriftAlarm(a.n_seen, a.lumisection, a.nll_before, a.nll_after)
        for a in learner.drift.alarms[-N_ALARMS:]
    ]
