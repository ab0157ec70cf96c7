"""Tan's bootstrap likelihood ratio, online."""

import numpy as np
import pytest

from onlineflows.errors import ConfigError
from onlineflows.online.ratio_learner import RatioLearner
from onlineflows.settings import (
    BufferConfig,
    FlowConfig,
    LearnerConfig,
    PreprocessConfig,
    TrainerConfig,
)
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("a", "", -np.inf, np.inf), Feature("b", "", -np.inf, np.inf)))
CONFIG = LearnerConfig(
    flow=FlowConfig(blocks=2, hidden=16, bins=6),
    preprocess=PreprocessConfig(fit_events=1000),
    buffer=BufferConfig(capacity=2048),
    trainer=TrainerConfig(batch_size=256),
)


def stream(n: int, share: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A broad background with a narrow cluster."""
    rng = np.random.default_rng(seed)
    label = rng.random(n) < share
    x = np.where(label[:, None], 1.5 + 0.1 * rng.standard_normal((n, 2)), rng.normal(size=(n, 2)))
    return x.astype(np.float32), label


def learned(x: np.ndarray, step: int = 500, **options: object) -> RatioLearner:
    learner = RatioLearner(SCHEMA, CONFIG, **options)  # type: ignore[arg-type]
    for start in range(0, len(x), step):
        learner.take(x[start : start + step])
    learner.finish()
    return learner


@pytest.mark.parametrize("heavy_tails", [False, True])
def test_a_cluster_has_a_smaller_ratio_than_the_background(heavy_tails: bool) -> None:
    x, _ = stream(6_000, 0.1)

    found = learned(x, heavy_tails=heavy_tails).densities()

    test, label = stream(4000, 0.3, seed=2)
    log_lambda = found["background"].log_prob(test) - found["data"].log_prob(test)
    assert np.median(log_lambda[label]) < np.median(log_lambda[~label])


def test_theta_depends_on_the_events_alone_and_not_on_how_they_come() -> None:
    x, _ = stream(2000, 0.1)

    one, other = (learned(x, step).densities()["background"].log_prob(x) for step in (111, 2000))

    np.testing.assert_array_equal(one, other)


def test_every_event_is_used_as_often_as_said_and_some_are_rejected() -> None:
    learner = learned(stream(3000, 0.1)[0])

    assert learner.n_uses == CONFIG.buffer.uses * 3000
    assert 0 < learner.n_passed < learner.n_uses


def test_few_events_are_learned_at_the_end() -> None:
    assert set(learned(stream(300, 0.1)[0]).densities()) == {"data", "background"}


def test_without_events_there_is_no_density() -> None:
    assert learned(stream(0, 0.1)[0]).densities() == {}


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_an_impossible_type_one_error_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="alpha"):
        RatioLearner(SCHEMA, CONFIG, alpha=alpha)
