"""`compression`: what snapshots are worth in stored events, against events seen and model size."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.bench.labelled import LabelledTruth
from onlineflows.bench.learned import ensemble_of, learned, nbytes_of, share_of
from onlineflows.bench.learning import BLOCK_EVENTS
from onlineflows.bench.study import Key, Row
from onlineflows.model_settings import BufferOverrides, ModelConfig
from onlineflows.offline.compression import compare_with_stored
from onlineflows.offline.cwola import cwola
from onlineflows.offline.inputs import MethodConfig, MethodInputs, Training
from onlineflows.offline.regions import Regions
from onlineflows.offline.scores import Evaluation
from onlineflows.offline.searches import (
    Events,
    Score,
    Search,
    SnapshotSearches,
    StoredCurve,
    Yields,
    snapshot_searches,
    stored_searches,
)
from onlineflows.settings import (
    FlowConfig,
    LearnerConfig,
    PreprocessConfig,
)

WINDOW = ModelConfig(
    "window",
    inside=(3.1, 3.9),
    replicas=3,
    bootstrap=False,
    buffer=BufferOverrides(uses=16),
)
"""Four θ for signal region and sidebands alone, as in configs/search.toml."""
MARKS = (100_000, 300_000, 1_000_000)
STORED_SEED = 5000
"""Streams of stored events are others than those that are learned from."""
TEST_SEED = 77


def default_models() -> dict[str, LearnerConfig]:
    """Returns what is trained, by name: flows of several sizes, and a model of the window alone."""
    default = LearnerConfig()
    sizes = {"2 x 24": (2, 24), "2 x 40": (2, 40), "3 x 128": (3, 128), "4 x 192": (4, 192)}
    return {
        "default": default,
        "window": dataclasses.replace(default, models=(WINDOW,)),
        **{
            name: dataclasses.replace(default, flow=FlowConfig(blocks=blocks, hidden=hidden))
            for name, (blocks, hidden) in sizes.items()
        },
    }


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured.

    Args:
        fractions: shares of signal in the stream.
        models: what is trained, by name; the first model of each is searched.
        marks: numbers of events seen, by name.
        stored: numbers of stored events.
        draws: stretches of the stream for each of them.
        seeds: streams that are learned from.
        trainings: searches on each snapshot.
        n_samples: samples of the whole spectrum to search on: at least, and at most; between them
            as many as seen.
        n_test: background and signal events of the evaluation set.
        config: regions and classifier.
    """

    fractions: tuple[float, ...] = (0.01, 0.003, 0.001)
    models: dict[str, LearnerConfig] = field(default_factory=default_models)
    marks: dict[str, tuple[int, ...]] = field(
        default_factory=lambda: {
            "default": (*MARKS, 3_000_000, 10_000_000),
            "window": MARKS,
            **dict.fromkeys(("2 x 24", "2 x 40", "3 x 128", "4 x 192"), (1_000_000,)),
        }
    )
    stored: tuple[int, ...] = (
        *(3000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000),
        *(1_000_000, 2_000_000, 4_000_000),
    )
    draws: int = 5
    seeds: int = 3
    trainings: int = 1
    n_samples: tuple[int, int] = (2_000_000, 4_000_000)
    n_test: tuple[int, int] = (600_000, 30_000)
    config: MethodConfig = field(default_factory=MethodConfig)


QUICK = Setting(
    fractions=(0.05,),
    models={
        "2 x 8": LearnerConfig(flow=FlowConfig(blocks=2, hidden=8)),
        "window": LearnerConfig(
            models=(ModelConfig("window", inside=(3.1, 3.9), replicas=1, bootstrap=False),),
            flow=FlowConfig(blocks=2, hidden=8),
            preprocess=PreprocessConfig(fit_events=2000),
        ),
    },
    marks={"2 x 8": (20_480, 24_576), "window": (20_480,)},
    stored=(3000, 10_000, 20_000),
    draws=2,
    seeds=1,
    trainings=1,
    n_samples=(20_000, 20_000),
    n_test=(20_000, 2000),
    config=dataclasses.replace(
        MethodConfig(), trees=dataclasses.replace(MethodConfig().trees, folds=2, max_iter=10)
    ),
)


def keys(setting: Setting) -> list[Key]:
    """Returns the cells of the study: searches on stored events, and on snapshots."""
    found: list[Key] = []
    for fraction in setting.fractions:
        stored = {"part": "stored", "fraction": fraction}
        found += [{**stored, "n_events": n} for n in setting.stored]
        found += [
            {"part": "snapshot", "fraction": fraction, "model": model, "n_seen": n, "seed": seed}
            for seed in range(1, 1 + setting.seeds)
            for model, marks in setting.marks.items()
            for n in marks
        ]
    return found


def measure(truth: Callable[[], LabelledTruth], setting: Setting, key: Key) -> list[Row]:
    """Measures one cell.

    Args:
        truth: makes the stream; called in the process that needs it.
        setting: what is measured.
        key: one of `keys`.
    """
    torch.set_num_threads(1)
    if key["part"] == "stored":
        return [search_stored(truth(), setting, key["fraction"], key["n_events"])]
    run = Run(key["fraction"], key["model"], key["n_seen"], key["seed"])
    return [search_snapshot(truth(), setting, run)]


@dataclass(frozen=True, slots=True)
class Run:
    """One run to search on.

    Args:
        fraction: share of signal in the stream.
        model: name of what is trained.
        n_seen: events.
        seed: of the stream.
    """

    fraction: float
    model: str
    n_seen: int
    seed: int


def search_stored(made: LabelledTruth, setting: Setting, fraction: float, n: int) -> Row:
    """Returns the SIC of searches on stretches of the stream."""
    search, _, _ = _search(made, setting, fraction)
    seeds = iter(range(STORED_SEED, STORED_SEED + setting.draws))

    def draw(n_events: int, _: np.random.Generator) -> Events:
        return _events(made, n_events, next(seeds), fraction)

    curve = stored_searches(draw, search, sizes=[n], n_draws=setting.draws, seed=1)
    return {"sic": curve.sic[0].tolist()}


def search_snapshot(made: LabelledTruth, setting: Setting, run: Run) -> Row:
    """Returns the searches on the snapshot of one run."""
    search, regions, yields = _search(made, setting, run.fraction)
    config = setting.models[run.model]
    learner = learned(made, config, run.n_seen, seed=run.seed, fraction=run.fraction)
    density = ensemble_of(learner)
    first = learner.models[config.models[0].name]
    share = share_of(learner)

    def draw(n_events: int, rng: np.random.Generator) -> Events:
        return density.sample(n_events, seed=int(rng.integers(2**31)))

    found = snapshot_searches(
        draw,
        search,
        yields=yields,
        in_region=lambda x: regions.in_signal_region(x[:, 0]),
        n_seen=run.n_seen,
        n_samples=int(share * np.clip(run.n_seen, *setting.n_samples)),
        n_trainings=setting.trainings,
        seed=run.seed,
        share=share,
    )
    return {
        "n_parameters": first.thetas().size,
        "snapshot_nbytes": nbytes_of(learner),
        "event_nbytes": made.schema.event_nbytes,
        "yields": [yields.signal, yields.background],
        "sic": found.sic.tolist(),
        "significance": found.significance.tolist(),
        "signal_kept": found.signal_kept.tolist(),
    }


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Returns f* and what goes with it for each share of signal, model and events seen."""
    stored: dict[float, list[Row]] = {}
    runs: dict[tuple[float, str, int], list[Row]] = {}
    for row in rows:
        if row["part"] == "stored":
            stored.setdefault(row["fraction"], []).append(row)
        else:
            runs.setdefault((row["fraction"], row["model"], row["n_seen"]), []).append(row)
    found: list[Row] = []
    for (fraction, model, n), group in sorted(runs.items()):
        curve = sorted(stored[fraction], key=lambda row: row["n_events"])
        result = compare_with_stored(
            StoredCurve(
                np.array([row["n_events"] for row in curve]),
                tuple(np.array(row["sic"]) for row in curve),
            ),
            SnapshotSearches(
                *(_column(group, name) for name in ("sic", "significance", "signal_kept"))
            ),
            yields=Yields(*group[0]["yields"]),
            n_seen=n,
            f_store=group[0]["snapshot_nbytes"] / (n * group[0]["event_nbytes"]),
            rng=np.random.default_rng(1),
        )
        found.append(
            {
                "what": "equivalent trigger fraction",
                "fraction": fraction,
                "model": model,
                "n_parameters": group[0]["n_parameters"],
                "snapshot_nbytes": group[0]["snapshot_nbytes"],
                "n_seeds": len(group),
                **result.document(),
            }
        )
    return found


def cwola_on(config: MethodConfig) -> Callable[[Events, np.random.Generator], Score]:
    """Returns CWoLa as a search on unlabelled events."""

    def train(x: Events, rng: np.random.Generator) -> Score:
        return cwola(MethodInputs(events={"data": x}), Training(config, rng)).score

    return train


def _search(
    truth: LabelledTruth, setting: Setting, fraction: float
) -> tuple[Search, Regions, Yields]:
    regions = setting.config.regions
    x, label = truth.sample(*setting.n_test, TEST_SEED)
    evaluation = Evaluation(x, label)
    yields = Yields.from_labels(evaluation, regions.in_signal_region(x[:, 0]), fraction)
    search = Search(
        cwola_on(setting.config), evaluation.within(regions), setting.config.min_background
    )
    return search, regions, yields


def _events(truth: LabelledTruth, n: int, seed: int, fraction: float) -> NDArray[np.float32]:
    read = truth.open(seed, fraction)
    return np.concatenate([read(min(BLOCK_EVENTS, n - i))[0] for i in range(0, n, BLOCK_EVENTS)])


def _column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    values: list[Any] = [value for row in rows for value in row[name]]
    return np.array(values, dtype=np.float64)
