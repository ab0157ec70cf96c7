"""Closure: every estimate of the background that passes a cut, beside the true number."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.density import AnyDensity
from onlineflows.offline.background import (
    Closure,
    Decorrelated,
    Score,
    abcd,
    decorrelate,
    direct,
    reciprocal,
    sideband_fit,
)
from onlineflows.offline.dijet import Spectrum, aligned_edges, choose_fit
from onlineflows.offline.metrics import Value
from onlineflows.offline.regions import Interval

Events = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

EFFICIENCIES = (1e-1, 1e-2, 1e-3)
ESTIMATES: Mapping[str, str] = {
    "direct": "samples of the sideband model",
    "reciprocal": "sum of 1 / R over data",
    "sideband_fit": "dijet fit after the cut",
    "abcd": "four regions, decorrelated score",
}
"""Names of the estimates and their titles."""


@dataclass(frozen=True, slots=True)
class ClosureConfig:
    """Regions and sizes.

    Args:
        signal_region: low and high of m.
        fit_range: of the spectra.
        guard: width beside the signal region that spectra aren't fitted in: signal is there, too.
        far: the sidebands of the four regions are further than this from the signal region ...
        far_range: ... and inside this interval.
        n_samples: events drawn from the background model, for each use.
        efficiencies: background efficiencies of the cuts.
    """

    signal_region: Interval = (3.3, 3.7)
    fit_range: Interval = (2.9, 6.9)
    guard: float = 0.1
    far: float = 0.4
    far_range: Interval = (2.5, 5.0)
    n_samples: int = 1_000_000
    efficiencies: tuple[float, ...] = EFFICIENCIES

    @property
    def guarded(self) -> Interval:
        """The signal region and what is beside it."""
        return self.signal_region[0] - self.guard, self.signal_region[1] + self.guard


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The data of a stream whose truth is known.

    Args:
        x: the events, shape (n, d), the resonant feature first.
        is_background: which are background, shape (n,).
        reference: other background events of the signal region, from which the true efficiency of
            a cut is counted, shape (k, d).
    """

    x: Events
    is_background: Mask
    reference: Events


def closures(
    known: Known,
    score: Score,
    background: AnyDensity,
    config: ClosureConfig,
    rng: np.random.Generator,
    *,
    log_ratio: Callable[[Events], Floats] | None = None,
) -> list[Closure]:
    """Returns a line for each estimate and cut.

    Args:
        known: data and truth.
        score: what is cut on; best trained with other densities than those that predict, since
            events at which a density is too low by chance are those that pass.
        background: model of the background, interpolated into the signal region.
        config: regions and sizes.
        rng: of the draws.
        log_ratio: ln p_data(x' | m) / p_bg(x' | m); None for no `reciprocal`.

    Raises:
        DataError: there are too few events.
    """
    study = _Study(known, score, background, config, rng)
    return [*study.fixed(log_ratio), *study.four_regions()]


class _Study:
    """One score on one data set."""

    def __init__(
        self,
        known: Known,
        score: Score,
        background: AnyDensity,
        config: ClosureConfig,
        rng: np.random.Generator,
    ) -> None:
        self._score, self._background, self._config, self._rng = score, background, config, rng
        low, high = min(config.fit_range[0], config.far_range[0]), config.fit_range[1]
        near = within(known.x, (low, high))
        x = known.x[near]
        self._m, self._scores = x[:, 0].astype(np.float64), score(x)
        self._inside = within(x, config.signal_region)
        self._data_inside = x[self._inside]
        self._n_true = int(np.count_nonzero(known.is_background[near] & self._inside))
        self._reference_m = known.reference[:, 0]
        self._reference = score(known.reference)

    def fixed(self, log_ratio: Callable[[Events], Floats] | None) -> list[Closure]:
        """Returns the estimates that take the same threshold at every m."""
        config = self._config
        cuts = np.quantile(self._reference, 1 - np.array(config.efficiencies))
        edges = aligned_edges(config.signal_region, *config.fit_range)
        spectrum = Spectrum.of_events(self._m, edges)
        fit = choose_fit(spectrum, mask=spectrum.inside(config.guarded))
        estimates = {
            "direct": direct(
                self._background,
                self._score,
                cuts,
                fit=fit,
                region=config.signal_region,
                n_samples=config.n_samples,
                rng=self._rng,
            ),
            "sideband_fit": sideband_fit(
                self._m,
                self._scores,
                cuts,
                edges=edges,
                region=config.signal_region,
                guard=config.guard,
            ),
        }
        if log_ratio is not None:
            estimates["reciprocal"] = reciprocal(
                log_ratio(self._data_inside),
                self._scores[self._inside],
                cuts,
                total=fit.integral(config.signal_region),
            )
        true = [self._expected(self._reference >= cut) for cut in cuts]
        return [
            Closure(name, efficiency, estimate, n)
            for name, found in estimates.items()
            for efficiency, estimate, n in zip(config.efficiencies, found, true, strict=True)
        ]

    def four_regions(self) -> list[Closure]:
        """Returns the estimates with thresholds of fixed background efficiency along m."""
        config = self._config
        low, high = config.signal_region
        far = ((self._m < low - config.far) & (self._m >= config.far_range[0])) | (
            (self._m >= high + config.far) & (self._m < config.far_range[1])
        )
        level = decorrelate(
            self._background,
            self._score,
            np.array(config.efficiencies),
            interval=config.far_range,
            n_samples=config.n_samples,
            rng=self._rng,
        )
        return [self._abcd(level, i, far) for i in range(len(config.efficiencies))]

    def _abcd(self, level: Decorrelated, cut: int, far: Mask) -> Closure:
        passed = level.passed(self._m, self._scores, cut)
        true = self._expected(level.passed(self._reference_m, self._reference, cut))
        estimate = abcd(passed, self._inside, far)
        return Closure("abcd", self._config.efficiencies[cut], estimate, true)

    def _expected(self, passed: Mask) -> Value:
        """Returns background events that pass, from the fraction in the reference."""
        n = max(len(passed), 1)
        fraction = float(np.count_nonzero(passed)) / n
        error = np.sqrt(max(fraction * (1 - fraction), 1 / n) / n)
        return Value(self._n_true * max(fraction, 1 / n), float(self._n_true * error))


def within(x: Events, interval: Interval) -> Mask:
    """Returns which events have the resonant feature in a half-open interval, shape (n,)."""
    inside: Mask = (x[:, 0] >= interval[0]) & (x[:, 0] < interval[1])
    return inside
