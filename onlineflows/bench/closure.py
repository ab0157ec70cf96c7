"""`closure`: background estimates after a cut against the true background of the stand-in."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.bench.labelled import Events, LabelledTruth, Learned, learn_stream
from onlineflows.bench.study import Key, Row
from onlineflows.bench.table import Table
from onlineflows.density import AnyDensity
from onlineflows.model_settings import ModelConfig
from onlineflows.offline.background import Closure
from onlineflows.offline.closure import (
    EFFICIENCIES,
    ESTIMATES,
    ClosureConfig,
    Judge,
    Known,
    closures,
    within,
)
from onlineflows.offline.regions import Interval
from onlineflows.online.hashed import Share
from onlineflows.settings import FlowConfig, LearnerConfig, PreprocessConfig

Floats = NDArray[np.float64]
Score = Callable[[NDArray[np.floating[Any]]], Floats]

HALVES = (0, 1)
SCORES = {"anode": "ANODE's ratio", "optimum": "the exact likelihood ratio"}
ON_THE_EDGE = -100.0
"""Score of events on the edge of the support, where densities are zero: background for sure."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Sizes and regions of the study.

    Args:
        n_events: of the stream.
        n_truth: background events, those of the signal region among which tell the true
            efficiencies.
        seeds: of the streams.
        signal_fractions: of the streams.
        config: of the estimates; the sideband model isn't fitted in the guard either.
        learner: how the models are trained.
    """

    n_events: int = 1_000_000
    n_truth: int = 4_000_000
    seeds: tuple[int, ...] = (1, 2, 3)
    signal_fractions: tuple[float, ...] = (0.0, 0.001, 0.003, 0.01)
    config: ClosureConfig = field(default_factory=ClosureConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)


QUICK = Setting(
    n_events=120_000,
    n_truth=100_000,
    seeds=(1,),
    signal_fractions=(0.01,),
    config=ClosureConfig(n_samples=20_000),
    learner=LearnerConfig(
        flow=FlowConfig(blocks=1, hidden=16), preprocess=PreprocessConfig(fit_events=5000)
    ),
)


def keys(setting: Setting) -> list[Key]:
    """Returns the cells of the study: streams."""
    return [
        {"signal_fraction": fraction, "seed": seed}
        for fraction in setting.signal_fractions
        for seed in setting.seeds
    ]


def measure(
    open_truth: Callable[[], LabelledTruth], setting: Setting, key: Key
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
    # The densities of one half of the stream judge the other half, whose own densities predict.
    models = tuple(
        ModelConfig(f"{name}-{half}", outside=outside, share=(half, len(HALVES)))
        for half in HALVES
        for name, outside in (("joint", None), ("sideband", setting.config.guarded))
    )
    config = dataclasses.replace(setting.learner, models=models)
    fraction, seed = key["signal_fraction"], key["seed"]
    learned = learn_stream(truth, config, setting.n_events, seed=seed, signal_fraction=fraction)
    second = Share(config.trainer.seed, 1, len(HALVES)).contains(np.arange(len(learned.x)))
    judge = np.where(second, 0, 1)
    lines = _closures(truth, learned, judge, setting, seed=seed)
    return [_row(score, line) for score, line in lines]


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
        for method in ESTIMATES:
            by_cut = {r["efficiency"]: r for r in chosen if r["method"] == method}
            cells = (_cell(by_cut.get(float(cut))) for cut in EFFICIENCIES)
            lines.append((ESTIMATES[method], *cells))
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
    truth: LabelledTruth,
    learned: Learned,
    judge: NDArray[np.integer[Any]],
    setting: Setting,
    *,
    seed: int,
) -> Iterator[tuple[str, Closure]]:
    """Yields name of the score and closure for one stream."""
    region = setting.config.signal_region
    background, _ = truth.sample(setting.n_truth, 0, seed)
    reference = background[within(background, region)]
    known = Known(learned.x, learned.label == 0, reference, judge)
    for name in SCORES:
        judges = [_judge(truth, learned, half, name, region) for half in HALVES]
        lines = closures(known, judges, setting.config, np.random.default_rng(seed))
        yield from ((name, line) for line in lines)


def _judge(truth: LabelledTruth, learned: Learned, half: int, name: str, region: Interval) -> Judge:
    """Returns the judge whose score was learned from one half; the other half predicts."""
    joint, sideband = (learned.densities[f"{kind}-{half}"][0] for kind in ("joint", "sideband"))
    other, blind = (learned.densities[f"{kind}-{1 - half}"][0] for kind in ("joint", "sideband"))
    scores: dict[str, Score] = {
        "anode": lambda x: log_ratio(joint, sideband, _at_centre(x, region)),
        "optimum": lambda x: np.nan_to_num(truth.optimal_score(x, region), nan=ON_THE_EDGE),
    }
    return Judge(scores[name], blind, lambda x: log_ratio(other, blind, x))


def log_ratio(data: AnyDensity, background: AnyDensity, x: NDArray[np.floating[Any]]) -> Floats:
    """Returns ANODE's log p_data(x' | m) - log p_bg(x' | m), shape (n,)."""
    return data.log_prob_conditional(x) - background.log_prob_conditional(x)


def _at_centre(x: Events, interval: Interval) -> Events:
    """Returns the events with the resonant feature in the middle of an interval."""
    moved = x.copy()
    moved[:, 0] = 0.5 * (interval[0] + interval[1])
    return moved
