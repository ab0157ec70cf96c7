"""A stream whose truth is known, as studies of searches need it, and what is learned from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.bench.learning import BLOCK_EVENTS, feed
from onlineflows.density import Density
from onlineflows.errors import DataError
from onlineflows.online.learner import Learner
from onlineflows.settings import LearnerConfig
from streams import EventSchema

Events = NDArray[np.float32]
Labels = NDArray[np.uint8]
Reader = Callable[[int], tuple[Events, Labels]]


@dataclass(frozen=True, slots=True)
class LabelledTruth:
    """A stream of background with some signal, and its closed form.

    Args:
        schema: what the events are.
        open: returns a reader of the stream of a seed and a signal fraction: the next n events,
            1 for signal.
        sample: of numbers of background and signal events and a seed: such events, independent of
            every stream, background first, with labels.
        optimal_score: of events and a signal region: log p_s / p_b on all features but the
            resonant one in that region, shape (n,); NaN on the edge of the support.
    """

    schema: EventSchema
    open: Callable[[int, float], Reader]
    sample: Callable[[int, int, int], tuple[Events, Labels]]
    optimal_score: Callable[[NDArray[np.floating[Any]], tuple[float, float]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What a run leaves, and what a run doesn't have: the events and their truth.

    Args:
        x: all events of the stream, shape (n, d).
        label: 1 for signal, shape (n,).
        densities: central one and replicas, by the names of the models.
    """

    x: Events
    label: Labels
    densities: Mapping[str, tuple[Density, ...]]


def learn_stream(
    truth: LabelledTruth,
    config: LearnerConfig,
    n: int,
    *,
    seed: int,
    signal_fraction: float,
    change: Callable[[Events], Events] = lambda x: x,
) -> Learned:
    """Returns the densities after one pass over a stream, and its events.

    Args:
        truth: the stream.
        config: models and how they are trained.
        n: events.
        seed: of the stream.
        signal_fraction: probability that an event is signal.
        change: is done to the events before anyone sees them.

    Raises:
        DataError: a model had too few events to begin.
    """
    read = truth.open(seed, signal_fraction)
    learner = Learner(truth.schema, config)
    kept: list[tuple[Events, Labels]] = []
    for start in range(0, n, BLOCK_EVENTS):
        x, label = read(min(BLOCK_EVENTS, n - start))
        kept.append((change(x), label))
        feed(learner, kept[-1][0])
    learner.finish()
    densities = {}
    for model in config.models:
        found = [learner.density(model.name, replica) for replica in range(1 + model.replicas)]
        if found[0] is None:
            raise DataError(f"expected events for model {model.name!r}; got none of {n}")
        densities[model.name] = tuple(density for density in found if density is not None)
    x, label = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    return Learned(x, label, densities)
