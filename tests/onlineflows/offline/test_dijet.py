"""Spectra and dijet fits against scipy, against injected parameters and against pseudo-data."""

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import kstest

from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.dijet import (
    Spectrum,
    aligned_edges,
    best_of,
    candidates,
    choose_fit,
    fit_dijet,
    profiled,
)

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
    spectra = [Spectrum(EDGES, rng.poisson(contents(n, 1e6)).astype(float)) for _ in range(60)]
    found = [len(choose_fit(spectrum, at_least=3).parameters) for spectrum in spectra]

    assert min(found) == n
    assert found.count(n) > 48  # one more in 5 % of the cases


def test_a_choice_begins_with_four_parameters() -> None:
    fits = candidates(Spectrum(EDGES, contents(3)))

    assert [len(fit.parameters) for fit in fits] == [4, 5]
    assert best_of(fits) is fits[0]


def test_where_few_bins_have_events_there_are_fewer_parameters() -> None:
    counts = np.zeros(40)
    counts[:3] = 9.0, 4.0, 2.0

    assert [len(fit.parameters) for fit in candidates(Spectrum(EDGES, counts))] == [3]


def test_a_function_that_falls_below_all_numbers_is_fitted() -> None:
    # Ten events in the first bins: the fit falls so steeply that it predicts nothing at the end.
    counts = np.zeros(40)
    counts[:6] = 5.0, 1.0, 2.0, 0.0, 1.0, 1.0
    fit = fit_dijet(Spectrum(EDGES, counts), n_parameters=5)

    assert np.isfinite(fit.parameters).all()
    assert fit.expected(EDGES).sum() == pytest.approx(10, rel=1e-3)


@pytest.mark.parametrize(("guard", "n_beside"), [(0.0, 0), (0.04, 0), (0.06, 2), (0.2, 4)])
def test_a_guard_adds_the_bins_whose_centre_it_reaches(guard: float, n_beside: int) -> None:
    spectrum = Spectrum(EDGES, np.ones(40))
    inside, around = spectrum.inside((3.3, 3.7)), spectrum.around((3.3, 3.7), guard)
    assert around[inside].all()
    assert np.count_nonzero(around & ~inside) == n_beside
    with pytest.raises(ConfigError, match="between edges"):
        spectrum.around((3.33, 3.7), guard)


def test_the_error_of_a_choice_covers_every_function_that_describes_the_data_as_well() -> None:
    rng = np.random.default_rng(9)
    for _ in range(20):
        spectrum = Spectrum(EDGES, rng.poisson(contents(4, 1e5)).astype(float))
        fits = candidates(spectrum, mask=spectrum.inside((3.3, 3.7)), at_least=3)
        value = profiled(fits, lambda fit: fit.integral((3.3, 3.7)))
        # The definition: no b within one of the best penalised deviance is outside.
        b = np.linspace(value.value - 3 * value.error, value.value + 3 * value.error, 6001)
        parabolas = []
        for fit in fits:
            own = fit.integral((3.3, 3.7))
            parabolas.append(fit.penalised + ((b - own.value) / own.error) ** 2)
        envelope = np.min(parabolas, axis=0)
        reached = np.abs(b[envelope <= envelope.min() + 1] - value.value).max()
        assert reached == pytest.approx(value.error, rel=2e-3)
        assert value.error >= best_of(fits).integral((3.3, 3.7)).error


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
