"""The learner: exact accounting, restarts, failures, and that it learns."""

import itertools

import numpy as np
import pytest
import torch

from onlineflows.errors import CheckpointError, DivergedError
from onlineflows.flows.base import Gradient
from onlineflows.online.checkpoint import read_checkpoint, write_checkpoint
from onlineflows.online.learner import Learner
from onlineflows.online.trainer import Trainer
from onlineflows.settings import (
    BufferConfig,
    DriftConfig,
    FlowConfig,
    LearnerConfig,
    PreprocessConfig,
    TrainerConfig,
)
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", 0.0, 1.0)))
CONFIG = LearnerConfig(
    preprocess=PreprocessConfig(fit_events=500, knots=9),
    flow=FlowConfig(blocks=2, hidden=8, bins=4),
    buffer=BufferConfig(capacity=512, uses=2),
    trainer=TrainerConfig(batch_size=128, seed=5),
    drift=DriftConfig(warmup_events=1000),
)


def events(n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    m = rng.gamma(9.0, 0.3, n).clip(0.01, 9.9)
    t = 1 / (1 + np.exp(2 * (m - 2.7) + rng.normal(0, 0.5, n)))
    return np.stack([m, t], axis=1).astype(np.float32)


def learned(x: np.ndarray, *, chunk: int = 200, finish: bool = True) -> Learner:
    learner = Learner(SCHEMA, CONFIG)
    feed(learner, x, chunk)
    if finish:
        learner.finish()
    return learner


def feed(learner: Learner, x: np.ndarray, chunk: int = 200) -> list:
    starts = range(0, len(x), chunk)
    return [learner.learn(x[s : s + chunk], lumisection=1) for s in starts]


def test_every_accepted_event_is_trained_on_as_often_as_asked():
    learner = learned(events(3000))
    assert (learner.n_seen, learner.n_accepted, learner.n_trained) == (3000, 3000, 3000)
    assert learner.n_uses == 2 * 3000


def test_events_that_cannot_be_learned_are_counted_by_reason():
    x = events(100)
    x[3, 0], x[4, 1], x[5, 0] = np.nan, np.inf, 11.0
    outcome = Learner(SCHEMA, CONFIG).learn(x, lumisection=1)
    assert outcome.n_accepted == 97
    assert outcome.skipped == {"non_finite": 2, "out_of_support": 1}


def test_the_events_of_the_fit_are_trained_on():
    assert learned(events(600)).n_trained == 600


def test_a_stream_that_ends_before_the_fit_is_marked_tainted():
    learner = learned(events(300))
    assert learner.n_trained == 300
    assert "fitted on 300 of 500 events" in learner.tainted[0]


@pytest.mark.parametrize("x", [events(0), events(40) + 100], ids=["empty", "out of support"])
def test_a_stream_without_an_event_to_learn_from_is_tainted_and_leaves_no_density(x):
    learner = learned(x)
    assert learner.density() is None
    assert learner.tainted == (f"nothing was learned: none of {len(x)} events could be used",)


def test_the_time_spent_learning_goes_on_after_a_restart():
    ticks = itertools.count()
    first = Learner(SCHEMA, CONFIG, clock=lambda: next(ticks))
    feed(first, events(400))
    second = Learner(SCHEMA, CONFIG, clock=lambda: next(ticks))
    second.load(first.state())
    feed(second, events(600))
    assert (first.train_seconds, second.train_seconds) == (2.0, 5.0)


@pytest.mark.parametrize("chunk", [1, 77, 3000])
def test_the_sizes_of_the_batches_do_not_change_theta(chunk):
    x = events(2000)
    assert np.array_equal(learned(x, chunk=chunk).theta(), learned(x).theta())


@pytest.mark.parametrize("cut", [0, 200, 600, 1400])
def test_a_restart_from_a_checkpoint_changes_nothing(tmp_path, cut):
    x = events(2000)
    first = learned(x[:cut], finish=False)
    write_checkpoint(tmp_path, first.state(), serial=1)
    second = Learner(SCHEMA, CONFIG)
    second.load(read_checkpoint(tmp_path)[0])
    feed(second, x[cut:])
    second.finish()
    assert np.array_equal(second.theta(), learned(x).theta())
    assert second.history.points() == learned(x).history.points()


def test_a_checkpoint_of_another_configuration_is_refused():
    other = Learner(SCHEMA, LearnerConfig(flow=FlowConfig(blocks=1, hidden=4)))
    with pytest.raises(CheckpointError, match="this configuration"):
        other.load(learned(events(1000), finish=False).state())


def test_the_buffers_hold_no_more_bytes_than_configured():
    learner = Learner(SCHEMA, CONFIG)
    kept_for_the_gate = CONFIG.gate.events
    assert learner.buffer_nbytes <= (512 + 500 + kept_for_the_gate) * SCHEMA.event_nbytes


def test_a_learned_density_beats_the_marginal_map_alone():
    # The two features are correlated; 2,000 held-out events fix the mean to about 0.02 nats.
    learner = learned(events(30_000))
    start = Learner(SCHEMA, CONFIG)
    feed(start, events(500))
    held_out = events(2000, seed=9)
    gain = learner.density().log_prob(held_out).mean() - start.density().log_prob(held_out).mean()
    assert gain > 0.5


def test_samples_have_as_many_zeros_as_the_data():
    # A fifth of the events are exact zeros. 10,000 draws fix the fraction to 0.004, but so small a
    # flow learns it as 0.16 to 0.18 (seven seeds). Half would be missing if draws beyond the edge
    # were thrown away.
    x = events(10_000)
    x[np.random.default_rng(2).random(len(x)) < 0.2, 1] = 0
    samples = learned(x).density().sample(10_000, seed=3)
    assert (samples[:, 1] < 1e-3).mean() == pytest.approx(0.2, abs=0.05)


class Exploding:
    """A flow whose gradient isn't finite."""

    def __init__(self, theta: torch.Tensor) -> None:
        self.theta = theta

    def gradient(self, z: torch.Tensor) -> Gradient:
        return Gradient(torch.full((len(z),), torch.nan), torch.full_like(self.theta, torch.nan))


class Untouched:
    """An optimiser that must not be called."""

    def step(self, gradient: torch.Tensor) -> None:
        raise AssertionError(gradient)


def test_a_loss_that_is_not_finite_leaves_theta_as_it_was():
    theta = torch.ones(3)
    with pytest.raises(DivergedError, match="not finite"):
        Trainer(Exploding(theta), Untouched()).step(np.zeros((4, 2), dtype=np.float32))
    assert theta.tolist() == [1.0, 1.0, 1.0]
