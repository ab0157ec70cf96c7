"""Densities as torch distributions, against closed forms, integrals and torch's own."""

import math
from functools import cached_property

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm
from torch.distributions import Independent, Normal

from onlineflows.adapters.distribution import FlowDistribution
from onlineflows.errors import DataError
from onlineflows.online.snapshot import read_snapshot
from streams import EventSchema, Feature


class Gaussian:
    """m is normal around 2 with width 1, t around m with width 0.5: the truth in closed form."""

    @cached_property
    def schema(self) -> EventSchema:
        return EventSchema((Feature("m", "TeV", -math.inf, math.inf), Feature("t", "", -50, 50)))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        return self.log_prob_resonant(x) + self.log_prob_conditional(x)

    def log_prob_resonant(self, m: np.ndarray) -> np.ndarray:
        return norm(2, 1).logpdf(m if m.ndim == 1 else m[:, 0])

    def log_prob_conditional(self, x: np.ndarray) -> np.ndarray:
        inside = self.schema.in_support(x)
        return np.where(inside, norm(x[:, 0], 0.5).logpdf(x[:, 1]), -np.inf)

    def sample(self, n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return self.sample_given(rng.normal(2, 1, n), seed + 1)

    def sample_given(self, m: np.ndarray, seed: int) -> np.ndarray:
        t = np.random.default_rng(seed).normal(m, 0.5)
        return np.stack([m, t], axis=1).astype(np.float32)


@pytest.fixture
def p() -> FlowDistribution:
    """The truth; zuko, where another test has loaded it, switches torch's validation off."""
    generator = torch.Generator().manual_seed(1)
    return FlowDistribution(Gaussian(), generator=generator, validate_args=True)


@pytest.fixture
def learned(snapshot_path) -> FlowDistribution:
    generator = torch.Generator().manual_seed(1)
    return FlowDistribution.from_snapshot(snapshot_path, generator=generator, validate_args=True)


def test_shapes_are_those_of_a_distribution_of_events(p):
    assert (p.batch_shape, p.event_shape) == ((), (2,))
    assert not p.has_rsample
    assert p.arg_constraints == {}


@pytest.mark.parametrize("shape", [(), (3,), (3, 4)])
def test_samples_and_log_densities_have_torchs_shapes(learned, shape):
    like = Independent(Normal(torch.zeros(2), 1.0), 1)
    x = learned.sample(shape)
    assert x.shape == like.sample(shape).shape
    assert learned.log_prob(x).shape == like.log_prob(like.sample(shape)).shape
    assert learned.support.check(x).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_densities_are_those_of_the_density(p, dtype):
    x = torch.tensor([[[2.0, 2.5], [1.0, 0.5]]], dtype=dtype)
    expected = Normal(2.0, 1.0).log_prob(x[..., 0]) + Normal(x[..., 0], 0.5).log_prob(x[..., 1])
    torch.testing.assert_close(p.log_prob(x), expected.double(), rtol=1e-5, atol=1e-6)


def test_a_snapshots_log_densities_are_those_of_its_density(learned, snapshot_path):
    x = np.array([[2.5, 2.5], [3.0, 6.0]])
    expected = read_snapshot(snapshot_path).density().log_prob(x)
    assert learned.log_prob(torch.from_numpy(x)).tolist() == expected.tolist()


def test_samples_follow_the_distribution(p):
    """Two tests with a false alarm in a thousand each."""
    x = p.sample((2000,)).numpy()
    assert kstest(x[:, 0], norm(2, 1).cdf).pvalue > 1e-3
    assert kstest(x[:, 1] - x[:, 0], norm(0, 0.5).cdf).pvalue > 1e-3


def test_outside_the_support_torchs_argument_validation_decides(p):
    outside = torch.tensor([[2.0, 51.0], [2.0, 2.0]])
    with pytest.raises(ValueError, match="within the support"):
        p.log_prob(outside)
    lenient = FlowDistribution(Gaussian(), validate_args=False)
    assert lenient.log_prob(outside).isfinite().tolist() == [False, True]


def test_an_event_of_another_length_is_refused(p):
    with pytest.raises(ValueError, match="event_shape"):
        p.log_prob(torch.zeros(3, 3))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_not_in_the_support(p, bad):
    assert p.support.check(torch.tensor([[bad, 1.0], [1.0, 1.0]])).tolist() == [False, True]


def test_edges_belong_to_the_support_in_single_precision():
    schema = EventSchema((Feature("m", "TeV", 0.1, 0.7),))
    density = Gaussian()
    density.schema = schema
    edges = torch.from_numpy(np.array([[0.1], [0.7]], dtype=np.float32))
    assert FlowDistribution(density).support.check(edges).all()


def test_the_support_says_what_it_is(p):
    assert repr(p.support) == "Support(-inf <= m <= inf, -50 <= t <= 50)"


def test_a_generator_alone_decides_what_is_drawn(learned):
    first, second = learned.sample((4,)), learned.sample((4,))
    again = FlowDistribution(learned.density, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again.sample((4,)), first)
    assert not torch.equal(first, second)


def test_without_a_generator_torchs_seed_decides():
    p = FlowDistribution(Gaussian())
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = p.sample((4,))
        torch.manual_seed(3)
        assert torch.equal(p.sample((4,)), first)


def test_there_is_no_gradient_and_that_is_said(p):
    with pytest.raises(DataError, match="detach"):
        p.log_prob(torch.ones(1, 2, requires_grad=True))
    with pytest.raises(NotImplementedError):
        p.rsample()


def test_a_conditional_has_one_distribution_for_each_m(p):
    m = torch.tensor([[1.0, 2.0, 3.0]])
    conditional = p.given(m)
    assert (conditional.batch_shape, conditional.event_shape) == ((1, 3), (1,))
    assert conditional.sample((5,)).shape == (5, 1, 3, 1)


def test_joint_is_marginal_times_conditional(learned):
    x = learned.sample((50,))
    conditional = learned.given(x[:, 0]).log_prob(x[:, 1:])
    marginal = torch.from_numpy(learned.density.log_prob_resonant(x.numpy()))
    torch.testing.assert_close(conditional + marginal, learned.log_prob(x))


def test_a_conditional_broadcasts_as_torchs_do(p):
    m, t = torch.tensor([1.0, 2.0, 3.0]), torch.linspace(0, 4, 5)[:, None, None]
    like = Independent(Normal(m[:, None], 0.5), 1)
    expected = like.log_prob(t.expand(5, 3, 1)).double()
    torch.testing.assert_close(p.given(m).log_prob(t.expand(5, 3, 1)), expected)
    torch.testing.assert_close(p.given(torch.tensor(2.0)).log_prob(t[:, 0]), expected[:, 1])


def test_conditional_samples_follow_the_conditional(p):
    x = p.given(torch.tensor(3.0)).sample((2000,)).numpy()[:, 0]
    assert kstest(x, norm(3, 0.5).cdf).pvalue > 1e-3


def test_a_conditional_of_an_m_outside_the_support_is_refused(learned):
    with pytest.raises(ValueError, match="Expected parameter m"):
        learned.given(torch.tensor([2.0, 11.0]))


def test_a_conditional_of_one_feature_is_refused():
    density = Gaussian()
    density.schema = EventSchema((Feature("m", "TeV", 0, 1),))
    with pytest.raises(DataError, match="expected features beside 'm'"):
        FlowDistribution(density).given(torch.tensor(0.5))
