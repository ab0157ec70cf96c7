"""Spectra and dijet fits against scipy, against injected parameters and against pseudo-data."""

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import kstest

from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.dijet import Spectrum, aligned_edges, choose_fit, fit_dijet

EDGES = aligned_edges((3.3, 3.7), 2.9, 6.9)
TRUTH = {
    3: (10.0, 12.0, 5.0),
    4: (4.0, 10.0, 10.0, 2.0),
    5: (4.0, 10.0, 10.0, 2.0, 0.2),
}


def function(m: float, parameters: tuple[float, ...]) -> float:
    x = m / 13.0
    power = sum(p * np.log(x) ** i for i, p in enumerate(parameters[2:]))
    return float(np.exp(parameters[0]) * (1 - x) ** parameters[1] / x**power)


def contents(n_parameters: int, n_events: float = 300_000) -> np.ndarray:
    parts = [
        quad(function, low, high, args=(TRUTH[n_parameters],))[0]
        for low, high in itertools.pairwise(EDGES)
    ]
    return n_events * np.array(parts) / sum(parts)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_exact_contents_give_the_parameters_back(n: int) -> None:
    fit = fit_dijet(Spectrum(EDGES, contents(n)), n_parameters=n)

    np.testing.assert_allclose(fit.parameters[1:], TRUTH[n][1:], rtol=1e-3)
    assert fit.deviance == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(fit.expected(EDGES), contents(n), rtol=1e-6)


def test_the_maximum_is_scipy_s() -> None:
    counts = np.random.default_rng(1).poisson(contents(3, 5000)).astype(float)
    fit = fit_dijet(Spectrum(EDGES, counts), n_parameters=3)

    def deviance(parameters: np.ndarray) -> float:
        centred = fit.parameters + parameters * np.sqrt(np.diag(fit.covariance))
        parts = [
            quad(function, low, high, args=(tuple(centred),))[0]
            for low, high in itertools.pairwise(EDGES)
        ]
        mu = np.array(parts)
        return float(2 * (mu - counts * np.log(mu)).sum())

    found = minimize(deviance, np.full(3, 0.05), method="Nelder-Mead", options={"maxiter": 300})
    assert deviance(np.zeros(3)) <= found.fun + 1e-5


@pytest.mark.parametrize("n", [3, 4])
def test_predictions_scatter_by_their_errors(n: int) -> None:
    rng = np.random.default_rng(2)
    mean = contents(n)
    mask = Spectrum(EDGES, mean).inside((3.3, 3.7))
    pulls = []
    for _ in range(300):
        spectrum = Spectrum(EDGES, rng.poisson(mean).astype(float))
        found = fit_dijet(spectrum, mask=mask, n_parameters=n).integral((3.3, 3.7))
        pulls.append((found.value - mean[mask].sum()) / found.error)

    assert abs(np.mean(pulls)) < 0.2
    assert np.std(pulls) == pytest.approx(1.0, abs=0.15)


def test_the_goodness_of_fit_is_uniform_for_the_right_function() -> None:
    rng = np.random.default_rng(3)
    p = [
        fit_dijet(Spectrum(EDGES, rng.poisson(contents(4)).astype(float))).p_value
        for _ in range(200)
    ]

    assert kstest(p, "uniform").pvalue > 0.01


@pytest.mark.parametrize("n", [3, 4])
def test_as_many_parameters_are_chosen_as_are_needed(n: int) -> None:
    rng = np.random.default_rng(4)
    found = [
        len(choose_fit(Spectrum(EDGES, rng.poisson(contents(n, 1e6)).astype(float))).parameters)
        for _ in range(60)
    ]

    assert min(found) == n
    assert found.count(n) > 48  # one more in 5 % of the cases


def test_draws_follow_the_function() -> None:
    fit = fit_dijet(Spectrum(EDGES, contents(4)))
    m = fit.sample(20_000, (3.3, 3.7), np.random.default_rng(5))
    total = quad(function, 3.3, 3.7, args=(TRUTH[4],))[0]
    grid = np.linspace(3.3, 3.7, 41)
    steps = [quad(function, a, b, args=(TRUTH[4],))[0] for a, b in itertools.pairwise(grid)]
    cdf = np.concatenate([[0.0], np.cumsum(steps)]) / total

    assert kstest(m, lambda value: np.interp(value, grid, cdf)).pvalue > 0.01


def test_samples_are_scaled_to_the_events_seen() -> None:
    m = np.full(500, 3.5)
    spectrum = Spectrum.of_samples(m, EDGES, n_seen=1000, n_samples=4000)

    # 500 of 4,000 samples stand for 125 events; their variance is 125 (1 + 1/4).
    assert spectrum.events.sum() == pytest.approx(125)
    assert spectrum.scale**2 * spectrum.counts.sum() == pytest.approx(125 * 1.25)


def test_the_variance_of_samples_is_that_of_learning_and_drawing() -> None:
    # A density that knows its events exactly: a histogram of them, from which is drawn.
    rng = np.random.default_rng(6)
    edges, n_seen, n_samples = np.array([0.0, 1.0, 2.0]), 2000, 1000
    counts, expected = [], []
    for _ in range(2000):
        seen = rng.binomial(n_seen, 0.01)
        drawn = rng.binomial(n_samples, seen / n_seen)
        spectrum = Spectrum.of_samples(
            np.full(drawn, 0.5), edges, n_seen=n_seen, n_samples=n_samples
        )
        counts.append(spectrum.counts[0])
        expected.append(0.01 * n_seen / spectrum.scale)

    assert np.mean(counts) == pytest.approx(expected[0], rel=0.03)
    assert np.var(counts) == pytest.approx(expected[0], rel=0.1)


def test_edges_meet_the_region() -> None:
    assert EDGES[0] == pytest.approx(2.9)
    assert Spectrum(EDGES, np.ones(40)).inside((3.3, 3.7)).sum() == 4


def test_a_region_between_edges_is_refused() -> None:
    with pytest.raises(ConfigError, match="between edges"):
        Spectrum(EDGES, np.ones(40)).inside((3.32, 3.7))


def test_a_region_outside_the_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected low <"):
        aligned_edges((3.3, 3.7), 3.4, 6.0)


@pytest.mark.parametrize("counts", [np.ones(3), np.full(40, -1.0)])
def test_contents_that_are_none_are_refused(counts: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected"):
        Spectrum(EDGES, counts)


def test_an_empty_spectrum_cannot_be_fitted() -> None:
    with pytest.raises(DataError, match="at least 4 bins with events"):
        fit_dijet(Spectrum(EDGES, np.zeros(40)))


@pytest.mark.parametrize(("n", "energy"), [(2, 13.0), (3, 5.0)])
def test_functions_that_do_not_exist_are_refused(n: int, energy: float) -> None:
    with pytest.raises(ConfigError, match="expected"):
        fit_dijet(Spectrum(EDGES, np.ones(40)), n_parameters=n, energy=energy)
