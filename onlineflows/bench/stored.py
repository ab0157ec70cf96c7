"""A density trained offline on stored events, as often as helps: what a snapshot is up against."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.bench.learning import feed
from onlineflows.density import AnyDensity, Density
from onlineflows.errors import TooFewEventsError
from onlineflows.mixture import Mixture
from onlineflows.model_settings import ModelConfig
from onlineflows.online.learner import Learner
from onlineflows.region import Region
from onlineflows.settings import LearnerConfig
from streams import EventSchema

Events = NDArray[np.float32]

HELD_OUT = 0.1
MOST_HELD_OUT = 50_000
"""Held-out events that decide how often each event is used."""
FEWEST_EVENTS = 200
"""Nobody would fit a flow to fewer."""


@dataclass(frozen=True, slots=True)
class Passes:
    """How often stored events may be used.

    Args:
        uses: what is tried; the best on held-out events wins.
        most_steps: events in all mini-batches of one trial at most, to save time; the smallest
            number of uses is always tried.
    """

    uses: tuple[int, ...] = (8, 16)
    most_steps: int = 8_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A density of stored events.

    Args:
        density: of the model's region.
        uses: how often each event was used.
        nll: mean NLL of the held-out events, nats.
    """

    density: AnyDensity
    uses: int
    nll: float


def learn_stored(
    schema: EventSchema, x: Events, config: LearnerConfig, model: ModelConfig, passes: Passes
) -> Stored:
    """Returns a model's density after training with all events at hand.

    It is the model of the stream but for the buffer, which holds all events, and the number of
    uses, which is chosen on held-out events: a fair rival has both.

    Args:
        schema: of the events.
        x: stored events, shape (n, d); those of the model's region are taken.
        config: the run's settings.
        model: which of its models.
        passes: what to try.

    Raises:
        TooFewEventsError: too few events in the region.
    """
    m = x[:, 0]
    taken = x[Region(model.inside, model.outside).contains(m) & schema.in_support(x)]
    n_test = min(round(HELD_OUT * len(taken)), MOST_HELD_OUT)
    if len(taken) < FEWEST_EVENTS:
        raise TooFewEventsError(
            f"expected at least {FEWEST_EVENTS} events to train {model.name!r}; got {len(taken)}"
        )
    test, train = taken[:n_test], taken[n_test:]
    tried = []
    for uses in _affordable(passes, len(train)):
        density = _trained(schema, train, config, model, uses)
        tried.append(Stored(density, uses, -float(density.log_prob(test).mean())))
    return min(tried, key=lambda stored: stored.nll)


def _trained(
    schema: EventSchema, x: Events, config: LearnerConfig, model: ModelConfig, uses: int
) -> AnyDensity:
    own: dict[str, Any] = {"capacity": len(x), "uses": min(uses, config.trainer.batch_size)}
    buffer = replace(model.buffer, kind="window", **own)
    least = min(len(x), config.of(model).preprocess.fit_events)
    preprocess = replace(model.preprocess, fit_events=least)
    batch = min(config.of(model).trainer.batch_size, max(len(x) // 4, 1))
    alone = replace(
        model,
        buffer=buffer,
        preprocess=preprocess,
        trainer=replace(model.trainer, batch_size=batch),
    )
    learner = Learner(schema, replace(config, models=(alone,)))
    feed(learner, x)
    learner.finish()
    found = [learner.density(model.name, k) for k in range(1 + model.replicas)]
    members: Sequence[Density] = [density for density in found if density is not None]
    return members[0] if len(members) == 1 else Mixture(members)


def _affordable(passes: Passes, n: int) -> list[int]:
    first, *others = sorted(passes.uses)
    return [first, *(uses for uses in others if uses * n <= passes.most_steps)]
