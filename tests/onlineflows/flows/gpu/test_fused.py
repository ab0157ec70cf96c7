"""The fused kernel against the torch flow in float64: on a GPU, or in Triton's interpreter."""

import importlib.util
import os

import pytest
import torch

from onlineflows.errors import ConfigError
from onlineflows.flows import TorchFlow, build_spec
from onlineflows.flows.gpu import fused
from onlineflows.flows.gpu.fused import FusedFlow, Tiling, device_flow, gradient_error, unsupported
from onlineflows.settings import FlowConfig

# The interpreter's own, with a numpy that still allows it.
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or (DEVICE == "cpu" and not INTERPRETED),
    reason="needs Triton with a GPU, or with TRITON_INTERPRET=1 and a numpy older than 2.4",
)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


@needs_triton
@pytest.mark.parametrize("n", [1, 37])
@pytest.mark.parametrize(
    ("config", "d", "c"),
    [
        pytest.param(FlowConfig(), 5, 0, id="default"),
        pytest.param(FlowConfig(hidden=9, bins=20, blocks=2), 3, 1, id="odd sizes, context"),
        pytest.param(FlowConfig(family="coupling", hidden=20, bins=7), 5, 2, id="coupling"),
    ],
)
def test_nll_and_gradient_are_those_of_the_torch_flow(config, d, c, n):
    spec = build_spec(config, d, c)
    theta = 0.2 * normal(spec.n_parameters, seed=1)
    # Wide enough that some events lie outside the splines.
    x, weight = 2.5 * normal(n, d, seed=2), normal(n, seed=4).abs()
    context = normal(n, c, seed=3) if c else None
    ours = FusedFlow(spec, theta, precision="ieee").gradient(x, context, weight=weight)
    truth = TorchFlow(spec, theta.double()).gradient(x, context, weight=weight)
    torch.testing.assert_close(ours.nll.double(), truth.nll, rtol=1e-4, atol=1e-4)
    assert float((ours.theta - truth.theta).norm() / truth.theta.norm()) < 3e-5


@needs_triton
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("ieee", 3e-5), ("tf32x3", 3e-5), ("tf32", 1e-2)]
)
def test_each_precision_is_as_exact_as_said(precision, tolerance):
    spec = build_spec(FlowConfig(blocks=2), 3)
    theta = torch.zeros(spec.n_parameters, device=DEVICE)
    flow = FusedFlow(spec, theta, precision=precision)
    assert gradient_error(flow, n_events=64) < tolerance


@needs_triton
@pytest.mark.parametrize("tile", [16, 32, 64])
def test_the_tile_does_not_change_the_gradient(tile):
    spec = build_spec(FlowConfig(blocks=1, hidden=16), 2)
    theta, x = 0.2 * normal(spec.n_parameters, seed=1), normal(100, 2, seed=2)
    ours = FusedFlow(spec, theta, tiling=Tiling(events=tile, warps=2), precision="ieee").gradient(x)
    truth = TorchFlow(spec, theta.double()).gradient(x)
    torch.testing.assert_close(ours.theta.double(), truth.theta, rtol=1e-3, atol=1e-5)


@needs_triton
def test_the_kernel_is_used_once_it_was_found_right():
    spec = build_spec(FlowConfig(blocks=1, hidden=8), 2)
    theta = torch.zeros(spec.n_parameters, device=DEVICE)
    assert type(device_flow(spec, theta)) is FusedFlow


@needs_triton
def test_a_kernel_that_is_wrong_is_not_used(monkeypatch, caplog):
    monkeypatch.setattr(fused, "gradient_error", lambda *_, **__: float("nan"))
    spec = build_spec(FlowConfig(blocks=1, hidden=8), 2)
    theta = torch.zeros(spec.n_parameters, device=DEVICE)
    assert type(device_flow(spec, theta)) is TorchFlow
    assert "off by nan" in caplog.text


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (FlowConfig(), ""),
        (FlowConfig(transform="affine"), "isn't a spline"),
        (FlowConfig(hidden=65), "more than 64"),
    ],
)
def test_what_the_kernel_does_not_take_is_said(config, reason):
    found = unsupported(build_spec(config, 4))
    assert reason in found
    assert bool(reason) == bool(found)


def test_a_fused_flow_refuses_float64():
    spec = build_spec(FlowConfig(), 2)
    with pytest.raises(ConfigError, match="float64"):
        FusedFlow(spec, torch.zeros(spec.n_parameters, dtype=torch.float64))


def test_a_flow_that_the_kernel_does_not_take_is_left_to_torch():
    spec = build_spec(FlowConfig(transform="affine"), 2)
    assert type(device_flow(spec, torch.zeros(spec.n_parameters))) is TorchFlow
