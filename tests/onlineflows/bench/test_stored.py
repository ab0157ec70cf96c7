"""Densities trained offline on stored events: the rival of a snapshot."""

import numpy as np
import pytest

from onlineflows.bench.stored import Passes, learn_stored
from onlineflows.errors import TooFewEventsError
from onlineflows.mixture import Mixture
from onlineflows.model_settings import ModelConfig
from onlineflows.settings import FlowConfig, LearnerConfig, TrainerConfig
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 4.0), Feature("a", "", -9.0, 9.0)))
CONFIG = LearnerConfig(
    flow=FlowConfig(blocks=1, hidden=8, bins=4), trainer=TrainerConfig(batch_size=128)
)
WINDOW = ModelConfig("window", inside=(1.0, 3.0))
ONCE = Passes(uses=(1,))


def events(n: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.column_stack([rng.uniform(0, 4, n), rng.normal(size=n)]).astype(np.float32)


def test_only_events_of_the_region_are_learned() -> None:
    density = learn_stored(SCHEMA, events(2000), CONFIG, WINDOW, ONCE).density

    assert density.schema.resonant.low == 1.0
    outside = np.array([[0.5, 0.0], [3.5, 0.0]])
    assert np.isneginf(density.log_prob(outside)).all()


def test_the_number_of_uses_is_chosen_on_held_out_events() -> None:
    x = events(4000)
    singles = {u: learn_stored(SCHEMA, x, CONFIG, WINDOW, Passes((u,))) for u in (1, 8)}

    both = learn_stored(SCHEMA, x, CONFIG, WINDOW, Passes(uses=(1, 8)))

    best = min(singles, key=lambda u: singles[u].nll)
    assert (both.uses, both.nll) == (best, singles[best].nll)


def test_what_takes_too_long_is_not_tried() -> None:
    found = learn_stored(
        SCHEMA, events(2000), CONFIG, WINDOW, Passes(uses=(2, 100), most_steps=5000)
    )
    assert found.uses == 2


def test_replicas_are_mixed() -> None:
    model = ModelConfig("window", inside=(1.0, 3.0), replicas=1)

    density = learn_stored(SCHEMA, events(2000), CONFIG, model, ONCE).density

    assert isinstance(density, Mixture)
    assert len(density.densities) == 2


def test_nobody_fits_a_flow_to_a_handful_of_events() -> None:
    with pytest.raises(TooFewEventsError, match="to train 'window'"):
        learn_stored(SCHEMA, events(100), CONFIG, WINDOW, ONCE)
