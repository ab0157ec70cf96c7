"""The engine's flow: equal to the torch reference, whatever the architecture and processor."""

import copy
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from onlineflows.engine import EngineFlow, info
from onlineflows.errors import ConfigError
from onlineflows.flows import FlowConfig, FlowSpec, TorchFlow, build_spec

configs = st.builds(
    FlowConfig,
    family=st.sampled_from(["autoregressive", "coupling"]),
    transform=st.sampled_from(["spline", "affine"]),
    blocks=st.integers(1, 3),
    hidden=st.integers(1, 70),
    bins=st.sampled_from([2, 3, 5, 8, 16, 17]),
    bound=st.sampled_from([1.0, 5.0]),
)
specs = st.builds(build_spec, configs, st.integers(1, 7), st.integers(0, 3))

DEFAULT = build_spec(FlowConfig(blocks=2, hidden=20, bins=8), 5, 1)


def normal(*shape: int, scale: float, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=dtype)


def theta_of(spec: FlowSpec, *, dtype: torch.dtype = torch.float64) -> Tensor:
    return normal(spec.n_parameters, scale=0.2, seed=1, dtype=dtype)


def events_of(
    spec: FlowSpec, n: int, *, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor | None]:
    x = normal(n, spec.n_features, scale=2.0, seed=2, dtype=dtype)
    context = normal(n, spec.n_context, scale=1.0, seed=3, dtype=dtype)
    return x, context if spec.n_context else None


def distance(a: Tensor, b: Tensor) -> float:
    """Largest difference relative to the largest entry."""
    if b.numel() == 0:
        return 0.0
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-300))


every_architecture = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@every_architecture
@given(spec=specs, n=st.integers(1, 200))
def test_the_gradient_is_the_reference_s(isa, spec, n):
    x, context = events_of(spec, n)
    weight = normal(n, scale=1.0, seed=4).abs()
    theta = theta_of(spec)
    fast = EngineFlow(spec, theta, threads=2).gradient(x, context, weight=weight)
    reference = TorchFlow(spec, theta).gradient(x, context, weight=weight)
    assert distance(fast.nll, reference.nll) < 1e-11
    assert distance(fast.theta, reference.theta) < 1e-11


@every_architecture
@given(spec=specs, n=st.integers(1, 200))
def test_log_densities_are_the_reference_s(isa, spec, n):
    x, context = events_of(spec, n)
    theta = theta_of(spec)
    fast = EngineFlow(spec, theta, threads=2).log_prob_by_feature(x, context)
    assert distance(fast, TorchFlow(spec, theta).log_prob_by_feature(x, context)) < 1e-11


@every_architecture
@given(spec=specs, n=st.integers(1, 200))
def test_samples_are_the_reference_s(isa, spec, n):
    z, context = events_of(spec, n)
    theta = theta_of(spec)
    fast = EngineFlow(spec, theta, threads=2).inverse(z, context)
    assert distance(fast, TorchFlow(spec, theta).inverse(z, context)) < 1e-11


@every_architecture
@given(spec=specs)
def test_float32_is_good_to_its_precision(isa, spec):
    x, context = events_of(spec, 100, dtype=torch.float32)
    theta = theta_of(spec, dtype=torch.float32)
    fast = EngineFlow(spec, theta)
    exact = TorchFlow(spec, theta.double())
    c = None if context is None else context.double()
    assert distance(fast.log_prob(x, context), exact.log_prob(x.double(), c)) < 1e-5
    gradient = fast.gradient(x, context)
    assert distance(gradient.theta, exact.gradient(x.double(), c).theta) < 1e-3


@pytest.mark.parametrize("transform", ["spline", "affine"])
@pytest.mark.parametrize("hidden", [33, 64])
def test_bfloat16_gradients_point_where_float32_ones_do(isa, transform, hidden):
    spec = build_spec(FlowConfig(transform=transform, hidden=hidden), 5, 1)
    x, context = events_of(spec, 512, dtype=torch.float32)
    theta = 0.25 * theta_of(spec, dtype=torch.float32)
    rough = EngineFlow(spec, theta, precision="bfloat16").gradient(x, context)
    exact = TorchFlow(spec, theta).gradient(x, context)
    # 8 bits of mantissa: 2^-9 for each rounding, a few of them in a row.
    error = (rough.theta - exact.theta).norm() / exact.theta.norm()
    assert float(error) < 1e-2
    assert float((rough.nll - exact.nll).abs().mean()) < 1e-2


def test_bfloat16_leaves_likelihoods_in_float32(isa):
    x, context = events_of(DEFAULT, 100, dtype=torch.float32)
    theta = theta_of(DEFAULT, dtype=torch.float32)
    rough = EngineFlow(DEFAULT, theta, precision="bfloat16").log_prob(x, context)
    assert torch.equal(rough, EngineFlow(DEFAULT, theta).log_prob(x, context))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("n", [1, 64, 1000])
def test_a_deterministic_gradient_has_the_same_bits_for_any_number_of_threads(isa, precision, n):
    x, context = events_of(DEFAULT, n, dtype=torch.float32)
    theta = theta_of(DEFAULT, dtype=torch.float32)
    bits = [
        EngineFlow(DEFAULT, theta, threads=threads, precision=precision, deterministic=True)
        .gradient(x, context)
        .theta
        for threads in (1, 2, 3, 5)
    ]
    assert all(torch.equal(bits[0], other) for other in bits[1:])


def test_several_thetas_have_the_gradients_that_each_has_alone(isa):
    x, context = events_of(DEFAULT, 150)
    thetas = normal(3, DEFAULT.n_parameters, scale=0.2, seed=5)
    weight = torch.poisson(torch.ones(3, 150, dtype=torch.float64))
    together = EngineFlow(DEFAULT, thetas[0]).gradients(thetas, x, context, weight=weight)
    for theta, w, gradient in zip(thetas, weight, together.theta, strict=True):
        alone = EngineFlow(DEFAULT, theta).gradient(x, context, weight=w)
        assert torch.equal(gradient, alone.theta)


def poisson(n: int) -> Tensor:
    """Weights of which the first is zero."""
    weight = torch.poisson(torch.ones(n, dtype=torch.float64), torch.Generator().manual_seed(3))
    weight[0] = 0
    return weight


@pytest.mark.parametrize("n", [1, 64, 150])
def test_an_event_of_weight_zero_is_left_out_whatever_it_holds(isa, n):
    theta, weight, (x, context) = theta_of(DEFAULT), poisson(n), events_of(DEFAULT, n)
    expected = TorchFlow(DEFAULT, theta).gradient(x, context, weight=weight)
    broken = torch.where(weight[:, None] == 0, torch.nan, x)
    gradient = EngineFlow(DEFAULT, theta).gradient(broken, context, weight=weight)
    assert distance(gradient.theta, expected.theta) < 1e-12
    assert distance(gradient.nll, torch.where(weight == 0, 0.0, expected.nll)) < 1e-12


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_leaving_out_events_gives_the_same_bits_for_any_number_of_threads(isa, threads):
    theta, weight, (x, context) = theta_of(DEFAULT), poisson(1000), events_of(DEFAULT, 1000)
    flows = [EngineFlow(DEFAULT, theta, threads=n, deterministic=True) for n in (1, threads)]
    one, other = (flow.gradient(x, context, weight=weight).theta for flow in flows)
    assert torch.equal(one, other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_bad_event_spoils_its_own_density_only(isa, value):
    x, context = events_of(DEFAULT, 70)
    flow = EngineFlow(DEFAULT, theta_of(DEFAULT))
    clean = flow.log_prob(x, context)
    x[3, 0] = value
    spoilt = flow.log_prob(x, context)
    assert not torch.isfinite(spoilt[3])
    others = torch.arange(70) != 3
    assert torch.equal(spoilt[others], clean[others])


def test_theta_is_read_anew_at_each_call():
    x, context = events_of(DEFAULT, 10)
    theta = theta_of(DEFAULT)
    flow = EngineFlow(DEFAULT, theta)
    before = flow.log_prob(x, context)
    theta.mul_(2)
    assert not torch.equal(flow.log_prob(x, context), before)


def test_one_flow_may_be_used_by_several_python_threads():
    flow = EngineFlow(DEFAULT, theta_of(DEFAULT), threads=2, deterministic=True)
    x, context = events_of(DEFAULT, 300)
    expected = flow.gradient(x, context).theta
    with ThreadPoolExecutor(4) as pool:
        for gradient in pool.map(lambda _: flow.gradient(x, context), range(16)):
            assert torch.equal(gradient.theta, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own():
    flow = EngineFlow(DEFAULT, theta_of(DEFAULT), threads=2)
    x, context = events_of(DEFAULT, 300)
    expected = flow.gradient(x, context).theta
    child = os.fork()
    if child == 0:
        os._exit(0 if distance(flow.gradient(x, context).theta, expected) < 1e-12 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_tensors_of_another_type_or_stride_are_converted():
    flow = EngineFlow(DEFAULT, theta_of(DEFAULT))
    x, context = events_of(DEFAULT, 20)
    strided = x.t().contiguous().t()
    assert torch.equal(flow.log_prob(strided, context), flow.log_prob(x, context))
    assert flow.log_prob(x.float(), context).dtype == torch.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads: expected at least 1"),
        ({"precision": "bfloat16"}, "expected float32 θ for bfloat16"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        EngineFlow(DEFAULT, theta_of(DEFAULT), **options)


def test_half_precision_theta_is_refused():
    with pytest.raises(ConfigError, match="expected θ as one contiguous float32 or float64"):
        EngineFlow(DEFAULT, theta_of(DEFAULT).half())


def test_weights_of_another_shape_are_refused():
    x, context = events_of(DEFAULT, 20)
    with pytest.raises(ConfigError, match="expected weights of shape"):
        EngineFlow(DEFAULT, theta_of(DEFAULT)).gradient(x, context, weight=torch.ones(19))


def test_info_names_the_instruction_set_that_was_asked_for(isa):
    assert info().isa == isa


def test_an_unknown_instruction_set_falls_back_to_the_best_and_says_so(monkeypatch):
    monkeypatch.setenv("ONLINEFLOWS_ISA", "z80")
    assert "z80 isn't one of" in info().reason


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda flow: pickle.loads(pickle.dumps(flow))]
)
def test_a_copy_is_the_same_flow_over_a_theta_of_its_own(duplicate):
    flow = EngineFlow(DEFAULT, theta_of(DEFAULT), threads=2, deterministic=True)
    twin = duplicate(flow)
    x, context = events_of(DEFAULT, 20)
    assert torch.equal(twin.log_prob(x, context), flow.log_prob(x, context))
    assert (type(twin), twin.threads, twin.precision) == (EngineFlow, 2, "float32")
    twin.theta.zero_()
    assert not torch.equal(twin.log_prob(x, context), flow.log_prob(x, context))


def test_a_flow_that_is_unpickled_where_no_engine_is_goes_on_with_torch(monkeypatch):
    flow = EngineFlow(DEFAULT, theta_of(DEFAULT))
    pickled = pickle.dumps(flow)
    monkeypatch.setattr("onlineflows.engine.available", lambda: False)
    twin = pickle.loads(pickled)
    x, context = events_of(DEFAULT, 20)
    assert type(twin) is TorchFlow
    torch.testing.assert_close(twin.log_prob(x, context), flow.log_prob(x, context))
