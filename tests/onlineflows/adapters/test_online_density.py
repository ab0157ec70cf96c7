"""The learner behind two adapters: what it counts, and what its density is at any moment."""

from dataclasses import dataclass

import numpy as np
import pytest

from onlineflows.adapters.online_density import CAPACITY, OnlineDensity, learner_config
from onlineflows.errors import ConfigError
from onlineflows.online.model_learner import ModelLearner
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("m", "TeV", 0, 10), Feature("y", "", -np.inf, np.inf)))


@dataclass
class SmallSizes:
    fit_events: int = 100
    uses: int = 4
    batch_size: int = 64
    learning_rate: float = 3.5e-3
    blocks: int = 1
    hidden: int = 8
    bins: int = 4


CONFIG = learner_config(SmallSizes(), seed=1)


def rows(n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.gamma(9, 0.3, n), rng.normal(size=n)], axis=1).astype(np.float32)


def test_rows_that_cannot_be_learned_from_are_counted_by_reason():
    bad = [[np.nan, 1], [np.nan, np.inf], [np.inf, 1], [1, -np.inf], [-1, 0], [1, 1]]
    online = OnlineDensity(SCHEMA, CONFIG)
    accepted = online.learn(np.array(bad, dtype=np.float32))
    assert accepted.tolist() == [[1, 1]]
    assert online.n_seen == 6
    assert online.skipped == {"missing": 2, "non_finite": 2, "out_of_support": 1}


def test_the_finished_density_is_what_a_finished_learner_has():
    online, learner = OnlineDensity(SCHEMA, CONFIG), ModelLearner(SCHEMA, CONFIG, CONFIG.models[0])
    online.learn(rows(1000))
    learner.take(rows(1000), np.arange(1000))
    learner.finish()
    expected = learner.density().log_prob(rows(200, seed=2))
    found = online.finished().log_prob(rows(200, seed=2))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_density_so_far_is_what_a_learner_has_so_far():
    online, learner = OnlineDensity(SCHEMA, CONFIG), ModelLearner(SCHEMA, CONFIG, CONFIG.models[0])
    online.learn(rows(1000))
    learner.take(rows(1000), np.arange(1000))
    expected = learner.density().log_prob(rows(200, seed=2))
    np.testing.assert_array_equal(online.density().log_prob(rows(200, seed=2)), expected)


def test_before_the_marginal_map_is_fitted_only_an_end_gives_a_density():
    online = OnlineDensity(SCHEMA, CONFIG)
    assert online.finished() is None
    online.learn(rows(99))
    assert online.density() is None
    assert online.finished() is not None


def test_a_batch_larger_than_the_usual_buffer_enlarges_it():
    sizes = SmallSizes(batch_size=2 * CAPACITY)
    assert learner_config(sizes, seed=1).buffer.capacity == 2 * CAPACITY


def test_sizes_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match=r"flow\.hidden: expected at least 1; got 0"):
        learner_config(SmallSizes(hidden=0), seed=1)
