"""The trainer that doesn't wait, against the one that does. Without a GPU: the same operations."""

import numpy as np
import pytest
import torch

from onlineflows.errors import ConfigError, DivergedError
from onlineflows.flows import Flow, TorchFlow, build_spec, initial_theta
from onlineflows.online import graphed
from onlineflows.online.device_optimiser import DeviceScheduleFreeAdamW
from onlineflows.online.graphed import GraphedTrainer, make_trainer
from onlineflows.online.optimiser import ScheduleFreeAdamW
from onlineflows.online.trainer import Trainer
from onlineflows.settings import FlowConfig, LearnerConfig, OptimiserConfig, TrainerConfig

BATCH = 32
OPTIMISER = OptimiserConfig(warmup_steps=5)
FLOW = FlowConfig(blocks=2, hidden=8, bins=4)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])


def new_flow(device: str = "cpu", config: FlowConfig = FLOW) -> Flow:
    spec = build_spec(config, 3)
    return TorchFlow(spec, initial_theta(spec, torch.Generator().manual_seed(1)).to(device))


def new_trainer(device: str = "cpu") -> GraphedTrainer:
    flow = new_flow(device)
    return GraphedTrainer(flow, DeviceScheduleFreeAdamW(OPTIMISER, flow.theta), batch_size=BATCH)


def plain_trainer() -> Trainer:
    flow = new_flow()
    return Trainer(flow, ScheduleFreeAdamW(OPTIMISER, flow.theta))


def batches(n: int, size: int = BATCH) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.normal(size=(size, 3)).astype(np.float32) for _ in range(n)]


@pytest.fixture
def short_stretches(monkeypatch):
    """Makes the host look at the device every four steps."""
    monkeypatch.setattr(graphed, "STEPS_AHEAD", 4)


@devices
@pytest.mark.usefixtures("short_stretches")
def test_steps_are_those_of_the_plain_trainer(device):
    ours, plain = new_trainer(device), plain_trainer()
    for batch in [*batches(10), *batches(1, size=7)]:
        ours.step(batch)
        plain.step(batch)
    assert ours.n_steps == plain.n_steps == 11
    torch.testing.assert_close(ours.averaged(), plain.averaged(), rtol=1e-3, atol=1e-5)


@devices
@pytest.mark.usefixtures("short_stretches")
def test_reports_give_the_losses_of_their_own_steps(device):
    ours, plain = new_trainer(device), plain_trainer()
    reports = [ours.step(batch) for batch in batches(7)]
    truth = [plain.step(batch).nll for batch in batches(7)]
    np.testing.assert_allclose([r.nll for r in reports], truth, rtol=1e-4)
    assert ours.n_steps == 7


@devices
@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_after_a_refused_step_everything_is_as_before_it(device, bad):
    ours, short = new_trainer(device), new_trainer(device)
    stream = batches(10)
    stream[5][3, 1] = bad
    for batch in stream[:5]:
        short.step(batch)
    with pytest.raises(DivergedError, match="step 6: expected a finite loss"):
        list(map(ours.step, stream))
    assert ours.n_steps == 5
    before, after = short.state(), ours.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


@devices
@pytest.mark.parametrize("look", ["averaged", "state", "settle"])
def test_nothing_is_published_past_a_refused_step(device, look):
    trainer = new_trainer(device)
    trainer.step(np.full((BATCH, 3), np.nan, dtype=np.float32))
    with pytest.raises(DivergedError, match="step 1"):
        getattr(trainer, look)()


@devices
def test_training_goes_on_after_a_refused_step(device):
    trainer = new_trainer(device)
    trainer.step(np.full((BATCH, 3), np.nan, dtype=np.float32))
    with pytest.raises(DivergedError):
        trainer.settle()
    trainer.step(batches(1)[0])
    trainer.settle()
    assert trainer.n_steps == 1


@devices
def test_a_restart_changes_nothing(device):
    whole, first, second = new_trainer(device), new_trainer(device), new_trainer(device)
    for batch in batches(9):
        whole.step(batch)
    for batch in batches(9)[:5]:
        first.step(batch)
    second.load(first.state())
    for batch in batches(9)[5:]:
        second.step(batch)
    ours, theirs = second.state(), whole.state()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@devices
def test_the_plain_trainer_takes_up_the_state_and_gives_it_back(device):
    ours, plain = new_trainer(device), plain_trainer()
    for batch in batches(5):
        ours.step(batch)
    state = ours.state()
    plain.load(state)
    assert plain.n_steps == 5
    again = plain.state()
    assert again.keys() == state.keys()
    assert all(np.array_equal(again[name], state[name]) for name in state)


@devices
def test_a_mini_batch_may_be_overwritten_at_once(device):
    ours, plain = new_trainer(device), plain_trainer()
    reused = np.empty((BATCH, 3), dtype=np.float32)
    for batch in batches(6):
        reused[:] = batch
        ours.step(reused)
        plain.step(batch)
    torch.testing.assert_close(ours.averaged(), plain.averaged(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", ["autoregressive", "coupling"])
def test_a_step_never_looks_at_a_value(family):
    # Tensors of this device have none: waiting for one, or for one of the CPU's, would fail.
    blind = new_flow("meta", FlowConfig(family, blocks=2, hidden=8, bins=4))
    optimiser = DeviceScheduleFreeAdamW(OptimiserConfig(weight_decay=0.1), blind.theta)
    trainer = GraphedTrainer(blind, optimiser, batch_size=BATCH)
    trainer.replay()
    assert trainer._record.taken.device.type == "meta"


def test_the_cpu_keeps_the_plain_trainer():
    assert isinstance(make_trainer(LearnerConfig(flow=FLOW), new_flow()), Trainer)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_asking_for_a_gpu_where_there_is_none_says_so():
    config = LearnerConfig(flow=FLOW, trainer=TrainerConfig(device="cuda"))
    with pytest.raises(ConfigError, match="expected a GPU"):
        make_trainer(config, new_flow())
