"""Two densities by their samples, against closed forms."""

import json
import math

import numpy as np
import pytest
from scipy.stats import norm, truncnorm

from onlineflows.errors import ConfigError
from onlineflows.offline.comparison_figure import comparison_figure
from onlineflows.offline.divergence import DensityComparison, compare_densities
from streams import EventSchema, Feature, SchemaError

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", -50.0, 50.0)))


class Gaussian:
    """m uniform, or rising; t normal with a mean and a width, beyond m = 5 shifted further."""

    def __init__(self, mean: float = 0.0, width: float = 1.0, beyond: float = 0.0) -> None:
        self.schema = SCHEMA
        self.mean, self.width, self.beyond = mean, width, beyond

    def _mean(self, m: np.ndarray) -> np.ndarray:
        result: np.ndarray = self.mean + self.beyond * (m > 5)
        return result

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        result: np.ndarray = self.log_prob_resonant(x) + self.log_prob_conditional(x)
        return result

    def log_prob_resonant(self, m: np.ndarray) -> np.ndarray:
        return np.full(len(m), -math.log(10))

    def log_prob_conditional(self, x: np.ndarray) -> np.ndarray:
        result: np.ndarray = norm.logpdf(x[:, 1], self._mean(x[:, 0]), self.width)
        return result

    def sample(self, n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        m = rng.uniform(0, 10, n).astype(np.float32)
        t = self._mean(m) + self.width * truncnorm.rvs(-9, 9, size=n, random_state=rng)
        return np.column_stack([m, t]).astype(np.float32)

    def sample_given(self, m: np.ndarray, seed: int) -> np.ndarray:
        raise AssertionError("not needed to compare")


class Cut(Gaussian):
    """A Gaussian that has no events of t below 0 beyond m = 5, or none at all there."""

    def __init__(self, *, everything: bool) -> None:
        super().__init__()
        self.everything = everything

    def _is_outside(self, x: np.ndarray) -> np.ndarray:
        result: np.ndarray = (x[:, 0] > 5) & (self.everything | (x[:, 1] < 0))
        return result

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        return np.where(self._is_outside(x), -np.inf, super().log_prob(x))

    def log_prob_resonant(self, m: np.ndarray) -> np.ndarray:
        beyond = m[:, 0] > 5
        return np.where(beyond & self.everything, -np.inf, super().log_prob_resonant(m))

    def sample(self, n: int, seed: int) -> np.ndarray:
        x = super().sample(3 * n, seed)
        return x[~self._is_outside(x)][:n]


def compared(a: Gaussian, b: Gaussian, n: int = 20_000) -> DensityComparison:
    return compare_densities(a, b, n=n, seed=5)


def test_the_divergences_are_those_of_two_gaussians() -> None:
    # KL(N(0, 1) || N(μ, s)) = log s + (1 + μ²) / 2 s² - 1/2; five errors: 1 in 2 million.
    found = compared(Gaussian(), Gaussian(mean=0.2, width=1.3))
    forth = math.log(1.3) + (1 + 0.04) / (2 * 1.69) - 0.5
    back = -math.log(1.3) + (1.69 + 0.04) / 2 - 0.5
    assert abs(found.a_to_b.nats - forth) < 5 * found.a_to_b.error
    assert abs(found.b_to_a.nats - back) < 5 * found.b_to_a.error
    assert abs(found.jeffreys - forth - back) < 5 * found.jeffreys_error < 0.05


def test_a_density_is_at_no_distance_from_itself() -> None:
    found = compared(Gaussian(), Gaussian())
    assert (found.jeffreys, found.jeffreys_error) == (0.0, 0.0)
    assert all(region.jeffreys == 0.0 for region in found.regions)


def test_the_feature_that_moved_is_named_with_its_distance_in_widths_of_a() -> None:
    # Shifted by 0.5 widths of a, W1 is the shift itself.
    found = compared(Gaussian(width=2.0), Gaussian(mean=1.0, width=2.0))
    assert found.largest_shift.name == "t"
    assert found.largest_shift.wasserstein == pytest.approx(1.0, abs=0.1)
    assert found.largest_shift.wasserstein_sigma == pytest.approx(0.5, abs=0.05)
    assert abs(found.largest_shift.mean - 0.5) < 5 * found.largest_shift.mean_error


def test_marginals_without_a_difference_are_as_near_as_two_draws() -> None:
    m = compared(Gaussian(), Gaussian(mean=1.0)).features[0]
    assert m.wasserstein < 6 * m.wasserstein_null


def test_the_regions_say_where_the_densities_differ() -> None:
    found = compared(Gaussian(), Gaussian(beyond=1.0))
    near = [r for r in found.regions if r.high < 4.9]
    beyond = [r for r in found.regions if r.low > 5.1]
    assert all(r.jeffreys == 0.0 for r in near)
    # J of two unit Gaussians at distance 1 is 1.
    assert all(abs(r.jeffreys - 1.0) < 5 * r.jeffreys_error for r in beyond)


@pytest.mark.parametrize("everything", [False, True])
def test_samples_that_the_other_has_no_density_for_are_counted_where_they_are(everything) -> None:
    found = compared(Gaussian(), Cut(everything=everything))
    n_outside = [region.n_outside for region in found.regions]
    assert sum(n_outside) == found.a_to_b.n_outside + found.b_to_a.n_outside
    # A half of 20,000 samples, or a quarter, within five standard deviations of 71.
    assert abs(sum(n_outside) - (10_000 if everything else 5_000)) < 355
    assert all(r.n_outside == 0 for r in found.regions if r.high < 5)
    assert all(r.n_outside > 0 for r in found.regions if r.low > 5)
    assert found.document()["regions"][-1]["n_outside"] == n_outside[-1]


def test_the_regions_cover_the_support_and_hold_all_samples() -> None:
    regions = compared(Gaussian(), Gaussian(mean=0.1)).regions
    assert (regions[0].low, regions[-1].high) == (0.0, 10.0)
    assert [r.low for r in regions[1:]] == [r.high for r in regions[:-1]]
    assert sum(r.fraction_a for r in regions) == pytest.approx(1)
    assert sum(r.fraction_b for r in regions) == pytest.approx(1)


def test_a_seed_gives_the_same_comparison_twice() -> None:
    first, second = (compared(Gaussian(), Gaussian(0.1), n=500).document() for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_densities_over_different_schemas_are_refused() -> None:
    other = Gaussian()
    other.schema = EventSchema((SCHEMA.features[0], Feature("t", "", -50.0, 60.0)))
    with pytest.raises(SchemaError, match="densities to compare"):
        compared(Gaussian(), other)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 100 samples of each; got 99"):
        compared(Gaussian(), Gaussian(), n=99)


def test_the_figure_has_each_marginal_with_its_ratio_and_the_regions() -> None:
    figure = comparison_figure(compared(Gaussian(), Gaussian(0.1), n=500), ("A: 1", "B: 2"))
    assert len(figure.axes) == 2 * 2 + 1
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert {text.get_text() for text in legend.get_texts()} == {"A: 1", "B: 2"}
