"""What a GPU does with events before they are trained on, against what the host does."""

import importlib.util
import os
from itertools import pairwise

import numpy as np
import pytest
import torch

from onlineflows.flows import Flow, TorchFlow
from onlineflows.online import device_intake, model_learner
from onlineflows.online.buffer import WindowBuffer
from onlineflows.online.device_intake import DeviceMap, DeviceWindow, device_map, map_error
from onlineflows.online.device_optimiser import DeviceScheduleFreeAdamW
from onlineflows.online.graphed import GraphedTrainer
from onlineflows.online.learner import Learner
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import (
    BufferConfig,
    FlowConfig,
    LearnerConfig,
    PreprocessConfig,
    TrainerConfig,
)
from onlineflows.support import EPSILON, support_map
from streams import EventSchema, Feature

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
HAS_GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = torch.device("cuda" if HAS_GPU else "cpu")

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or not (HAS_GPU or INTERPRETED),
    reason="needs Triton with a GPU, or with TRITON_INTERPRET=1 and a numpy older than 2.4",
)
devices = pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not HAS_GPU, reason="needs a GPU"))],
)
# The interpreter's own, with a numpy that still allows it.
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")

TOLERANCE_NATS = 1e-3
"""Twenty times what relative errors of 1e-4 in the first θ do."""
INF = float("inf")
SCHEMA = EventSchema(
    (
        Feature("bounded", "1", -1.0, 3.0),
        Feature("above", "GeV", 0.0, INF),
        Feature("below", "1", -INF, 2.0),
        Feature("free", "1", -INF, INF),
    )
)


def fitted(n: int = 3000) -> tuple[Preprocessing, np.ndarray]:
    rng = np.random.default_rng(1)
    x = np.stack(
        [
            rng.uniform(-1, 3, n),
            # Exact zeros: knots that coincide.
            np.maximum(rng.exponential(100.0, n) - 20, 0),
            2 - rng.exponential(1.0, n),
            rng.standard_cauchy(n),
        ],
        axis=1,
    ).astype(np.float32)
    return Preprocessing.fit(SCHEMA, x, knots=13), x


@pytest.mark.parametrize("feature", SCHEMA.features, ids=lambda f: f.name)
def test_the_common_form_of_a_support_is_its_map(feature):
    support = support_map(feature)
    low, above, high, below, per_unit, linear = support.coefficients
    x = np.linspace(max(feature.low, -50), min(feature.high, 50), 101)
    common = linear * x
    if above:
        common = common + above * np.log(EPSILON + per_unit * (x - low))
    if below:
        common = common - below * np.log(EPSILON + per_unit * (high - x))
    np.testing.assert_allclose(support.forward(x), common, rtol=1e-12, atol=1e-12)


@needs_triton
def test_the_kernel_maps_as_the_host_does():
    preprocessing, x = fitted()
    # More than one piece of work, and neither of them full.
    found = DeviceMap(preprocessing, DEVICE).forward(x[:301]).cpu().numpy()
    np.testing.assert_allclose(found, preprocessing.forward(x[:301])[0], rtol=1e-6, atol=1e-6)


@needs_triton
def test_the_kernel_is_used_once_it_was_found_right():
    preprocessing, _ = fitted()
    assert map_error(DeviceMap(preprocessing, DEVICE), preprocessing, n_events=300) < 1e-6
    found = device_map(preprocessing, DEVICE)
    assert found.__qualname__ == "DeviceMap.forward"


@needs_triton
def test_a_kernel_that_is_wrong_is_not_used(monkeypatch, caplog):
    monkeypatch.setattr(device_intake, "map_error", lambda *_: float("nan"))
    preprocessing, x = fitted()
    found = device_map(preprocessing, DEVICE)(x[:9]).cpu().numpy()
    np.testing.assert_array_equal(found, preprocessing.forward(x[:9])[0].astype(np.float32))
    assert "off by nan" in caplog.text


@pytest.mark.skipif(importlib.util.find_spec("triton") is not None, reason="there is Triton")
def test_without_triton_the_host_maps():
    preprocessing, x = fitted()
    found = device_map(preprocessing, torch.device("cpu"))(x[:9]).numpy()
    np.testing.assert_array_equal(found, preprocessing.forward(x[:9])[0].astype(np.float32))


def windows(device: str) -> tuple[DeviceWindow, WindowBuffer]:
    config = BufferConfig(capacity=64, uses=4)
    ours = DeviceWindow(2, config, batch_size=16, seed=3, device=torch.device(device))
    return ours, WindowBuffer(2, capacity=64, uses=4, batch_size=16, seed=3)


def numbered(n: int, first: int = 0) -> np.ndarray:
    numbers = np.arange(first, first + n, dtype=np.float32)
    return np.stack([numbers, -numbers], axis=1)


def on(device: str, events: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(events).to(device)


@devices
def test_a_window_on_a_device_yields_what_one_on_the_host_does(device):
    ours, plain = windows(device)
    events = numbered(333)
    found, expected = [], []
    for start, end in pairwise([0, 3, 20, 150, 151, 333]):
        found += ours.feed(on(device, events[start:end]))
        expected += plain.feed(events[start:end])
    found, expected = [*found, *ours.drain()], [*expected, *plain.drain()]
    assert len(found) == len(expected) > 80
    assert all(np.array_equal(a.cpu().numpy(), b) for a, b in zip(found, expected, strict=True))
    assert (ours.n_fed, ours.n_uses) == (plain.n_fed, plain.n_uses) == (333, 4 * 333)


@devices
def test_a_window_on_either_side_goes_on_from_the_others_state(device):
    events = numbered(200)
    ours, plain = windows(device)
    list(ours.feed(on(device, events[:117])))
    list(plain.feed(events[:117]))
    state = ours.state()
    assert all(np.array_equal(state[name], array) for name, array in plain.state().items())
    again, _ = windows(device)
    # Something that must be forgotten.
    list(again.feed(on(device, numbered(100, first=1000))))
    again.load(state)
    found = [*again.feed(on(device, events[117:])), *again.drain()]
    expected = [*plain.feed(events[117:]), *plain.drain()]
    assert all(np.array_equal(a.cpu().numpy(), b) for a, b in zip(found, expected, strict=True))


def new_learner(device: str) -> Learner:
    config = LearnerConfig(
        flow=FlowConfig(blocks=2, hidden=16),
        trainer=TrainerConfig(device=device, batch_size=64),
        buffer=BufferConfig(capacity=256),
        preprocess=PreprocessConfig(fit_events=200),
    )
    return Learner(SCHEMA, config)


def on_the_cpu(config: LearnerConfig, flow: Flow) -> GraphedTrainer:
    """What `make_trainer` would return if the CPU were a GPU."""
    torch_flow = TorchFlow(flow.spec, flow.theta)
    optimiser = DeviceScheduleFreeAdamW(config.optimiser, flow.theta)
    return GraphedTrainer(torch_flow, optimiser, batch_size=config.trainer.batch_size)


@devices
def test_a_learner_on_a_device_learns_what_one_on_the_cpu_does(device, monkeypatch):
    def learner_on(side: str) -> Learner:
        with monkeypatch.context() as patched:
            if side == "device" and device == "cpu":
                patched.setattr(model_learner, "make_trainer", on_the_cpu)
            return new_learner(device if side == "device" else "cpu")

    x = fitted()[1][:500]
    ours, plain = learner_on("device"), learner_on("host")
    for learner in (ours, plain):
        for part in np.array_split(x[:300], 7):
            learner.learn(part, lumisection=1)
    # Each goes on from the state of the other kind, too.
    swapped, swapped_plain = learner_on("device"), learner_on("host")
    swapped.load(plain.state())
    swapped_plain.load(ours.state())
    learners = (ours, plain, swapped, swapped_plain)
    for learner in learners:
        learner.learn(x[300:], lumisection=1)
        learner.finish()
    densities = [learner.density() for learner in learners]
    nll = [-density.log_prob(x).mean() for density in densities if density is not None]
    # Thirty steps: many more would make rounding errors grow until they are seen.
    np.testing.assert_allclose(nll, [nll[1]] * 4, atol=TOLERANCE_NATS)
    assert {learner.n_steps for learner in learners} == {plain.n_steps}
