"""The stand-in: its density against other libraries and integrals, its stream against both."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.mixture import GaussianMixture

from replay.settings import LhcoFeaturesConfig, StandinConfig
from replay.sources import open_source, standin_fit
from replay.sources.standin import (
    BLOCK_EVENTS,
    CONSTANTS,
    Mixture,
    StandinSource,
    log_abs_det,
    mix,
    sample_events,
    standin_constants,
    to_unbounded,
)
from replay.sources.standin_density import CHUNK_EVENTS, StandinDensity, log_normal_mass
from streams import LHCO, InputError, SchemaError, Source

KINDS = ["background", "signal"]
REGION = (3.3, 3.7)
D = LHCO.n_features


@pytest.fixture(scope="module")
def density():
    return StandinDensity()


def log_prob_of(density, kind):
    return {"background": density.log_prob_background, "signal": density.log_prob_signal}[kind]


def covariances(mixture):
    return mixture.cholesky @ mixture.cholesky.transpose(0, 2, 1)


def sklearn_mixture(mixture):
    """The same mixture as scikit-learn's class, set up without a fit."""
    model = GaussianMixture(len(mixture), covariance_type="full")
    model.weights_, model.means_, model.covariances_ = (
        mixture.weights,
        mixture.means,
        covariances(mixture),
    )
    model.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(model.covariances_))
    return model


def marginal_cdf(mixture, feature, x):
    """P(feature < x) by scipy, in physical units."""
    low, high = LHCO.features[feature].low, LHCO.features[feature].high
    u = np.log((x - low) / (high - x))
    scales = np.sqrt(covariances(mixture)[:, feature, feature])
    return stats.norm.cdf(u[..., None], mixture.means[:, feature], scales) @ mixture.weights


def marginal_pdf(mixture, features, u):
    """The density of some of the unbounded coordinates by scipy."""
    return sum(
        weight
        * stats.multivariate_normal(mean[features], covariance[np.ix_(features, features)]).pdf(u)
        for weight, mean, covariance in zip(
            mixture.weights, mixture.means, covariances(mixture), strict=True
        )
    )


# The density.


@pytest.mark.parametrize("kind", KINDS)
def test_log_prob_is_scikit_learns_plus_autograds_jacobian(density, kind):
    x = density.sample(500, 500, seed=3)[0].astype(np.float64)
    mixture = getattr(standin_constants(), kind)
    leaf = torch.tensor(x, requires_grad=True)
    u = torch.logit(leaf / torch.from_numpy(LHCO.high))
    (slope,) = torch.autograd.grad(u.sum(), leaf)
    expected = sklearn_mixture(mixture).score_samples(u.detach().numpy())
    expected += slope.log().sum(1).numpy()
    np.testing.assert_allclose(log_prob_of(density, kind)(x), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_is_normalised_over_the_support(density, kind):
    """Importance sampling from a Student t in the unbounded coordinates; 5 standard errors, so
    a false alarm has probability 6e-7; the error itself must be below 3 %."""
    mixture = getattr(standin_constants(), kind)
    u = to_unbounded(sample_events(mixture, 20_000, np.random.default_rng(0))[0].astype(np.float64))
    proposal = stats.multivariate_t(u.mean(0), np.cov(u.T), df=5, seed=1)
    v = proposal.rvs(150_000)
    x = LHCO.high / (1 + np.exp(-v))
    log_weight = log_prob_of(density, kind)(x) - log_abs_det(v) - proposal.logpdf(v)
    weight = np.exp(log_weight)
    error = weight.std() / np.sqrt(len(weight))
    assert error < 0.03
    assert abs(weight.mean() - 1) < 5 * error


@pytest.mark.parametrize("feature", range(D))
def test_integrating_one_feature_out_leaves_the_marginal_of_the_others(density, feature):
    """Quadrature over the whole support against scipy's Gaussians without that coordinate."""
    x = density.sample(5, 0, seed=2)[0].astype(np.float64)
    u = np.linspace(-14, 14, 4001)
    grid = np.repeat(x, len(u), axis=0)
    values = LHCO.high[feature] / (1 + np.exp(-u))
    grid[:, feature] = np.tile(values, len(x))
    p = np.exp(density.log_prob_background(grid)).reshape(len(x), len(u))
    others = np.delete(np.arange(D), feature)
    expected = marginal_pdf(standin_constants().background, others, to_unbounded(x)[:, others])
    expected /= np.prod((x * (LHCO.high - x) / LHCO.high)[:, others], axis=1)
    np.testing.assert_allclose(integrate.trapezoid(p, values, axis=1), expected, rtol=1e-3)


def test_the_mixture_of_both_kinds_is_their_weighted_sum(density):
    x, _ = density.sample(200, 200, seed=4)
    expected = 0.97 * np.exp(density.log_prob_background(x)) + 0.03 * np.exp(
        density.log_prob_signal(x)
    )
    np.testing.assert_allclose(np.exp(density.log_prob(x, 0.03)), expected, rtol=1e-12)


@pytest.mark.parametrize(("fraction", "kind"), [(0.0, "background"), (1.0, "signal")])
def test_a_pure_stream_has_the_density_of_its_kind(density, fraction, kind):
    x, _ = density.sample(100, 100, seed=4)
    assert np.array_equal(density.log_prob(x, fraction), log_prob_of(density, kind)(x))


def test_events_outside_the_open_support_have_no_density(density):
    x = np.tile(density.sample(1, 0, seed=1)[0], (2 * D, 1))
    x[range(D), range(D)] = LHCO.low
    x[range(D, 2 * D), range(D)] = LHCO.high
    assert np.all(density.log_prob(x, 0.01) == -np.inf)
    assert np.isnan(density.log_ratio(x)).all()


def test_a_piecewise_evaluation_equals_one_by_one(density):
    x, _ = density.sample(CHUNK_EVENTS + 5, 0, seed=1)
    rows = [0, CHUNK_EVENTS - 1, CHUNK_EVENTS, CHUNK_EVENTS + 4]
    one_by_one = [density.log_prob(x[i : i + 1], 0.01)[0] for i in rows]
    np.testing.assert_allclose(density.log_prob(x, 0.01)[rows], one_by_one, rtol=1e-12)


def test_float32_events_are_evaluated_as_they_are(density):
    x, _ = density.sample(100, 0, seed=1)
    assert np.array_equal(density.log_prob(x, 0.1), density.log_prob(x.astype(np.float64), 0.1))


def test_events_of_another_shape_are_refused(density):
    with pytest.raises(SchemaError, match=r"\(n, 5\); got \(3, 4\)"):
        density.log_prob(np.ones((3, 4)), 0.1)


# The optimum.


def test_the_optimal_score_is_the_integral_over_the_signal_region(density):
    x = density.sample(20, 20, seed=5)[0].astype(np.float64)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    m = np.mean(REGION) + nodes * (REGION[1] - REGION[0]) / 2
    grid = np.repeat(x, len(m), axis=0)
    grid[:, 0] = np.tile(m, len(x))
    log_integrals = {}
    for kind in KINDS:
        p = np.exp(log_prob_of(density, kind)(grid)).reshape(len(x), len(m))
        mixture = getattr(standin_constants(), kind)
        fraction = np.diff(marginal_cdf(mixture, 0, np.array(REGION)))[0]
        log_integrals[kind] = np.log(p @ weights * (REGION[1] - REGION[0]) / 2 / fraction)
    expected = log_integrals["signal"] - log_integrals["background"]
    np.testing.assert_allclose(density.optimal_score(x, REGION), expected, rtol=0, atol=1e-7)


def test_the_optimal_score_ignores_the_resonant_feature(density):
    x, _ = density.sample(50, 50, seed=6)
    moved = x.copy()
    moved[:, 0] = 5.0
    assert np.array_equal(density.optimal_score(x, REGION), density.optimal_score(moved, REGION))


def test_over_the_whole_support_the_optimal_score_is_the_ratio_of_marginals(density):
    x = density.sample(50, 50, seed=6)[0].astype(np.float64)
    u, others = to_unbounded(x)[:, 1:], np.arange(1, D)
    p_b = marginal_pdf(standin_constants().background, others, u)
    p_s = marginal_pdf(standin_constants().signal, others, u)
    expected = np.log(p_s / p_b)
    np.testing.assert_allclose(density.optimal_score(x, (0, 14)), expected, atol=1e-9)


def test_the_optimum_is_where_it_is_known_to_be(density):
    """600,000 + 30,000 events. Near 100 background events the SIC has a statistical error of
    5 %; the band is 15 % on either side of the measured 10.4."""
    x, label = density.sample(600_000, 30_000, seed=1)
    inside = (x[:, 0] > REGION[0]) & (x[:, 0] < REGION[1])
    x, label = x[inside], label[inside]
    score = density.optimal_score(x, REGION)
    fpr, tpr, _ = roc_curve(label, score)
    enough = fpr * (label == 0).sum() >= 100
    assert roc_auc_score(label, score) == pytest.approx(0.973, abs=0.003)
    assert 8.8 < np.max(tpr[enough] / np.sqrt(fpr[enough])) < 12.0
    # With the resonant feature too there's more to be had.
    assert roc_auc_score(label, density.log_ratio(x)) > roc_auc_score(label, score)


@pytest.mark.parametrize("region", [(3.7, 3.3), (14.0, 15.0), (-2.0, 0.0)])
def test_a_region_without_events_is_refused(density, region):
    with pytest.raises(InputError, match="low < high"):
        density.optimal_score(np.ones((1, D)), region)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (8.0, 9.0), (-40.0, -39.0), (30.0, 31.0)])
def test_the_mass_between_two_points_keeps_its_digits_in_the_tails(low, high):
    def exponent(t):
        return -t * t / 2 - np.log(2 * np.pi) / 2

    near = min(abs(low), abs(high)) if low * high > 0 else 0.0
    scaled, _ = integrate.quad(lambda t: np.exp(exponent(t) - exponent(near)), low, high)
    got = log_normal_mass(np.array([low]), np.array([high]))[0]
    assert got == pytest.approx(np.log(scaled) + exponent(near), rel=1e-9)


# The samples.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("feature", range(D))
def test_samples_follow_the_marginals(density, kind, feature):
    """Kolmogorov-Smirnov with 50,000 events; false alarms with probability 1e-6."""
    n = {"background": (50_000, 0), "signal": (0, 50_000)}[kind]
    x = density.sample(*n, seed=7)[0].astype(np.float64)[:, feature]
    mixture = getattr(standin_constants(), kind)
    assert stats.kstest(x, lambda t: marginal_cdf(mixture, feature, t)).pvalue > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_mixtures_correlations(density, kind):
    """Mean products of whitened coordinates, 25 of them; 6 standard errors, false alarms 5e-8."""
    n = {"background": (100_000, 0), "signal": (0, 100_000)}[kind]
    mixture = getattr(standin_constants(), kind)
    u = to_unbounded(density.sample(*n, seed=8)[0].astype(np.float64))
    mean = mixture.weights @ mixture.means
    deviations = mixture.means - mean
    covariance = np.einsum("k,kij->ij", mixture.weights, covariances(mixture))
    covariance += np.einsum("k,ki,kj->ij", mixture.weights, deviations, deviations)
    products = np.einsum("ni,nj->nij", u - mean, u - mean)
    error = products.std(axis=0) / np.sqrt(len(u))
    assert np.all(np.abs(products.mean(axis=0) - covariance) < 6 * error)


def test_the_streams_joint_density_is_that_of_log_prob(density):
    """E_p[q / p] = 1 for any density q: the events are weighted to a normal distribution in u
    that lies within them. 5 standard errors, false alarms 6e-7."""
    source = StandinSource(StandinConfig(n_events=0, signal_fraction=0.3, seed=9))
    x = source.read(100_000).x.astype(np.float64)
    u = to_unbounded(x)
    centre, covariance = np.median(u, axis=0), np.diag(0.3 * u.var(axis=0))
    narrow = stats.multivariate_normal(centre, covariance).logpdf(u) + log_abs_det(u)
    weight = np.exp(narrow - density.log_prob(x, 0.3))
    error = weight.std() / np.sqrt(len(weight))
    assert error < 0.05
    assert abs(weight.mean() - 1) < 5 * error


def test_test_events_differ_from_a_stream_with_the_same_seed(density):
    stream = StandinSource(StandinConfig(signal_fraction=0.0, seed=1)).read(1000)
    rows = np.concatenate([stream.x, density.sample(1000, 0, seed=1)[0]])
    assert len(np.unique(rows, axis=0)) == 2000


def test_test_events_are_labelled_and_repeatable(density):
    x, label = density.sample(BLOCK_EVENTS + 10, 20, seed=1)
    assert x.dtype == np.float32
    assert label.tolist() == [0] * (BLOCK_EVENTS + 10) + [1] * 20
    assert np.array_equal(x, density.sample(BLOCK_EVENTS + 10, 20, seed=1)[0])
    assert len(np.unique(x, axis=0)) == len(x)


@pytest.mark.parametrize("centre", [-300.0, -20.0, 20.0, 300.0])
def test_the_most_extreme_samples_stay_inside_the_open_support(centre):
    mixture = Mixture(np.ones(1), np.full((1, D), centre), np.eye(D)[None])
    x, _ = sample_events(mixture, 1000, np.random.default_rng(0))
    assert np.all((x > LHCO.low) & (x < LHCO.high))


# The stream.


def test_it_is_a_source_and_opens_by_its_configuration():
    source = open_source(StandinConfig(n_events=10))
    assert isinstance(source, Source)
    assert (source.schema, source.n_events, source.files) == (LHCO, 10, ())


@settings(deadline=None, max_examples=30)
@given(
    reads=st.lists(
        st.tuples(st.integers(0, 3 * BLOCK_EVENTS - 1), st.integers(0, 2 * BLOCK_EVENTS)),
        max_size=3,
    )
)
def test_an_event_depends_on_its_index_alone(reads):
    config = StandinConfig(n_events=3 * BLOCK_EVENTS - 7, signal_fraction=0.5)
    whole = StandinSource(config).read(10**6)
    source = StandinSource(config)
    for index, n in reads:
        source.seek(min(index, len(whole)))
        events = source.read(n)
        part = slice(events.first_event, events.first_event + len(events))
        assert np.array_equal(events.x, whole.x[part])
        assert np.array_equal(events.label, whole.label[part])


def test_reads_go_on_where_the_last_one_stopped():
    source = StandinSource(StandinConfig(n_events=100))
    spans = [(e.first_event, len(e)) for e in (source.read(40) for _ in range(4))]
    assert spans == [(0, 40), (40, 40), (80, 20), (100, 0)]


def test_an_endless_stream_can_be_entered_anywhere():
    source = StandinSource(StandinConfig(n_events=0))
    source.seek(10**12 + 1)
    events = source.read(3)
    assert events.first_event == 10**12 + 1
    assert len(events) == 3


@pytest.mark.parametrize("index", [-1, 101])
def test_seeking_outside_the_stream_is_refused(index):
    with pytest.raises(InputError, match="from 0 to 100"):
        StandinSource(StandinConfig(n_events=100)).seek(index)


def test_seeds_and_blocks_give_different_events():
    first = StandinSource(StandinConfig(seed=1)).read(2 * BLOCK_EVENTS)
    other = StandinSource(StandinConfig(seed=2)).read(BLOCK_EVENTS)
    assert not np.array_equal(first.x[:BLOCK_EVENTS], first.x[BLOCK_EVENTS:])
    assert not np.array_equal(first.x[:BLOCK_EVENTS], other.x)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 1.0])
def test_the_signal_fraction_is_that_of_the_labels(fraction):
    """5 standard deviations of the binomial distribution; false alarms 6e-7."""
    n = 200_000
    label = StandinSource(StandinConfig(signal_fraction=fraction)).read(n).label
    assert abs(label.mean() - fraction) <= 5 * np.sqrt(fraction * (1 - fraction) / n)


def test_the_labels_belong_to_their_events(density):
    """The mean log ratio of labelled events is positive for signal, negative for background."""
    events = StandinSource(StandinConfig(signal_fraction=0.5)).read(20_000)
    ratio = density.log_ratio(events.x)
    assert ratio[events.label == 1].mean() > 1
    assert ratio[events.label == 0].mean() < -1


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (StandinConfig(signal_fraction=1.5), "signal_fraction"),
        (StandinConfig(signal_fraction=float("nan")), "signal_fraction"),
        (StandinConfig(n_events=-1), "n_events"),
        (StandinConfig(seed=-1), "seed"),
    ],
)
def test_a_configuration_without_a_stream_is_refused(config, key):
    with pytest.raises(InputError, match=f"source.{key}: expected"):
        StandinSource(config)


def test_the_producer_needs_neither_scipy_nor_scikit_learn_nor_torch():
    code = (
        "import sys; from replay.settings import StandinConfig; from replay.sources import "
        "open_source; open_source(StandinConfig()).read(1); "
        "print([m for m in ('scipy', 'sklearn', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# The constants.


def test_the_weights_of_a_stream_sum_to_one():
    for fraction in (0.0, 0.01, 1.0):
        assert mix(standin_constants(), fraction).weights.sum() == pytest.approx(1, abs=1e-12)


def test_a_fit_is_repeatable_and_keeps_its_nll_in_physical_units(density, tmp_path):
    x, _ = density.sample(0, 2000, seed=1)
    document = standin_fit.fit_mixture(x, 3)
    assert document == standin_fit.fit_mixture(x, 3)
    refitted = Mixture.from_document(document["components"])
    u = to_unbounded(x.astype(np.float64))
    log_prob = sklearn_mixture(refitted).score_samples(u) + log_abs_det(u)
    assert -log_prob.mean() == pytest.approx(document["nll"], abs=1e-9)
    standin_fit.write_document(document, tmp_path / CONSTANTS)
    assert json.loads((tmp_path / CONSTANTS).read_text()) == document


def test_a_fit_leaves_out_massless_jets_and_the_edges_of_the_support(density):
    x = density.sample(6, 0, seed=1)[0]
    x[0, 1], x[1, 1], x[2, 3], x[3, 4] = 0.0, 2e-8, 0.0, 2.0
    assert standin_fit.usable(x).tolist() == [False, False, False, False, True, True]


def test_fitting_wants_one_file(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["standin_fit"])
    assert standin_fit.main() == 2
    assert "python -m replay.sources.standin_fit FILE" in capsys.readouterr().err


@pytest.fixture(scope="module")
def lhco(test_data):
    path = test_data("lhco/events_anomalydetection_v2.features.80k.h5")
    source = open_source(LhcoFeaturesConfig(type="lhco_features", paths=(str(path),)))
    events = source.read(source.n_events)
    usable = standin_fit.usable(events.x)
    yield events.x[usable], events.label[usable]
    source.close()


@pytest.mark.parametrize(("label", "kind"), list(enumerate(KINDS)))
def test_the_shipped_constants_are_those_of_the_real_events(density, lhco, label, kind):
    x, labels = lhco
    text = (standin_fit.Path(standin_fit.__file__).with_name(CONSTANTS)).read_text()
    nll = -log_prob_of(density, kind)(x[labels == label]).mean()
    assert nll == pytest.approx(json.loads(text)[kind]["nll"], abs=1e-6)


@pytest.mark.parametrize(("label", "kind"), list(enumerate(KINDS)))
def test_the_stand_in_looks_like_the_real_events_in_the_signal_region(density, lhco, label, kind):
    """Means within 0.06 and widths within 10 % of the real widths, correlations within 0.06."""
    x, labels = lhco
    n = {"background": (200_000, 0), "signal": (0, 200_000)}[kind]
    regions = []
    for events in (x[labels == label], density.sample(*n, seed=1)[0]):
        m = events[:, 0]
        regions.append(events[(m > REGION[0]) & (m < REGION[1])].astype(np.float64))
    real, ours = regions
    assert np.all(np.abs(ours.mean(0) - real.mean(0)) < 0.06 * real.std(0))
    np.testing.assert_allclose(ours.std(0), real.std(0), rtol=0.1)
    np.testing.assert_allclose(np.corrcoef(ours.T), np.corrcoef(real.T), atol=0.06)
