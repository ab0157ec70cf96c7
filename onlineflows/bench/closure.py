"""`closure`: background estimates after a cut against the true background of the stand-in."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.bench.labelled import Events, LabelledTruth, Learned, learn_stream
from onlineflows.bench.study import Key, Row
from onlineflows.bench.table import Table
from onlineflows.density import AnyDensity
from onlineflows.model_settings import JOINT, ModelConfig
from onlineflows.offline.background import (
    Closure,
    Decorrelated,
    abcd,
    decorrelate,
    direct,
    reciprocal,
    sideband_fit,
)
from onlineflows.offline.dijet import Spectrum, aligned_edges, choose_fit
from onlineflows.offline.metrics import Value
from onlineflows.offline.regions import Interval
from onlineflows.settings import LearnerConfig

Floats = NDArray[np.float64]
Score = Callable[[NDArray[np.floating[Any]]], Floats]

EFFICIENCIES = np.array([1e-1, 1e-2, 1e-3])
SIDEBAND = "sideband"
METHODS = {
    "direct": "samples of the sideband model",
    "reciprocal": "sum of 1 / R over data",
    "sideband_fit": "dijet fit after the cut",
    "abcd": "four regions, decorrelated score",
}
SCORES = {"anode": "ANODE's ratio", "optimum": "the exact likelihood ratio"}
ON_THE_EDGE = -100.0
"""Score of events on the edge of the support, where densities are zero: background for sure."""


@dataclass(frozen=True, slots=True)
class ClosureSetting:
    """Sizes and regions of the study.

    Args:
        n_events: of the stream.
        n_truth: background events that the true efficiencies are counted in, signal region and
            elsewhere.
        n_samples: events drawn from the sideband model, for each use.
        seeds: of the streams.
        signal_fractions: of the streams.
        signal_region: low and high of m.
        guard: width beside it that neither spectra nor the sideband model are fitted in: signal is
            there, too.
        fit_range: of the spectra.
        far: sidebands of the four regions are further than this from the signal region, and inside
            `far_range`.
        far_range: see there.
        learner: how the models are trained.
    """

    n_events: int = 1_000_000
    n_truth: int = 4_000_000
    n_samples: int = 1_000_000
    seeds: tuple[int, ...] = (1, 2, 3)
    signal_fractions: tuple[float, ...] = (0.0, 0.001, 0.003, 0.01)
    signal_region: Interval = (3.3, 3.7)
    guard: float = 0.1
    fit_range: Interval = (2.9, 6.9)
    far: float = 0.4
    far_range: Interval = (2.5, 5.0)
    learner: LearnerConfig = field(default_factory=LearnerConfig)

    @property
    def guarded(self) -> Interval:
        """The signal region and what is beside it."""
        return self.signal_region[0] - self.guard, self.signal_region[1] + self.guard


QUICK = ClosureSetting(
    n_events=120_000,
    n_truth=100_000,
    n_samples=20_000,
    seeds=(1,),
    signal_fractions=(0.01,),
)


def keys(setting: ClosureSetting) -> list[Key]:
    """Returns the cells of the study: streams."""
    return [
        {"signal_fraction": fraction, "seed": seed}
        for fraction in setting.signal_fractions
        for seed in setting.seeds
    ]


def measure(
    open_truth: Callable[[], LabelledTruth], setting: ClosureSetting, key: Key
) -> list[dict[str, Any]]:
    """Returns the closure of every estimate on one stream, for two scores.

    The scores are ANODE's ratio of the learned densities, at the centre of the signal region
    whatever an event's own m, so that the cut doesn't bend the spectrum; and the exact likelihood
    ratio.

    Args:
        open_truth: makes the stream's truth.
        setting: sizes and regions.
        key: one of `keys`.
    """
    torch.set_num_threads(1)
    truth = open_truth()
    # The score is one pair of densities, the estimates come from another: events where a model
    # happens to be too low pass the cut, and the model that let them pass would predict too few.
    models = (
        ModelConfig(JOINT, replicas=1, bootstrap=False),
        ModelConfig(SIDEBAND, outside=setting.guarded, replicas=1, bootstrap=False),
    )
    config = dataclasses.replace(setting.learner, models=models)
    fraction, seed = key["signal_fraction"], key["seed"]
    learned = learn_stream(truth, config, setting.n_events, seed=seed, signal_fraction=fraction)
    return [_row(score, line) for score, line in _closures(truth, learned, setting, seed=seed)]


def summarise(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns mean ratio and its spread over the seeds, by signal fraction, score, method, cut."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        group = tuple(row[name] for name in ("signal_fraction", "score", "method", "efficiency"))
        groups.setdefault(group, []).append(row["ratio"])
    return [
        {
            "signal_fraction": fraction,
            "score": score,
            "method": method,
            "efficiency": efficiency,
            "ratio": float(np.mean(ratios)),
            "spread": float(np.std(ratios, ddof=1)) if len(ratios) > 1 else None,
            "n_seeds": len(ratios),
        }
        for (fraction, score, method, efficiency), ratios in groups.items()
    ]


def closure_tables(rows: Sequence[Row]) -> list[Table]:
    """Returns a table for each score and signal fraction, the mean over seeds with its spread."""
    found = summarise(rows)
    tables = []
    for score, fraction in sorted({(r["score"], r["signal_fraction"]) for r in found}):
        chosen = [r for r in found if (r["score"], r["signal_fraction"]) == (score, fraction)]
        lines = []
        for method in METHODS:
            by_cut = {r["efficiency"]: r for r in chosen if r["method"] == method}
            cells = (_cell(by_cut.get(float(cut))) for cut in EFFICIENCIES)
            lines.append((METHODS[method], *cells))
        cuts = (f"at {cut:g}" for cut in EFFICIENCIES)
        title = (
            f"Predicted over true background, cut on {SCORES[score]}, {100 * fraction:g} % signal"
        )
        tables.append(Table(title, ("estimate", *cuts), tuple(lines)))
    return tables


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    spread = "" if row["spread"] is None else f" ± {row['spread']:.3f}"
    return f"{row['ratio']:.3f}{spread}"


def _row(score: str, line: Closure) -> dict[str, Any]:
    return {
        "score": score,
        "method": line.method,
        "efficiency": line.efficiency,
        "predicted": line.predicted.value,
        "predicted_error": line.predicted.error,
        "true": line.true.value,
        "true_error": line.true.error,
        "ratio": line.ratio.value,
        "ratio_error": line.ratio.error,
    }


def _closures(
    truth: LabelledTruth, learned: Learned, setting: ClosureSetting, *, seed: int
) -> Iterator[tuple[str, Closure]]:
    """Yields name of the score and closure for one stream."""
    joint, joint_again = learned.densities[JOINT]
    sideband, sideband_again = learned.densities[SIDEBAND]
    background, _ = truth.sample(setting.n_truth, 0, seed)
    in_region = background[_within(background, setting.signal_region)]
    is_true = _within(learned.x, setting.signal_region) & (learned.label == 0)
    n_true = int(np.count_nonzero(is_true))
    scores: Mapping[str, Score] = {
        "anode": lambda x: log_ratio(joint, sideband, _at_centre(x, setting.signal_region)),
        "optimum": lambda x: np.nan_to_num(
            truth.optimal_score(x, setting.signal_region), nan=ON_THE_EDGE
        ),
    }
    for name, score in scores.items():
        study = _Study(learned, sideband_again, score, setting, np.random.default_rng(seed))
        reference = score(in_region)
        cuts = np.quantile(reference, 1 - EFFICIENCIES)
        true = [_expected(n_true, reference >= cut) for cut in cuts]
        log_r = log_ratio(joint_again, sideband_again, study.data_inside)
        for method, estimates in study.estimates(cuts, log_r).items():
            for efficiency, estimate, n in zip(EFFICIENCIES, estimates, true, strict=True):
                yield name, Closure(method, float(efficiency), estimate, n)
        level = study.decorrelated()
        for i, efficiency in enumerate(EFFICIENCIES):
            expected = _expected(n_true, level.passed(in_region[:, 0], reference, i))
            estimate = study.four_regions(level, i)
            yield name, Closure("abcd", float(efficiency), estimate, expected)


def log_ratio(data: AnyDensity, background: AnyDensity, x: NDArray[np.floating[Any]]) -> Floats:
    """Returns ANODE's log p_data(x' | m) - log p_bg(x' | m), shape (n,)."""
    return data.log_prob_conditional(x) - background.log_prob_conditional(x)


class _Study:
    """One score on one stream."""

    def __init__(
        self,
        learned: Learned,
        sideband: AnyDensity,
        score: Score,
        setting: ClosureSetting,
        rng: np.random.Generator,
    ) -> None:
        self._sideband, self._score, self._setting, self._rng = sideband, score, setting, rng
        low, high = min(setting.fit_range[0], setting.far_range[0]), setting.fit_range[1]
        x = learned.x[_within(learned.x, (low, high))]
        self._m, self._scores = x[:, 0].astype(np.float64), score(x)
        self._inside = _within(x, setting.signal_region)
        self.data_inside = x[self._inside]
        self._edges = aligned_edges(setting.signal_region, *setting.fit_range)
        spectrum = Spectrum.of_events(self._m, self._edges)
        self._fit = choose_fit(spectrum, mask=spectrum.inside(setting.guarded))
        self._total = self._fit.integral(setting.signal_region)

    def estimates(self, cuts: Floats, log_r: Floats) -> dict[str, list[Value]]:
        """Returns the estimates for fixed thresholds."""
        setting = self._setting
        return {
            "direct": direct(
                self._sideband,
                self._score,
                cuts,
                fit=self._fit,
                region=setting.signal_region,
                n_samples=setting.n_samples,
                rng=self._rng,
            ),
            "reciprocal": reciprocal(log_r, self._scores[self._inside], cuts, total=self._total),
            "sideband_fit": sideband_fit(
                self._m,
                self._scores,
                cuts,
                edges=self._edges,
                region=setting.signal_region,
                guard=setting.guard,
            ),
        }

    def decorrelated(self) -> Decorrelated:
        """Returns thresholds at the efficiencies along m."""
        return decorrelate(
            self._sideband,
            self._score,
            EFFICIENCIES,
            interval=self._setting.far_range,
            n_samples=self._setting.n_samples,
            rng=self._rng,
        )

    def four_regions(self, level: Decorrelated, cut: int) -> Value:
        """Returns the estimate of four regions with decorrelated thresholds."""
        setting = self._setting
        low, high = setting.signal_region
        far = ((self._m < low - setting.far) & (self._m >= setting.far_range[0])) | (
            (self._m >= high + setting.far) & (self._m < setting.far_range[1])
        )
        passed = level.passed(self._m, self._scores, cut)
        return abcd(passed, self._inside, far)


def _at_centre(x: Events, interval: Interval) -> Events:
    """Returns the events with the resonant feature in the middle of an interval."""
    moved = x.copy()
    moved[:, 0] = 0.5 * (interval[0] + interval[1])
    return moved


def _within(x: Events, interval: Interval) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (x[:, 0] >= interval[0]) & (x[:, 0] < interval[1])
    return inside


def _expected(n_region: int, passed: NDArray[np.bool_]) -> Value:
    """Returns events of the region that pass, from the fraction in an independent sample."""
    fraction = float(passed.mean())
    error = np.sqrt(max(fraction * (1 - fraction), 1 / len(passed)) / len(passed))
    return Value(n_region * fraction, float(n_region * error))
