"""`tan`: the two likelihood ratios of Tan 2020, on labelled events, learned in one pass.

The features are his: both jets' masses as mJ1 and dmJ, and both tau21. m is not a feature; it only
says whether an event is in the signal region.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.bench.learning import BATCH_EVENTS
from onlineflows.bench.study import Key, Row
from onlineflows.density import Density
from onlineflows.model_settings import ModelConfig
from onlineflows.offline.inputs import MethodConfig, MethodInputs, Training
from onlineflows.offline.metrics import auc
from onlineflows.offline.regions import Regions
from onlineflows.offline.tan import summarise_ratio, tan
from onlineflows.online.model_learner import ModelLearner
from onlineflows.online.ratio_learner import RatioLearner
from onlineflows.region import Region
from onlineflows.settings import BufferConfig, FlowConfig, LearnerConfig
from streams import EventSchema

Events = NDArray[np.float32]
Labels = NDArray[np.uint8]

AS_IT_IS: float | None = None
"""A signal fraction: as much signal as the events have."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Events to learn from and events to test on.

    Args:
        schema: of the events, the resonant feature first.
        x: the stream, shape (n, d), in its order.
        n_signal: how many of them are signal.
        test: other events, shape (k, d).
        label: of those, 1 for signal.
    """

    schema: EventSchema
    x: Events
    n_signal: int
    test: Events
    label: Labels


OpenSplit = Callable[[float | None, int], Split]
"""Of a signal fraction (or `AS_IT_IS`) and a seed."""


FLOWS: Mapping[str, FlowConfig] = MappingProxyType(
    {"spline": FlowConfig(), "MAF": FlowConfig(transform="affine", blocks=5)}
)
"""Autoregressive flows; the second is the family of the paper's "MAF", with fewer blocks."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured.

    Args:
        dataset: name of the events.
        fractions: of signal in the stream; without any, what is found isn't the signal.
        seeds: of the split, the weights and the order.
        signal_region: of m.
        alpha: type-I error of the bootstrap.
        learner: buffer, optimiser, marginal map; the flow is one of `FLOWS`.
    """

    dataset: str
    fractions: tuple[float | None, ...] = (AS_IT_IS, 0.01, 0.0)
    seeds: tuple[int, ...] = (1, 2, 3)
    signal_region: tuple[float, float] = (3.3, 3.7)
    alpha: float = 0.1
    learner: LearnerConfig = field(default_factory=LearnerConfig)


def quick(dataset: str) -> Setting:
    """Returns sizes that only show that everything runs."""
    learner = LearnerConfig(buffer=BufferConfig(capacity=2048))
    learner = replace(learner, preprocess=replace(learner.preprocess, fit_events=500))
    return Setting(dataset, fractions=(AS_IT_IS,), seeds=(1,), learner=learner)


def keys(setting: Setting) -> list[Key]:
    """Returns the cells of the study."""
    return [
        {"dataset": setting.dataset, "fraction": fraction, "seed": seed, "flow": flow}
        for fraction in setting.fractions
        for seed in setting.seeds
        for flow in FLOWS
    ]


def measure(open_split: OpenSplit, setting: Setting, key: Key) -> list[Row]:
    """Returns what both ratios, and the density alone, say of the test events.

    Args:
        open_split: makes the events; called in the process that needs them.
        setting: what is measured.
        key: one of `keys`.
    """
    torch.set_num_threads(1)
    split = open_split(key["fraction"], key["seed"])
    trainer = replace(setting.learner.trainer, seed=key["seed"])
    config = replace(setting.learner, flow=FLOWS[key["flow"]], trainer=trainer)
    inside = Region(inside=setting.signal_region).contains(split.x[:, 0])
    facts = {
        "n_events": len(split.x),
        "n_signal": split.n_signal,
        "n_inside": int(inside.sum()),
        "n_test": len(split.test),
    }
    return [{**row, **facts} for row in _rows(split, inside, setting, config)]


def _rows(
    split: Split, inside: NDArray[np.bool_], setting: Setting, config: LearnerConfig
) -> Iterator[dict[str, Any]]:
    began = time.perf_counter()
    schema = EventSchema(split.schema.features[1:])
    features = np.ascontiguousarray(split.x[:, 1:])
    densities = {
        "data": _learned(schema, features[inside], config, "inside"),
        "background": _learned(schema, features[~inside], config, "outside"),
    }
    yield _row("mass localisation", densities, split, setting) | {
        "seconds": time.perf_counter() - began
    }
    began = time.perf_counter()
    # The paper's heavy tails are for flows without bounds, such as its MAF.
    heavy_tails = config.flow.transform == "affine"
    learner = RatioLearner(schema, config, alpha=setting.alpha, heavy_tails=heavy_tails)
    for start in range(0, len(features), BATCH_EVENTS):
        learner.take(features[start : start + BATCH_EVENTS])
    learner.finish()
    found = learner.densities()
    yield _row("bootstrap", found, split, setting) | {
        "seconds": time.perf_counter() - began,
        "passed": learner.n_passed / learner.n_uses,
    }
    log_prob = found["data"].log_prob(split.test[:, 1:])
    alone = auc(-log_prob, split.label)
    yield {"way": "density alone", "auc": alone.value}


def _learned(schema: EventSchema, x: Events, config: LearnerConfig, name: str) -> Density:
    """Returns the density of events after one pass over them."""
    model = ModelConfig(name)
    learner = ModelLearner(schema, replace(config, models=(model,)), model)
    for start in range(0, len(x), BATCH_EVENTS):
        part = x[start : start + BATCH_EVENTS]
        learner.take(part, np.arange(start, start + len(part)))
    learner.finish()
    density = learner.density()
    if density is None:
        raise ValueError(f"expected events {name} the signal region; got none")
    return density


def _row(
    way: str, densities: Mapping[str, Density], split: Split, setting: Setting
) -> dict[str, Any]:
    config = MethodConfig(regions=Regions(setting.signal_region))
    training = Training(config, np.random.default_rng(0))
    score = tan(MethodInputs(densities=dict(densities)), training).score(split.test)
    return {"way": way, **asdict(summarise_ratio(-score, split.label))}


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Returns means and standard deviations over seeds for each way and flow."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        place = row["dataset"], row["fraction"], row["way"], row["flow"]
        groups.setdefault(place, []).append(row)
    found: list[Row] = []
    for (dataset, fraction, way, flow), group in groups.items():
        document: dict[str, Any] = {
            "dataset": dataset,
            "fraction": fraction,
            "way": way,
            "flow": flow,
            "seeds": len(group),
            "n_events": group[0]["n_events"],
            "signal_share": group[0]["n_signal"] / group[0]["n_events"],
        }
        for name in ("signal", "background", "difference", "auc"):
            if name in group[0]:
                values = [row[name] for row in group]
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
                document[name] = [float(np.mean(values)), spread]
        found.append(document)
    return found
