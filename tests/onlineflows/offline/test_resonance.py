"""A dijet function with a resonance: its shape in closed form, and the background that is left."""

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.bumphunt import hunt
from onlineflows.offline.dijet import Spectrum, aligned_edges
from onlineflows.offline.resonance import Peak, ResonanceFit, fit_with_resonance

REGION = (3.3, 3.7)
EDGES = aligned_edges(REGION, 2.9, 6.9)
X = 0.5 * (EDGES[1:] + EDGES[:-1]) / 13
FALLING = (1 - X) ** 10 / X ** (10 + 2 * np.log(X))
INSIDE = Spectrum(EDGES, FALLING).inside(REGION)
PEAK = Peak(mean=3.49, width=0.11, below=0.9, above=1.2)


def background(n: float) -> np.ndarray:
    return np.asarray(n * FALLING / FALLING.sum())


def fitted(counts: np.ndarray) -> ResonanceFit:
    return fit_with_resonance(Spectrum(EDGES, counts), REGION, guard=0.1)


def test_a_peak_is_a_density() -> None:
    assert PEAK.shares(np.linspace(0.5, 13.0, 4001)).sum() == pytest.approx(1, abs=1e-6)


def test_a_peak_is_gaussian_in_its_core_and_exponential_outside() -> None:
    shares = PEAK.shares(np.linspace(2.5, 4.5, 2001))
    m = np.linspace(2.5, 4.5, 2001)[:-1] + 0.0005
    log, z = np.log(shares), (m - PEAK.mean) / PEAK.width
    core = (z > -PEAK.below) & (z < PEAK.above)
    np.testing.assert_allclose(np.diff(log[core]), np.diff(norm.logpdf(z[core])), atol=1e-6)
    np.testing.assert_allclose(np.diff(log[z < -1]) / np.diff(z[z < -1]), PEAK.below, rtol=1e-6)
    np.testing.assert_allclose(np.diff(log[z > 1.3]) / np.diff(z[z > 1.3]), -PEAK.above, rtol=1e-6)


def test_shares_are_integrals() -> None:
    def density(m: float) -> float:
        return float(PEAK.shares(np.array([m - 1e-5, m + 1e-5]))[0] / 2e-5)

    points = [PEAK.mean - PEAK.below * PEAK.width, PEAK.mean + PEAK.above * PEAK.width]
    for low, high in itertools.pairwise(EDGES[:8]):
        expected = quad(density, low, high, points=points)[0]
        found = PEAK.shares(np.array([low, high]))[0]
        assert found == pytest.approx(expected, rel=2e-2)


@pytest.mark.parametrize("n_signal", [1000.0, 3000.0])
def test_signal_beside_its_region_does_not_count_as_background(n_signal: float) -> None:
    # Exact contents, as after a tight cut on a signal: more of it than background.
    counts = background(600) + n_signal * PEAK.shares(EDGES)
    truth = background(600)[INSIDE].sum()
    blind = hunt(Spectrum(EDGES, counts), REGION, guard=0.1).background.value
    fit = fitted(counts)

    assert blind > 1.4 * truth
    assert abs(fit.background.value / truth - 1) < 0.1
    assert fit.n_signal == pytest.approx(n_signal, rel=0.03)


def test_a_strong_signal_tells_its_shape() -> None:
    peak = fitted(background(3000) + 30_000 * PEAK.shares(EDGES)).peak

    assert peak.mean == pytest.approx(PEAK.mean, abs=0.003)
    assert peak.width == pytest.approx(PEAK.width, rel=0.05)
    assert peak.below == pytest.approx(PEAK.below, rel=0.1)
    assert peak.above == pytest.approx(PEAK.above, rel=0.1)


@pytest.mark.parametrize("n_signal", [0.0, 400.0])
def test_the_background_scatters_by_its_error(n_signal: float) -> None:
    # 40 spectra: the mean of normal pulls scatters by 0.16, their width by 0.11.
    rng = np.random.default_rng(3)
    mean = background(20_000) + n_signal * PEAK.shares(EDGES)
    truth = background(20_000)[INSIDE].sum()
    pulls = []
    for _ in range(40):
        found = fitted(rng.poisson(mean).astype(float)).background
        pulls.append((found.value - truth) / found.error)

    # Without signal its number can't be negative: half of the fluctuations upwards pass for one.
    assert abs(np.mean(pulls)) < 0.9
    assert np.std(pulls) < 1.4


def test_a_resonance_adds_events() -> None:
    counts = background(20_000)
    counts[INSIDE] *= 0.9

    assert fitted(counts).n_signal >= 0


def test_samples_are_fitted_as_the_events_that_they_stand_for() -> None:
    counts = background(20_000) + 500 * PEAK.shares(EDGES)
    events = fit_with_resonance(Spectrum(EDGES, counts), REGION, guard=0.1)
    samples = fit_with_resonance(Spectrum(EDGES, counts / 2, 2.0), REGION, guard=0.1)

    assert samples.background.value == pytest.approx(events.background.value, rel=0.02)
    assert samples.background.error > 1.2 * events.background.error


def test_the_function_is_chosen_that_describes_the_spectrum_best_for_its_parameters() -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        spectrum = Spectrum(EDGES, rng.poisson(background(30_000)).astype(float))
        five = fit_with_resonance(spectrum, REGION, guard=0.1, at_least=5)
        free = fit_with_resonance(spectrum, REGION, guard=0.1)
        assert free.penalised <= five.penalised
        if free.n_parameters == 5:
            assert free.background.error >= five.background.error


def test_a_region_between_edges_is_refused() -> None:
    with pytest.raises(ConfigError, match="between edges"):
        fit_with_resonance(Spectrum(EDGES, background(100)), (3.32, 3.7))


def test_an_empty_spectrum_is_refused() -> None:
    with pytest.raises(DataError, match="bins with events"):
        fit_with_resonance(Spectrum(EDGES, np.zeros(40)), REGION)
