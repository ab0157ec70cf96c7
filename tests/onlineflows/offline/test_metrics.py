"""ROC, AUC and SIC against scikit-learn, closed forms and definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from onlineflows.errors import DataError
from onlineflows.offline.metrics import auc, roc, sic, thin


def gaussians(
    n_background: int, n_signal: int, shift: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = np.concatenate([rng.normal(0, 1, n_background), rng.normal(shift, 1, n_signal)])
    return score, np.repeat([0, 1], [n_background, n_signal])


@pytest.mark.parametrize("digits", [0, 1, 12], ids=["many ties", "some ties", "no ties"])
def test_the_roc_is_that_of_scikit_learn(digits: int) -> None:
    score, label = gaussians(700, 300, 1.0, seed=1)
    score = score.round(digits)

    curve = roc(score, label)

    fpr, tpr, threshold = roc_curve(label, score, drop_intermediate=False)
    np.testing.assert_array_equal(curve.fpr, fpr)
    np.testing.assert_array_equal(curve.tpr, tpr)
    np.testing.assert_array_equal(curve.threshold, threshold)


@pytest.mark.parametrize("digits", [0, 1, 12], ids=["many ties", "some ties", "no ties"])
def test_the_area_is_that_of_scikit_learn(digits: int) -> None:
    score, label = gaussians(700, 300, 1.0, seed=2)
    score = score.round(digits)

    assert auc(score, label).value == pytest.approx(roc_auc_score(label, score), rel=1e-14)


def test_the_area_between_two_gaussians_is_the_known_one() -> None:
    score, label = gaussians(40_000, 20_000, 1.2, seed=3)

    area = auc(score, label)

    # Four standard errors: false-alarm rate 6e-5.
    assert abs(area.value - norm.cdf(1.2 / np.sqrt(2))) < 4 * area.error


def test_the_error_of_the_area_is_delongs_by_definition() -> None:
    score, label = gaussians(40, 30, 0.7, seed=4)
    score = score.round(1)
    positive, negative = score[label == 1], score[label == 0]
    above = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)

    expected = np.sqrt(above.mean(axis=1).var(ddof=1) / 30 + above.mean(axis=0).var(ddof=1) / 40)

    assert auc(score, label).error == pytest.approx(expected)


def test_the_error_of_the_area_is_hanley_and_mcneils_for_exponential_scores() -> None:
    # For exponential scores their Q1 = A / (2 - A) and Q2 = 2 A^2 / (1 + A) are exact
    # (Radiology 143 (1982) 29, eq. 2).
    rng = np.random.default_rng(5)
    m, n = 20_000, 30_000
    score = np.concatenate([rng.exponential(3.0, m), rng.exponential(1.0, n)])
    label = np.repeat([1, 0], [m, n])
    area = 3.0 / 4.0
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)

    assert auc(score, label).error == pytest.approx(np.sqrt(variance / (m * n)), rel=0.02)


def test_the_sic_of_two_gaussians_is_the_known_one_within_its_error() -> None:
    score, label = gaussians(200_000, 50_000, 2.0, seed=6)
    curve = roc(score, label)

    found = sic(curve, min_background=100)

    threshold = curve.threshold[curve.background >= 100]
    expected = norm.sf(threshold - 2.0) / np.sqrt(norm.sf(threshold))
    inner = threshold > -3
    pull = (found.sic - expected)[inner] / found.error[inner]
    # The pulls along one curve hang together like a Brownian bridge; 4 leaves well under 1 %.
    assert np.abs(pull).max() < 4


def test_the_error_of_the_sic_is_the_spread_over_repetitions() -> None:
    rng = np.random.default_rng(7)
    n_signal, n_background, tpr, fpr = 500, 20_000, 0.4, 0.02
    kept_signal = rng.binomial(n_signal, tpr, 4000) / n_signal
    kept_background = rng.binomial(n_background, fpr, 4000) / n_background
    spread = (kept_signal / np.sqrt(kept_background)).std()
    score = np.repeat([1.0, 0.0, 1.0, 0.0], [200, 300, 400, 19_600])
    label = np.repeat([1, 1, 0, 0], [200, 300, 400, 19_600])

    found = sic(roc(score, label))

    assert found.tpr[0] == tpr
    assert found.fpr[0] == fpr
    # The spread of 4000 repetitions is known to 1.1 %.
    assert found.error[0] == pytest.approx(spread, rel=0.05)


def test_points_with_less_background_than_the_floor_are_left_out() -> None:
    score, label = gaussians(5000, 1000, 2.0, seed=8)

    found = sic(roc(score, label), min_background=100)

    assert found.fpr[0] == 100 / 5000
    assert found.fpr[-1] == 1.0


def test_the_best_sic_of_a_perfect_score_is_what_the_floor_allows() -> None:
    label = np.repeat([0, 1], [10_000, 100])
    score = np.concatenate([np.linspace(0, 1, 10_000), np.full(100, 2.0)])

    assert sic(roc(score, label), min_background=100).best().value == pytest.approx(10.0)


def test_a_constant_score_has_area_one_half_and_sic_one() -> None:
    label = np.repeat([0, 1], [300, 200])

    area = auc(np.zeros(500), label)
    best = sic(roc(np.zeros(500), label)).best()

    assert (area.value, area.error) == (0.5, 0.0)
    assert (best.value, best.error) == (1.0, 0.0)


@given(
    values=st.lists(st.integers(0, 5), min_size=2, max_size=40),
    seed=st.integers(0, 2**31),
)
def test_a_roc_only_rises_and_ends_with_everything_kept(values: list[int], seed: int) -> None:
    score = np.array(values, dtype=float)
    label = np.random.default_rng(seed).integers(0, 2, len(values))
    label[:2] = 0, 1

    curve = roc(score, label)

    assert (np.diff(curve.signal) >= 0).all()
    assert (np.diff(curve.background) >= 0).all()
    assert (curve.n_signal, curve.n_background) == ((label == 1).sum(), (label == 0).sum())
    # The trapezoids below the exact points are the Mann-Whitney area.
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(auc(score, label).value)


def test_a_thinned_curve_keeps_its_ends_and_its_size() -> None:
    fpr = np.arange(0, 100_001) / 100_000

    kept = thin(fpr, 200)

    assert len(kept) <= 200
    assert (kept[0], kept[-1]) == (0, 100_000)
    assert (np.diff(kept) > 0).all()


@pytest.mark.parametrize(
    ("score", "label", "message"),
    [
        (np.zeros(3), np.array([0, 1]), "one score and one label"),
        (np.array([0.0, np.nan]), np.array([0, 1]), "finite scores"),
        (np.zeros(2), np.array([1, 1]), "events of both kinds"),
        (np.zeros(3), np.array([0, 1, 2]), "labels 0 and 1"),
    ],
)
def test_scores_or_labels_that_make_no_sense_are_refused(
    score: np.ndarray, label: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        roc(score, label)


@pytest.mark.parametrize("floor", [0, 301])
def test_a_floor_outside_the_background_is_refused(floor: int) -> None:
    score, label = gaussians(300, 10, 1.0, seed=9)

    with pytest.raises(DataError, match="expected a floor between 1 and the 300"):
        sic(roc(score, label), min_background=floor)
