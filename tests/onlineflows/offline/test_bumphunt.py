"""The bump hunt on pseudo-data: uniform p-values without signal, the known answer with it."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import kstest, norm, poisson

from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.bumphunt import gaussian_significance, hunt, search, thresholds
from onlineflows.offline.dijet import Spectrum, aligned_edges, choose_fit, fit_dijet

REGION = (3.3, 3.7)
EDGES = aligned_edges(REGION, 2.9, 6.9)
X = 0.5 * (EDGES[1:] + EDGES[:-1]) / 13
SHAPE = (1 - X) ** 10 / X**6
INSIDE = Spectrum(EDGES, SHAPE).inside(REGION)


def background(n: float) -> np.ndarray:
    return np.asarray(n * SHAPE / SHAPE.sum())


@pytest.mark.parametrize("n", [3000, 30_000])
def test_the_local_significance_is_normal_without_signal(n: int) -> None:
    rng = np.random.default_rng(1)
    mean = background(n)
    z = [hunt(Spectrum(EDGES, rng.poisson(mean).astype(float)), REGION).z_local for _ in range(300)]

    assert kstest(z, norm.cdf).pvalue > 0.01


def test_the_local_significance_of_samples_is_normal_without_signal() -> None:
    # A density that has learned its events with all their fluctuations, sampled half as often.
    rng = np.random.default_rng(2)
    n_seen, n_samples = 20_000, 10_000
    centres = 0.5 * (EDGES[1:] + EDGES[:-1])
    z = []
    for _ in range(300):
        seen = rng.multinomial(n_seen, SHAPE / SHAPE.sum())
        m = np.repeat(centres, rng.multinomial(n_samples, seen / n_seen))
        spectrum = Spectrum.of_samples(m, EDGES, n_seen=n_seen, n_samples=n_samples)
        z.append(hunt(spectrum, REGION).z_local)

    assert kstest(z, norm.cdf).pvalue > 0.01


def test_a_choice_that_few_events_cannot_make_makes_no_signal() -> None:
    # Four parameters are needed, as a million events show; three, which 40,000 often prefer, put
    # the background too low. 400 spectra: the mean scatters by 0.05, the width by 0.035.
    rng = np.random.default_rng(12)
    x = EDGES / 13
    curved = (1 - x) ** 10 / x ** (10 + 3.0 * np.log(x))
    mean = 0.5 * (curved[1:] + curved[:-1])
    mean *= 40_000 / mean.sum()
    z, n_three = [], 0
    for _ in range(400):
        spectrum = Spectrum(EDGES, rng.poisson(mean).astype(float))
        z.append(hunt(spectrum, REGION, guard=0.1).z_local)
        mask = spectrum.inside((3.2, 3.8))
        n_three += len(choose_fit(spectrum, mask=mask, at_least=3).parameters) == 3

    assert n_three > 100
    assert abs(np.mean(z)) < 0.2
    assert 0.86 < np.std(z) < 1.14


def test_more_samples_do_not_make_a_signal_more_significant_than_its_events() -> None:
    mean = background(20_000) + np.where(INSIDE, 75.0, 0.0)
    n_seen = round(mean.sum())
    centres = 0.5 * (EDGES[1:] + EDGES[:-1])
    of_events = hunt(Spectrum(EDGES, mean), REGION).z_local
    found = []
    for repeats in (1, 10, 100):
        m = np.repeat(centres, np.round(repeats * mean).astype(int))
        spectrum = Spectrum.of_samples(m, EDGES, n_seen=n_seen, n_samples=len(m))
        found.append(hunt(spectrum, REGION).z_local)

    assert found == sorted(found)
    assert found[-1] == pytest.approx(of_events, rel=0.02)
    assert found[0] == pytest.approx(of_events / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("n_signal", [-500.0, 300.0, 1000.0])
def test_an_injected_signal_is_measured(n_signal: float) -> None:
    counts = background(30_000) + np.where(INSIDE, n_signal / 4, 0.0)
    bump = hunt(Spectrum(EDGES, counts), REGION)

    assert bump.signal.value == pytest.approx(n_signal, abs=5)
    assert bump.z_local == pytest.approx(bump.z_gaussian, rel=0.05)
    assert np.sign(bump.z_local) == np.sign(n_signal)
    assert bump.p_local == pytest.approx(norm.sf(bump.z_local))


def test_signal_beside_its_region_is_kept_out_of_the_fit_by_a_guard() -> None:
    wide = np.exp(-0.5 * ((X * 13 - 3.5) / 0.2) ** 2)
    counts = background(30_000) + 1500 * wide / wide.sum()
    truth = background(30_000)[INSIDE].sum()

    spectrum = Spectrum(EDGES, counts)
    bare = hunt(spectrum, REGION, at_least=3).background.value
    guarded = hunt(spectrum, REGION, at_least=3, guard=0.2).background.value

    assert abs(guarded - truth) < 0.35 * abs(bare - truth)


@pytest.mark.parametrize(("n", "b", "error"), [(120, 100.0, 0.0), (120, 100.0, 8.0), (3, 6.0, 1.0)])
def test_the_closed_form_is_the_profile_likelihood(n: int, b: float, error: float) -> None:
    def deviance(rate: float, constrained: float) -> float:
        pull = 0.0 if error == 0 else ((b - constrained) / error) ** 2
        return float(-2 * poisson.logpmf(n, rate) + pull)

    if error == 0:
        null = deviance(b, b)
    else:
        null = minimize_scalar(lambda v: deviance(v, v), bounds=(0.01, 300), method="bounded").fun
    q = null - deviance(n, b)

    assert gaussian_significance(n, b, error) == pytest.approx(
        np.copysign(np.sqrt(q), n - b), rel=1e-4
    )


def test_no_event_at_all_is_a_deficit() -> None:
    assert gaussian_significance(0, 4.0, 0.0) == pytest.approx(-np.sqrt(8.0))


def test_global_p_values_are_uniform_without_signal() -> None:
    rng = np.random.default_rng(3)
    mean = background(20_000)
    fit = fit_dijet(Spectrum(EDGES, mean), n_parameters=3)
    p = [
        search(Spectrum(EDGES, rng.poisson(mean).astype(float)), fit, rng, n_toys=200).p_global
        for _ in range(150)
    ]

    assert kstest([value.value for value in p], "uniform").pvalue > 0.01


def test_a_bump_is_found_where_it_is() -> None:
    counts = background(20_000)
    counts[20:23] += 5 * np.sqrt(counts[20:23])
    fit = fit_dijet(Spectrum(EDGES, background(20_000)), n_parameters=3)
    found = search(Spectrum(EDGES, counts), fit, np.random.default_rng(4))

    assert found.window == pytest.approx((EDGES[20], EDGES[23]))
    assert found.p_global.value == 0.0
    assert found.z_global == pytest.approx(norm.isf(1e-3))


def test_looking_everywhere_costs_significance() -> None:
    counts = background(20_000)
    counts[20] += 3 * np.sqrt(counts[20])
    fit = fit_dijet(Spectrum(EDGES, background(20_000)), n_parameters=3)
    found = search(Spectrum(EDGES, counts), fit, np.random.default_rng(5), widths=(1, 2))

    assert found.p_local < found.p_global.value
    assert 0.01 < found.p_global.value < 0.3


def test_too_few_bins_are_refused() -> None:
    fit = fit_dijet(Spectrum(EDGES, background(2000)), n_parameters=3)
    short = Spectrum(EDGES[:5], np.ones(4))

    with pytest.raises(DataError, match="at least 6 bins"):
        search(short, fit, np.random.default_rng(6))


def test_a_region_must_meet_the_edges() -> None:
    with pytest.raises(ConfigError, match="between edges"):
        hunt(Spectrum(EDGES, background(100)), (3.31, 3.7))


def test_thresholds_keep_the_fractions() -> None:
    score = np.random.default_rng(7).permutation(10_000).astype(float)
    found = thresholds(score, (1.0, 0.1, 1e-3))

    assert [np.count_nonzero(score >= cut) for cut in found] == [10_000, 1000, 10]


def test_too_few_events_for_a_fraction_are_refused() -> None:
    with pytest.raises(DataError, match="at least 1000 events"):
        thresholds(np.arange(10.0), (1e-3,))


def test_the_global_p_value_is_that_of_pybumphunter() -> None:
    peer = pytest.importorskip("pyBumpHunter", reason="the peer is an extra for development")
    mean = background(20_000)
    counts = np.round(mean)
    counts[20:22] += np.round([2.5, 1.5] * np.sqrt(counts[20:22]))
    fit = fit_dijet(Spectrum(EDGES, mean), n_parameters=3)
    ours = search(Spectrum(EDGES, counts), fit, np.random.default_rng(8), n_toys=4000)

    # Its p-value is 1 without a word unless the reference has the data's normalisation.
    scan = peer.BumpHunter1D(
        rang=(EDGES[0], EDGES[-1]),
        bins=EDGES,
        width_min=2,
        width_max=6,
        npe=1500,
        nworker=1,
        seed=1,
    )
    scan.bump_scan(counts, mean, is_hist=True)

    assert ours.p_local == pytest.approx(scan.min_Pval_ar[0], rel=1e-3)
    error = np.hypot(ours.p_global.error, np.sqrt(scan.global_Pval / 1500))
    assert abs(ours.p_global.value - scan.global_Pval) < 3 * error
