"""Mixtures, against sums of densities worked out by hand and against their own samples."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from onlineflows.density import Density
from onlineflows.errors import ConfigError, DataError
from onlineflows.flows import build_spec, flow_over
from onlineflows.mixture import Mixture
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import FlowConfig
from streams import EventSchema, Feature, SchemaError

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", 0.0, 4.0)))


def member(seed: int, centre: float, schema: EventSchema = SCHEMA) -> Density:
    rng = np.random.default_rng(seed)
    m = rng.normal(centre, 1.0, 4000).clip(0.01, 9.99)
    x = np.stack([m, rng.beta(2, 1 + m, 4000) * 3.9], axis=1).astype(np.float32)
    spec = build_spec(FlowConfig(blocks=1, hidden=8, bins=4), 2)
    generator = torch.Generator().manual_seed(seed)
    theta = 0.3 * torch.randn(spec.n_parameters, generator=generator)
    return Density(schema, Preprocessing.fit(schema, x, knots=9), flow_over(spec, theta))


MEMBERS = member(1, 3.0), member(2, 6.0)
MIXTURE = Mixture(MEMBERS)
X = np.stack([np.linspace(1, 8, 50), np.linspace(0.2, 3, 50)], axis=1)


def test_the_density_is_the_mean_of_its_members():
    expected = (np.exp(MEMBERS[0].log_prob(X)) + np.exp(MEMBERS[1].log_prob(X))) / 2
    np.testing.assert_allclose(np.exp(MIXTURE.log_prob(X)), expected, rtol=1e-12)


def test_the_joint_density_is_marginal_times_conditional():
    total = MIXTURE.log_prob_resonant(X) + MIXTURE.log_prob_conditional(X)
    np.testing.assert_allclose(MIXTURE.log_prob(X), total, rtol=1e-12)


def test_outside_the_support_everything_is_zero():
    outside = np.array([[11.0, 1.0], [2.0, 5.0]])
    assert (MIXTURE.log_prob(outside) == -np.inf).all()
    assert (MIXTURE.log_prob_conditional(outside) == -np.inf).all()


def test_members_give_equal_shares_of_the_samples():
    x = MIXTURE.sample(5001, seed=3)
    for k, density in enumerate(MEMBERS):
        alone = density.sample(2500, seed=99)
        assert ks_2samp(x[k::2, 0], alone[:, 0]).pvalue > 1e-3


def test_fewer_samples_of_a_seed_are_the_first_of_more():
    assert np.array_equal(MIXTURE.sample(301, seed=3), MIXTURE.sample(900, seed=3)[:301])


def test_what_is_drawn_is_what_is_sampled():
    assert np.array_equal(MIXTURE.draw(301, seed=3).x, MIXTURE.sample(301, seed=3))


def test_a_mixture_of_mixtures_is_a_mixture():
    nested = Mixture((MIXTURE, MIXTURE))
    np.testing.assert_allclose(nested.log_prob(X), MIXTURE.log_prob(X), rtol=1e-12)
    assert len(nested.draw(10, seed=1).x) == 10


def test_features_given_the_resonant_one_follow_the_conditional_density():
    # At m = 3 TeV the first member outweighs the second: shares of p(m), not halves.
    m = np.full(4000, 3.0, dtype=np.float32)
    joint = MIXTURE.sample(400_000, seed=5)
    near = joint[np.abs(joint[:, 0] - 3.0) < 0.05]
    assert ks_2samp(MIXTURE.sample_given(m, seed=4)[:, 1], near[:, 1]).pvalue > 1e-3


def test_given_values_come_back_unchanged():
    m = np.linspace(1, 8, 100, dtype=np.float32)
    assert np.array_equal(MIXTURE.sample_given(m, seed=4)[:, 0], m)


def test_resonant_values_outside_the_support_are_refused():
    with pytest.raises(DataError, match="between 0"):
        MIXTURE.sample_given(np.array([3.0, 11.0]), seed=4)


def test_a_mixture_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="at least one density"):
        Mixture(())


def test_members_over_other_features_are_refused():
    other = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("u", "", 0.0, 4.0)))
    with pytest.raises(SchemaError, match="one mixture"):
        Mixture((MEMBERS[0], member(1, 3.0, other)))
