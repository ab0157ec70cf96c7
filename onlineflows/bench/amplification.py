"""`amplification`: how many true events a model is worth, ours and one that forgets."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from onlineflows.bench.labelled import LabelledTruth
from onlineflows.bench.learning import BLOCK_EVENTS, feed
from onlineflows.bench.study import Key, Row
from onlineflows.density import Density
from onlineflows.errors import DataError
from onlineflows.offline.amplification import Amplification, Cells, amplification
from onlineflows.online.learner import Learner
from onlineflows.settings import LearnerConfig

TRUTH_SEED = 9000
OURS, FORGETFUL = "window", "last buffer only"


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured.

    Args:
        fraction: share of signal in the stream.
        marks: numbers of events seen.
        seeds: streams.
        n_samples: samples of each model.
        n_truth: true events that the cells are made with.
        levels: halvings of the support, over all features in turn: 2^levels cells each.
        quantiles: halvings of single features.
        buffer: newest events that the forgetting trainer learns from, and all that it knows.
        uses: how often it uses each of them.
    """

    fraction: float = 0.01
    marks: tuple[int, ...] = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
    seeds: int = 3
    n_samples: int = 4_000_000
    n_truth: int = 8_000_000
    levels: tuple[int, ...] = (5, 10)
    quantiles: int = 4
    buffer: int = 65_536
    uses: int = 16


QUICK = Setting(
    marks=(20_480, 40_960),
    seeds=1,
    n_samples=20_000,
    n_truth=20_000,
    levels=(3,),
    quantiles=2,
    buffer=20_480,
    uses=2,
)


def keys(setting: Setting) -> list[Key]:
    """Returns the cells of the study: each trainer on each stream."""
    return [
        {"trainer": trainer, "seed": seed}
        for seed in range(1, 1 + setting.seeds)
        for trainer in (OURS, FORGETFUL)
    ]


def measure(truth: Callable[[], LabelledTruth], setting: Setting, key: Key) -> list[Row]:
    """Returns the quantile errors of a trainer after so many events.

    Args:
        truth: makes the stream; called in the process that needs it.
        setting: what is measured.
        key: one of `keys`.
    """
    torch.set_num_threads(1)
    made, seed = truth(), key["seed"]
    d = made.schema.n_features
    true = _read(made, setting, TRUTH_SEED, 0, setting.n_truth)
    joint = [Cells.of(true, features=tuple(i % d for i in range(n))) for n in setting.levels]
    single = [Cells.of(true, features=(i,) * setting.quantiles) for i in range(d)]
    trainer = ours if key["trainer"] == OURS else forgetful
    rows: list[Row] = []
    for n, density in trainer(made, setting, seed):
        drawn = density.sample(setting.n_samples, seed=seed)
        errors = {
            f"joint {len(cells)}": amplification(cells.count(drawn), len(true)) for cells in joint
        }
        marginals = [amplification(cells.count(drawn), len(true)) for cells in single]
        errors[f"marginal {len(single[0])}"] = _mean(marginals)
        rows.append({"n_seen": n, "errors": {c: e.document() for c, e in errors.items()}})
    return rows


def ours(truth: LabelledTruth, setting: Setting, seed: int) -> Iterator[tuple[int, Density]]:
    """Yields what the learner knows after so many events of one pass."""
    read = truth.open(seed, setting.fraction)
    learner = Learner(truth.schema, LearnerConfig())
    for n in setting.marks:
        while learner.n_seen < n:
            feed(learner, read(min(BLOCK_EVENTS, n - learner.n_seen))[0])
        yield n, _density(learner)


def forgetful(truth: LabelledTruth, setting: Setting, seed: int) -> Iterator[tuple[int, Density]]:
    """Yields what a trainer knows that starts anew with each buffer: the newest events alone."""
    for n in setting.marks:
        yield n, relearned(truth, setting, n, seed=seed)


def relearned(truth: LabelledTruth, setting: Setting, n: int, *, seed: int) -> Density:
    """Returns what a trainer knows that starts anew with each buffer: the newest events alone.

    Raises:
        DataError: there are too few.
    """
    config = LearnerConfig()
    buffer = dataclasses.replace(config.buffer, uses=setting.uses)
    preprocess = dataclasses.replace(
        config.preprocess, fit_events=min(config.preprocess.fit_events, setting.buffer)
    )
    config = dataclasses.replace(config, buffer=buffer, preprocess=preprocess)
    learner = Learner(truth.schema, config)
    newest = min(setting.buffer, n)
    feed(learner, _read(truth, setting, seed, n - newest, newest))
    learner.finish()
    return _density(learner)


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Returns N_eq of each trainer after so many events: from the mean of the errors over seeds."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["trainer"], row["n_seen"]), []).append(row)
    found: list[Row] = []
    for (trainer, n), group in sorted(groups.items()):
        for cells in group[0]["errors"]:
            errors = [row["errors"][cells] for row in group]
            mse = np.array([error["mse"] for error in errors])
            n_cells = errors[0]["n_cells"]
            one_event = (1 / n_cells) * (1 - 1 / n_cells)
            mean = float(mse.mean())
            scatter = float(mse.std(ddof=1) / np.sqrt(len(mse))) if len(mse) > 1 else 0.0
            error = max(scatter, float(np.mean([e["mse_error"] for e in errors])))
            found.append(
                {
                    "what": "amplification",
                    "trainer": trainer,
                    "n_seen": n,
                    "cells": cells,
                    "mse": mean,
                    "mse_error": error,
                    "n_equivalent": one_event / mean if mean > 0 else None,
                    "n_equivalent_low": one_event / (mean + error) if mean > -error else None,
                    "n_equivalent_high": one_event / (mean - error) if mean > error else None,
                    "amplification": one_event / mean / n if mean > 0 else None,
                    "n_seeds": len(group),
                }
            )
    return found


def _read(
    truth: LabelledTruth, setting: Setting, seed: int, first: int, n: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Returns n events of a stream from the index `first` on."""
    read = truth.open(seed, setting.fraction)
    for start in range(0, first, BLOCK_EVENTS):
        read(min(BLOCK_EVENTS, first - start))
    return np.concatenate([read(min(BLOCK_EVENTS, n - i))[0] for i in range(0, n, BLOCK_EVENTS)])


def _density(learner: Learner) -> Density:
    density = learner.density()
    if density is None:
        raise DataError(f"expected enough events for a density; got {learner.n_seen}")
    return density


def _mean(single: Sequence[Amplification]) -> Amplification:
    """The errors' mean over features, and what that is worth."""
    n_cells = single[0].n_cells
    one_event = (1 / n_cells) * (1 - 1 / n_cells)
    mse = float(np.mean([a.mse for a in single]))
    error = float(np.sqrt(np.mean([a.mse_error**2 for a in single]) / len(single)))

    def worth(value: float) -> float:
        return one_event / value if value > 0 else float("inf")

    return Amplification(n_cells, mse, error, worth(mse), worth(mse + error), worth(mse - error))
