"""`likeness`: two-sample tests of a snapshot's samples against events that it never saw."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.bench.labelled import LabelledTruth
from onlineflows.bench.learned import ensemble_of, learned
from onlineflows.bench.learning import BLOCK_EVENTS
from onlineflows.bench.study import Key, Row
from onlineflows.offline.classifier import TreesConfig
from onlineflows.offline.likeness import LikenessConfig, likeness
from onlineflows.settings import LearnerConfig

HELD_OUT_SEED = 8000
TRUTH = 0
"""Events seen by the line that compares true events with true events."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured.

    Args:
        fraction: share of signal in the stream.
        marks: numbers of events seen; 0 for true events instead of samples.
        seeds: streams.
        config: how much is compared.
    """

    fraction: float = 0.01
    marks: tuple[int, ...] = (TRUTH, 100_000, 1_000_000, 10_000_000)
    seeds: int = 3
    config: LikenessConfig = field(default_factory=LikenessConfig)


QUICK = Setting(
    marks=(TRUTH, 20_480),
    seeds=1,
    config=dataclasses.replace(
        LikenessConfig(),
        n_events=2000,
        n_sliced=500,
        n_null=10,
        kernel_events=500,
        trees=TreesConfig(folds=2, max_iter=10),
    ),
)


def keys(setting: Setting) -> list[Key]:
    """Returns the cells of the study: so many events of each stream."""
    return [
        {"n_seen": n, "seed": seed} for n in setting.marks for seed in range(1, 1 + setting.seeds)
    ]


def measure(truth: Callable[[], LabelledTruth], setting: Setting, key: Key) -> list[Row]:
    """Returns what the tests say of one snapshot.

    Args:
        truth: makes the stream; called in the process that needs it.
        setting: what is measured.
        key: one of `keys`.
    """
    torch.set_num_threads(1)
    made, n, seed = truth(), key["n_seen"], key["seed"]
    wanted = setting.config.n_events
    held_out = _events(made, setting, HELD_OUT_SEED + 2 * seed, wanted)
    if n == TRUTH:
        samples = _events(made, setting, HELD_OUT_SEED + 2 * seed + 1, wanted)
    else:
        learner = learned(made, LearnerConfig(), n, seed=seed, fraction=setting.fraction)
        samples = ensemble_of(learner).sample(wanted, seed=seed)
    found = likeness(
        held_out,
        samples,
        made.schema.names,
        config=setting.config,
        rng=np.random.default_rng((seed, n)),
    )
    return [found.document()]


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Returns means over seeds for each number of events seen."""
    found: list[Row] = []
    for n in sorted({row["n_seen"] for row in rows}):
        group = [row for row in rows if row["n_seen"] == n]
        document: dict[str, Any] = {"n_seen": n, "n_seeds": len(group)}
        for test in ("classifier_auc", "sliced_wasserstein"):
            document[test] = _mean_and_spread([row[test]["statistic"] for row in group])
            document[f"{test}_null"] = [group[0][test]["null_mean"], group[0][test]["null_width"]]
        for distance in ("fpd", "kpd"):
            document[distance] = _mean_and_spread([row[distance]["value"] for row in group])
        document["ks"] = _mean_and_spread([max(f["ks"] for f in row["features"]) for row in group])
        document["correlation"] = _mean_and_spread(
            [row["largest_correlation_difference"] for row in group]
        )
        found.append(document)
    return found


def _mean_and_spread(values: Sequence[float]) -> list[float]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return [float(np.mean(values)), spread]


def _events(truth: LabelledTruth, setting: Setting, seed: int, n: int) -> NDArray[np.float32]:
    read = truth.open(seed, setting.fraction)
    return np.concatenate([read(min(BLOCK_EVENTS, n - i))[0] for i in range(0, n, BLOCK_EVENTS)])
