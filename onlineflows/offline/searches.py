"""Searches for a signal on events that somebody holds: stored ones, or samples of a snapshot.

A search trains a classifier on the events that it holds and cuts on its score. Its working point
is the cut with the largest significance improvement SIC = eps_S / sqrt(eps_B) on labelled events,
above a floor of background events. Of n stored events, s and b of each being signal and background
in the signal region, the cut has the significance

    Z = eps_S n s / sqrt(eps_B n b) = SIC sqrt(n) s / sqrt(b).

A snapshot of N events is searched in the same way on its samples, and what passes is counted in
samples that were not trained on, scaled to N: Z = (passed - eps_B N b) / sqrt(eps_B N b), where an
excess beyond eps_S N s, which only an error of the model can be, isn't counted.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import TooFewEventsError
from onlineflows.offline.metrics import roc, sic
from onlineflows.offline.scores import Evaluation

Events = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]
Score = Callable[[Events], Floats]
Train = Callable[[Events, np.random.Generator], Score]
"""Trains a search on unlabelled events (n, d); may raise TooFewEventsError."""
Draw = Callable[[int, np.random.Generator], Events]
"""Returns n events."""
Statistic = Literal["significance", "sic"]


@dataclass(frozen=True, slots=True)
class Yields:
    """What an event of the stream is in the signal region, on average.

    Args:
        signal: share of all events that are signal and lie in the signal region.
        background: the same of background.
    """

    signal: float
    background: float

    @classmethod
    def from_labels(
        cls, evaluation: Evaluation, inside: NDArray[np.bool_], fraction: float
    ) -> Self:
        """Returns the yields of a stream with a known share of signal.

        Args:
            evaluation: labelled events of the whole spectrum.
            inside: which of them lie in the signal region, shape (n,).
            fraction: share of signal in the stream.
        """
        signal = evaluation.label == 1
        return cls(
            fraction * float(inside[signal].mean()),
            (1 - fraction) * float(inside[~signal].mean()),
        )

    @property
    def significance(self) -> float:
        """The significance of one event without a cut, s / sqrt(b)."""
        return self.signal / math.sqrt(self.background)


@dataclass(frozen=True, slots=True)
class WorkingPoint:
    """The cut of a search.

    Args:
        sic: significance improvement.
        tpr: eps_S.
        fpr: eps_B.
        threshold: smallest score that passes.
    """

    sic: float
    tpr: float
    fpr: float
    threshold: float


NO_CUT = WorkingPoint(1.0, 1.0, 1.0, -math.inf)
"""The search of who has too few events to train on."""


def working_point(
    score: Floats, label: NDArray[np.integer[Any]], *, min_background: int
) -> WorkingPoint:
    """Returns the cut with the largest SIC above a floor of background events.

    Args:
        score: shape (n,), higher is more signal-like.
        label: 1 for signal, 0 for background, shape (n,).
        min_background: the floor.

    Raises:
        DataError: see `roc` and `sic`.
    """
    exact = roc(score, label)
    curve = sic(exact, min_background=min_background)
    best = int(np.argmax(curve.sic))
    threshold = exact.threshold[exact.background >= min_background][best]
    return WorkingPoint(
        float(curve.sic[best]), float(curve.tpr[best]), float(curve.fpr[best]), float(threshold)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """How searches are trained and rated.

    Args:
        train: trains one.
        evaluation: labelled events of the signal region.
        min_background: floor of background events at the working point.
    """

    train: Train
    evaluation: Evaluation
    min_background: int = 100

    def on(self, x: Events, rng: np.random.Generator) -> tuple[WorkingPoint, Score | None]:
        """Returns the working point of a search on events, and its score; None for no cut."""
        try:
            score = self.train(x, rng)
        except TooFewEventsError:
            return NO_CUT, None
        point = working_point(
            score(self.evaluation.x), self.evaluation.label, min_background=self.min_background
        )
        return point, score


@dataclass(frozen=True, slots=True, eq=False)
class StoredCurve:
    """Searches on stored events.

    Args:
        n_events: stored events, rising, shape (k,).
        sic: SIC of each draw, k lists.
    """

    n_events: NDArray[np.int64]
    sic: tuple[Floats, ...]

    def values(self, statistic: Statistic, yields: Yields) -> tuple[Floats, ...]:
        """Returns the draws of a statistic, k lists."""
        if statistic == "sic":
            return self.sic
        return tuple(
            draws * math.sqrt(n) * yields.significance
            for n, draws in zip(self.n_events, self.sic, strict=True)
        )


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotSearches:
    """Searches on samples of one snapshot, each with samples and a training of its own.

    Args:
        sic: SIC of each, shape (t,).
        significance: Z of each, shape (t,).
        signal_kept: excess at the cut over what the stream had there, shape (t,): 1 where the
            snapshot holds all of the signal; not limited to 1.
    """

    sic: Floats
    significance: Floats
    signal_kept: Floats

    def values(self, statistic: Statistic) -> Floats:
        """Returns the draws of a statistic, shape (t,)."""
        return self.sic if statistic == "sic" else self.significance


def stored_searches(
    draw: Draw,
    search: Search,
    *,
    sizes: Sequence[int],
    n_draws: int,
    seed: int,
    progress: Callable[[], None] = lambda: None,
) -> StoredCurve:
    """Returns searches on random events of several numbers.

    Args:
        draw: returns so many stored events.
        search: how to search.
        sizes: numbers of events.
        n_draws: draws of each.
        seed: every draw has random numbers of its own, derived from it.
        progress: called after each search.
    """
    ordered = sorted(set(sizes))
    found = []
    for n in ordered:
        values = np.empty(n_draws)
        for i in range(n_draws):
            rng = np.random.default_rng((seed, n, i))
            values[i] = search.on(draw(n, rng), rng)[0].sic
            progress()
        found.append(values)
    return StoredCurve(np.array(ordered, dtype=np.int64), tuple(found))


def snapshot_searches(
    draw: Draw,
    search: Search,
    *,
    yields: Yields,
    in_region: Callable[[Events], NDArray[np.bool_]],
    n_seen: int,
    n_samples: int,
    n_trainings: int,
    seed: int,
    share: float = 1.0,
    progress: Callable[[], None] = lambda: None,
) -> SnapshotSearches:
    """Returns searches on samples of a snapshot.

    Args:
        draw: samples the snapshot.
        search: how to search.
        yields: of the stream.
        in_region: which events lie in the signal region.
        n_seen: events that the snapshot stands for.
        n_samples: samples that are trained on, and as many that are counted.
        n_trainings: searches.
        seed: every search has random numbers of its own, derived from it.
        share: of the stream's events that the samples stand for, where the snapshot's model is one
            of a window around the signal region.
        progress: called after each search.
    """
    rows = []
    for i in range(n_trainings):
        rng = np.random.default_rng((seed, n_samples, i, 1))
        point, score = search.on(draw(n_samples, rng), rng)
        fresh = draw(n_samples, rng)
        inside = fresh[in_region(fresh)]
        passed = len(inside)
        if score is not None and len(inside):
            passed = int(np.count_nonzero(score(inside) >= point.threshold))
        background = point.fpr * yields.background
        excess = share * passed / len(fresh) - background
        kept = excess / (point.tpr * yields.signal) if yields.signal > 0 else math.nan
        counted = min(excess, point.tpr * yields.signal)
        rows.append((point.sic, math.sqrt(n_seen) * counted / math.sqrt(background), kept))
        progress()
    columns = np.array(rows).reshape(-1, 3)
    return SnapshotSearches(columns[:, 0], columns[:, 1], columns[:, 2])
