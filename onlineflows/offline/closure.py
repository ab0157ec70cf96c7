"""Closure: every estimate of the background that passes a cut, beside the true number."""

from collections.abc import Callable, Mapping, Sequence
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
    resonance_fit,
    sideband_fit,
)
from onlineflows.offline.dijet import DijetFit, Spectrum, aligned_edges, choose_fit
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
    "resonance_fit": "dijet fit and resonance after the cut",
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
        judge: number of the judge whose score an event has, shape (n,); None where there is one
            judge alone.
    """

    x: Events
    is_background: Mask
    reference: Events
    judge: NDArray[np.integer[Any]] | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """A score, and densities that were learned from none of the events that it was learned from.

    Events at which a density is too high or too low by chance are those that a score learned from
    the same events lets pass.

    Args:
        score: what is cut on.
        background: model of the background, interpolated into the signal region.
        log_ratio: ln p_data(x' | m) / p_bg(x' | m); None for no `reciprocal`.
    """

    score: Score
    background: AnyDensity
    log_ratio: Callable[[Events], Floats] | None = None


def closures(
    known: Known, judges: Sequence[Judge], config: ClosureConfig, rng: np.random.Generator
) -> list[Closure]:
    """Returns a line for each estimate and cut.

    With two judges, each learned from one half of the stream and judging the other, every event
    counts and none is judged by a score that has seen it. Thresholds are each judge's own, at the
    same background efficiency.

    Args:
        known: data and truth.
        judges: by whose score events pass.
        config: regions and sizes.
        rng: of the draws.

    Raises:
        DataError: there are too few events.
    """
    study = _Study(known, judges, config, rng)
    return [*study.fixed(), *study.four_regions()]


class _Study:
    """One kind of score on one data set."""

    def __init__(
        self,
        known: Known,
        judges: Sequence[Judge],
        config: ClosureConfig,
        rng: np.random.Generator,
    ) -> None:
        self._judges, self._config, self._rng = judges, config, rng
        low, high = min(config.fit_range[0], config.far_range[0]), config.fit_range[1]
        near = within(known.x, (low, high))
        x = known.x[near]
        judge = np.zeros(len(x), dtype=np.intp) if known.judge is None else known.judge[near]
        self._of_judge = [judge == number for number in range(len(judges))]
        self._share = [float(np.mean(mine)) for mine in self._of_judge]
        self._m, self._scores = x[:, 0].astype(np.float64), np.zeros(len(x))
        for mine, one in zip(self._of_judge, judges, strict=True):
            self._scores[mine] = one.score(x[mine])
        self._x, self._inside = x, within(x, config.signal_region)
        self._n_true = int(np.count_nonzero(known.is_background[near] & self._inside))
        self._reference_m = known.reference[:, 0]
        self._references = [one.score(known.reference) for one in judges]

    def fixed(self) -> list[Closure]:
        """Returns the estimates that take the same threshold at every m."""
        config, region = self._config, self._config.signal_region
        keep = 1 - np.array(config.efficiencies)
        cuts = [np.quantile(reference, keep) for reference in self._references]
        passed = [self._passed([own[i] for own in cuts]) for i in range(len(keep))]
        edges = aligned_edges(region, *config.fit_range)
        spectrum = Spectrum.of_events(self._m, edges)
        fit = choose_fit(spectrum, mask=spectrum.inside(config.guarded))
        after = [Spectrum.of_events(self._m[mask], edges) for mask in passed]
        estimates = {
            "direct": self._direct(cuts, fit),
            "sideband_fit": sideband_fit(fit, after, region=region, guard=config.guard),
            "resonance_fit": resonance_fit(fit, after, region=region, guard=config.guard),
        }
        log_ratio = self._log_ratio()
        if log_ratio is not None:
            kept = [mask[self._inside] for mask in passed]
            estimates["reciprocal"] = reciprocal(log_ratio, kept, total=fit.integral(region))
        true = [
            self._expected([ref >= own[i] for ref, own in zip(self._references, cuts, strict=True)])
            for i in range(len(keep))
        ]
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
        levels = [
            decorrelate(
                judge.background,
                judge.score,
                np.array(config.efficiencies),
                interval=config.far_range,
                n_samples=config.n_samples // len(self._judges),
                rng=self._rng,
            )
            for judge in self._judges
        ]
        return [self._abcd(levels, i, far) for i in range(len(config.efficiencies))]

    def _passed(self, cuts: Sequence[float]) -> Mask:
        """Returns which events pass the threshold of their judge."""
        passed = np.zeros(len(self._m), dtype=np.bool_)
        for mine, cut in zip(self._of_judge, cuts, strict=True):
            passed[mine] = self._scores[mine] >= cut
        return passed

    def _direct(self, cuts: Sequence[Floats], fit: DijetFit) -> list[Value]:
        """Returns the mean over the judges, each with as much weight as it has events."""
        found = [
            direct(
                judge.background,
                judge.score,
                own,
                fit=fit,
                region=self._config.signal_region,
                n_samples=self._config.n_samples // len(self._judges),
                rng=self._rng,
            )
            for judge, own in zip(self._judges, cuts, strict=True)
        ]
        return [self._mean(values) for values in zip(*found, strict=True)]

    def _log_ratio(self) -> Floats | None:
        """Returns ln R of the events of the signal region; None where a judge has none."""
        found = np.zeros(len(self._m))
        for mine, judge in zip(self._of_judge, self._judges, strict=True):
            if judge.log_ratio is None:
                return None
            chosen = mine & self._inside
            found[chosen] = judge.log_ratio(self._x[chosen])
        ratios: Floats = found[self._inside]
        return ratios

    def _abcd(self, levels: Sequence[Decorrelated], cut: int, far: Mask) -> Closure:
        passed = np.zeros(len(self._m), dtype=np.bool_)
        for mine, level in zip(self._of_judge, levels, strict=True):
            passed[mine] = level.passed(self._m[mine], self._scores[mine], cut)
        true = self._expected(
            [
                level.passed(self._reference_m, reference, cut)
                for level, reference in zip(levels, self._references, strict=True)
            ]
        )
        estimate = abcd(passed, self._inside, far)
        return Closure("abcd", self._config.efficiencies[cut], estimate, true)

    def _expected(self, passed: Sequence[Mask]) -> Value:
        """Returns background events that pass, from the fractions in the reference."""
        values = []
        for mask in passed:
            n = max(len(mask), 1)
            fraction = float(np.count_nonzero(mask)) / n
            error = np.sqrt(max(fraction * (1 - fraction), 1 / n) / n)
            values.append(Value(self._n_true * max(fraction, 1 / n), float(self._n_true * error)))
        return self._mean(values)

    def _mean(self, values: Sequence[Value]) -> Value:
        """Returns the mean over the judges; errors may have one cause, so they add up."""
        value = sum(share * v.value for share, v in zip(self._share, values, strict=True))
        error = sum(share * v.error for share, v in zip(self._share, values, strict=True))
        return Value(float(value), float(error))


def within(x: Events, interval: Interval) -> Mask:
    """Returns which events have the resonant feature in a half-open interval, shape (n,)."""
    inside: Mask = (x[:, 0] >= interval[0]) & (x[:, 0] < interval[1])
    return inside
