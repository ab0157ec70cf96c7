"""The trainer of several θ, against one trainer for each."""

import numpy as np
import pytest
import torch

from onlineflows.engine import available
from onlineflows.errors import DivergedError
from onlineflows.flows import TorchFlow, build_spec
from onlineflows.flows.spec import FlowSpec
from onlineflows.online.optimiser import make_optimiser
from onlineflows.online.replicas import ReplicaTrainer, initial_thetas, make_replica_trainer
from onlineflows.settings import FlowConfig, LearnerConfig, TrainerConfig

SPEC = build_spec(FlowConfig(blocks=2, hidden=8, bins=4), 3)
N, R = 100, 3
ENGINES = ["torch", pytest.param("compiled", marks=pytest.mark.skipif(not available(), reason=""))]


def config_of(engine: str) -> LearnerConfig:
    return LearnerConfig(trainer=TrainerConfig(engine=engine))


def trainer_of(engine: str, spec: FlowSpec = SPEC) -> ReplicaTrainer:
    thetas = initial_thetas(spec, 5, model="joint", replicas=R - 1)
    return make_replica_trainer(config_of(engine), spec, thetas)


def mini_batches(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(2)
    return [
        (rng.normal(size=(N, 3)).astype(np.float32), rng.poisson(1, (R, N)).astype(np.float32))
        for _ in range(n)
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_theta_moves_as_it_would_alone(engine):
    trainer = trainer_of(engine)
    thetas = initial_thetas(SPEC, 5, model="joint", replicas=R - 1)
    flows = [TorchFlow(SPEC, theta) for theta in thetas]
    optimisers = [make_optimiser(LearnerConfig().optimiser, theta) for theta in thetas]
    for z, weight in mini_batches(5):
        trainer.step(z, weight)
        for flow, optimiser, w in zip(flows, optimisers, weight, strict=True):
            gradient = flow.gradient(torch.from_numpy(z), weight=torch.from_numpy(w))
            optimiser.step(gradient.theta)
    expected = torch.stack([optimiser.averaged() for optimiser in optimisers])
    torch.testing.assert_close(trainer.averaged().view(R, -1), expected, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_restart_changes_nothing(engine):
    whole, first, second = (trainer_of(engine) for _ in range(3))
    for z, weight in mini_batches(6):
        whole.step(z, weight)
    for z, weight in mini_batches(6)[:3]:
        first.step(z, weight)
    second.load(first.state())
    for z, weight in mini_batches(6)[3:]:
        second.step(z, weight)
    assert second.n_steps == 6
    assert torch.equal(second.averaged(), whole.averaged())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_that_is_not_finite_for_one_theta_changes_none(engine):
    trainer = trainer_of(engine)
    (z, weight), *_ = mini_batches(1)
    trainer.step(z, weight)
    before = trainer.state()
    weight[1, 4] = np.nan
    with pytest.raises(DivergedError, match=r"step 2: .* and 1 of 3 θ with others"):
        trainer.step(z, weight)
    assert all(np.array_equal(before[name], after) for name, after in trainer.state().items())


def test_every_replica_begins_with_weights_of_its_own():
    thetas = initial_thetas(SPEC, 5, model="joint", replicas=3)
    others = initial_thetas(SPEC, 5, model="window", replicas=3)
    assert torch.equal(thetas[0], others[0])
    assert len({theta.numpy().tobytes() for theta in [*thetas, *others]}) == 7
