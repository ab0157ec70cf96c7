"""Background estimates on exact densities with a known number of events, and where they fail."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm

from onlineflows.density import AnyDensity
from onlineflows.errors import DataError
from onlineflows.offline.background import (
    Closure,
    abcd,
    decorrelate,
    direct,
    reciprocal,
    resonance_fit,
    sideband_fit,
)
from onlineflows.offline.dijet import DijetFit, Spectrum, aligned_edges, choose_fit
from onlineflows.offline.metrics import Value
from streams.schema import EventSchema, Feature

REGION = (3.3, 3.7)
EDGES = aligned_edges(REGION, 2.9, 6.1)
CUTS = np.array([1.0, 2.0])
KEEP = norm.sf(CUTS)
N_BACKGROUND, N_SIGNAL = 300_000, 600


@dataclass(frozen=True)
class Toy:
    """m falls exponentially from 2.9; x given m is Gaussian around slope (m - 3.5), width 1."""

    slope: float = 0.0
    schema = EventSchema((Feature("mjj", "TeV", 2.9, 13.0), Feature("x", "", -50.0, 50.0)))

    def log_prob_resonant(self, m: np.ndarray) -> np.ndarray:
        return np.asarray(-(m - 2.9) / 0.7 - np.log(0.7))

    def log_prob_conditional(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(norm.logpdf(x[:, 1], self.slope * (x[:, 0] - 3.5)))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.log_prob_resonant(x[:, 0]) + self.log_prob_conditional(x))

    def sample(self, n: int, seed: int) -> np.ndarray:
        m = 2.9 + np.random.default_rng(seed).exponential(0.7, n)
        return self.sample_given(m, seed + 1)

    def sample_given(self, m: np.ndarray, seed: int) -> np.ndarray:
        x = np.random.default_rng(seed).normal(self.slope * (m - 3.5), 1.0)
        return np.column_stack([m, x]).astype(np.float32)


def column(x: np.ndarray) -> np.ndarray:
    return np.asarray(x[:, 1], dtype=np.float64)


@dataclass(frozen=True)
class Data:
    x: np.ndarray
    true: np.ndarray
    """Background events of the signal region that pass each of `CUTS`."""

    @property
    def inside(self) -> np.ndarray:
        return (self.x[:, 0] >= REGION[0]) & (self.x[:, 0] < REGION[1])


def make_data(slope: float, seed: int = 1) -> Data:
    rng = np.random.default_rng(seed)
    background = Toy(slope).sample(N_BACKGROUND, seed)
    signal = np.column_stack([rng.normal(3.5, 0.08, N_SIGNAL), rng.normal(2.0, 0.5, N_SIGNAL)])
    inside = (background[:, 0] >= REGION[0]) & (background[:, 0] < REGION[1])
    true = np.array([np.count_nonzero(inside & (background[:, 1] >= cut)) for cut in CUTS])
    return Data(np.concatenate([background, signal]), true)


@pytest.fixture(scope="module")
def data() -> Data:
    return make_data(0.0)


def assert_closes(estimates: list[Value], true: np.ndarray) -> None:
    """Within 3.5 standard deviations: 1 in 2,000 fails by chance."""
    for estimate, n in zip(estimates, true, strict=True):
        assert abs(estimate.value - n) < 3.5 * np.hypot(estimate.error, np.sqrt(n))
        assert estimate.error < 0.1 * n


def fit_of(data: Data) -> DijetFit:
    spectrum = Spectrum.of_events(data.x[:, 0], EDGES)
    return choose_fit(spectrum, mask=spectrum.inside(REGION))


def after_cuts(data: Data) -> list[Spectrum]:
    return [Spectrum.of_events(data.x[column(data.x) >= cut, 0], EDGES) for cut in CUTS]


def test_the_toy_is_a_density() -> None:
    model: AnyDensity = Toy()
    assert model.log_prob(model.sample(3, 1)).shape == (3,)


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_direct_sampling_closes(slope: float) -> None:
    data = make_data(slope)
    found = direct(
        Toy(slope),
        column,
        CUTS,
        fit=fit_of(data),
        region=REGION,
        n_samples=100_000,
        rng=np.random.default_rng(1),
    )

    assert_closes(found, data.true)


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_the_sum_of_reciprocal_ratios_closes_though_there_is_signal(slope: float) -> None:
    data = make_data(slope)
    x = data.x[data.inside]
    background = Toy(slope).log_prob_conditional(x)
    n_inside = len(x)
    fraction = N_SIGNAL / n_inside
    log_data = np.logaddexp(
        np.log1p(-fraction) + background, np.log(fraction) + norm.logpdf(x[:, 1], 2.0, 0.5)
    )
    passed = [column(x) >= cut for cut in CUTS]
    found = reciprocal(log_data - background, passed, total=fit_of(data).integral(REGION))

    assert_closes(found, data.true)
    assert found[1].value < 0.97 * np.count_nonzero(x[:, 1] >= CUTS[1])


def test_a_fit_of_the_spectrum_after_the_cut_closes(data: Data) -> None:
    assert_closes(sideband_fit(fit_of(data), after_cuts(data), region=REGION), data.true)


def test_a_fit_with_a_resonance_closes(data: Data) -> None:
    found = resonance_fit(fit_of(data), after_cuts(data), region=REGION, guard=0.1)

    assert_closes(found, data.true)


def test_four_regions_close_where_the_score_is_independent(data: Data) -> None:
    outside = ~data.inside
    found = [abcd(column(data.x) >= cut, data.inside, outside) for cut in CUTS]

    assert_closes(found, data.true)


def test_four_regions_fail_where_the_score_depends_on_m_and_close_once_it_is_decorrelated() -> None:
    data = make_data(1.0)
    m, score, outside = data.x[:, 0], column(data.x), ~data.inside
    keep = np.array([norm.sf(1.0)])
    level = decorrelate(
        Toy(1.0),
        column,
        keep,
        interval=(2.9, 6.1),
        n_samples=100_000,
        rng=np.random.default_rng(2),
    )
    passed = level.passed(m, score, 0)
    background = np.arange(len(m)) < N_BACKGROUND
    true = np.count_nonzero(passed & data.inside & background)

    assert abs(abcd(score >= 1.0, data.inside, outside).value / data.true[0] - 1) > 0.1
    assert abcd(passed, data.inside, outside).value == pytest.approx(true, rel=0.05)


def test_decorrelated_thresholds_pass_the_same_fraction_everywhere() -> None:
    level = decorrelate(
        Toy(1.0),
        column,
        np.array([0.1, 0.01]),
        interval=(2.9, 4.9),
        n_samples=200_000,
        rng=np.random.default_rng(3),
    )
    x = Toy(1.0).sample(400_000, seed=4)
    for low in (2.9, 3.5, 4.1):
        strip = x[(x[:, 0] >= low) & (x[:, 0] < low + 0.3)]
        for cut, fraction in enumerate(level.keep):
            assert level.passed(strip[:, 0], strip[:, 1], cut).mean() == pytest.approx(
                fraction, rel=0.15
            )


def test_a_closure_is_a_ratio_with_both_errors() -> None:
    line = Closure("direct", 0.01, predicted=Value(90.0, 9.0), true=Value(100.0, 5.0))

    assert line.ratio.value == pytest.approx(0.9)
    assert line.ratio.error == pytest.approx(0.9 * np.hypot(0.1, 0.05))


def test_no_data_are_refused() -> None:
    with pytest.raises(DataError, match="a ratio of each event and whether it passes"):
        reciprocal(np.empty(0), [np.empty(0, dtype=bool)], total=Value(1.0, 0.0))


def test_masks_of_other_events_are_refused() -> None:
    with pytest.raises(DataError, match="whether it passes"):
        reciprocal(np.zeros(3), [np.ones(4, dtype=bool)], total=Value(1.0, 0.0))


def test_sidebands_where_everything_passes_are_refused() -> None:
    yes = np.ones(5, dtype=bool)
    with pytest.raises(DataError, match="that fail the cut"):
        abcd(yes, yes, yes)
