"""The fitted share of signal: without bias, with the right error, also where there is none."""

import numpy as np
import pytest
from scipy.stats import norm

from onlineflows.errors import DataError
from onlineflows.offline.strength import fit_fraction


def log_ratio(n: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Of n events: background N(0, 1), signal N(2, 0.5)."""
    is_signal = rng.random(n) < fraction
    x = np.where(is_signal, rng.normal(2, 0.5, n), rng.normal(0, 1, n))
    return norm.logpdf(x, 2, 0.5) - norm.logpdf(x)


@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.5])
def test_the_fit_has_no_bias_and_the_stated_error(fraction: float) -> None:
    rng = np.random.default_rng(1)
    found = [fit_fraction(log_ratio(4000, fraction, rng)) for _ in range(200)]
    pulls = np.array([(f.value - fraction) / f.error for f in found])

    assert abs(pulls.mean()) < 4 / np.sqrt(200)
    assert pulls.std() == pytest.approx(1, abs=0.2)


def test_the_fit_is_the_maximum_of_the_likelihood() -> None:
    ratios = log_ratio(300, 0.1, np.random.default_rng(2))
    best = fit_fraction(ratios).value

    def log_likelihood(fraction: float) -> float:
        return float(np.log1p(fraction * np.expm1(ratios)).sum())

    assert log_likelihood(best) > max(log_likelihood(best - 1e-4), log_likelihood(best + 1e-4))


@pytest.mark.parametrize(
    ("ratios", "message"),
    [([], "finite"), ([np.nan, 0.0], "finite"), ([np.inf], "finite"), ([1.0, 2.0], "both sides")],
)
def test_ratios_that_tell_nothing_are_refused(ratios: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_fraction(np.array(ratios))
