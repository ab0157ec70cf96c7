"""Every method of the table on a planted signal and on none; CWoLa's own rules."""

from typing import Any

import numpy as np
import pytest

from onlineflows.errors import DataError
from onlineflows.offline.classifier import TreesConfig
from onlineflows.offline.cwola import Evaluation, MethodConfig, cwola, rate_score
from onlineflows.offline.methods import METHODS
from onlineflows.offline.metrics import auc, roc, sic
from onlineflows.offline.regions import Regions
from onlineflows.settings import ValidateConfig


def background(n: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform m, two standard normal features."""
    return np.column_stack([rng.uniform(3.0, 4.0, n), rng.normal(size=(n, 2))])


def signal(n: int, rng: np.random.Generator) -> np.ndarray:
    """A resonance at 3.5 that is narrow in the features too."""
    return np.column_stack([rng.normal(3.5, 0.05, n), rng.normal(1.5, 0.5, (n, 2))])


def mixture(n: int, fraction: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    n_signal = rng.binomial(n, fraction)
    events = np.concatenate([background(n - n_signal, rng), signal(n_signal, rng)])
    return rng.permutation(events).astype(np.float32)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    rng = np.random.default_rng(0)
    x = np.concatenate([background(20_000, rng), signal(3000, rng)])
    label = np.repeat([0, 1], [20_000, 3000])
    ratio = 2 * np.log(2.0) - 2 * ((x[:, 1:] - 1.5) ** 2).sum(1) + 0.5 * (x[:, 1:] ** 2).sum(1)
    return Evaluation(x.astype(np.float32), label, ratio)


def optimum(evaluation: Evaluation) -> Any:
    tested = evaluation.within(Regions())
    assert tested.optimum is not None
    return rate_score(tested.optimum, tested.label, min_background=100)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_planted_signal_is_found(name: str, evaluation: Evaluation) -> None:
    found = METHODS[name](
        mixture(10_000, 0.03, seed=1),
        evaluation,
        config=MethodConfig(),
        rng=np.random.default_rng(1),
    )

    # Over 60 other seeds the smallest maximum was 3.4, the largest 4.9.
    assert found.max_sic.value > 3.0
    assert found.max_sic.value < optimum(evaluation).max_sic.value


@pytest.mark.parametrize("name", sorted(METHODS))
def test_nothing_is_found_where_there_is_nothing(name: str, evaluation: Evaluation) -> None:
    found = METHODS[name](
        mixture(10_000, 0.0, seed=1),
        evaluation,
        config=MethodConfig(),
        rng=np.random.default_rng(1),
    )

    # Over 300 other seeds the largest maximum was 2.8: the false-alarm rate is below 1 %.
    assert found.max_sic.value < 3.0


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_same_generator_gives_the_same_result(name: str, evaluation: Evaluation) -> None:
    config = MethodConfig(trees=TreesConfig(folds=2, max_iter=3))
    train_x = mixture(3000, 0.03, seed=2)

    first, second = (
        METHODS[name](train_x, evaluation, config=config, rng=np.random.default_rng(3))
        for _ in range(2)
    )

    assert first.auc == second.auc
    np.testing.assert_array_equal(first.curve.sic, second.curve.sic)


def test_the_resonant_feature_itself_is_not_learned(evaluation: Evaluation) -> None:
    # m alone separates the regions perfectly; the other features carry nothing.
    rng = np.random.default_rng(4)
    train_x = background(3000, rng)
    moved = train_x.copy()
    moved[:, 0] = np.where(
        Regions().in_signal_region(moved[:, 0]), rng.uniform(3.3, 3.7, 3000), moved[:, 0]
    )
    config = MethodConfig(trees=TreesConfig(folds=2, max_iter=3))

    results = [
        cwola(x, evaluation, config=config, rng=np.random.default_rng(5)).auc
        for x in (train_x, moved)
    ]

    assert results[0] == results[1]


def test_only_evaluation_events_of_the_signal_region_count(evaluation: Evaluation) -> None:
    config = MethodConfig(trees=TreesConfig(folds=2, max_iter=3))
    train_x = mixture(3000, 0.03, seed=6)

    everywhere, inside = (
        cwola(train_x, tested, config=config, rng=np.random.default_rng(7))
        for tested in (evaluation, evaluation.within(config.regions))
    )

    assert everywhere.auc == inside.auc


def test_training_events_are_counted_by_region(evaluation: Evaluation) -> None:
    train_x = mixture(3000, 0.03, seed=8)
    m = train_x[:, 0]

    found = cwola(
        train_x,
        evaluation,
        config=MethodConfig(trees=TreesConfig(folds=2, max_iter=2)),
        rng=np.random.default_rng(9),
    )

    assert found.n_train_sr == np.count_nonzero((m >= 3.3) & (m < 3.7))
    assert found.n_train_sr + found.n_train_sb == np.count_nonzero((m >= 3.1) & (m < 3.9))


def test_a_rated_score_keeps_its_exact_maximum_on_the_thinned_curve() -> None:
    rng = np.random.default_rng(10)
    label = rng.integers(0, 2, 20_000)
    score = rng.normal(label, 1.0)

    found = rate_score(score, label, min_background=10)

    exact = sic(roc(score, label), min_background=10)
    assert len(found.curve.sic) <= 401
    assert found.curve.best() == found.max_sic == exact.best()
    assert found.auc == auc(score, label)


def test_the_settings_of_validation_reach_the_method() -> None:
    settings = ValidateConfig(
        signal_region=(1.0, 2.0), sidebands=((2.0, 3.0),), folds=7, min_background=9, threads=2
    )

    config = MethodConfig.from_settings(settings)

    assert config.regions == Regions((1.0, 2.0), ((2.0, 3.0),))
    assert config.trees == TreesConfig(folds=7, threads=2)
    assert config.min_background == 9


@pytest.mark.parametrize("shape", [(100,), (100, 1), (100, 4)])
def test_training_events_with_other_features_are_refused(
    shape: tuple[int, ...], evaluation: Evaluation
) -> None:
    with pytest.raises(DataError, match="expected training events with the features"):
        cwola(np.zeros(shape), evaluation, config=MethodConfig(), rng=np.random.default_rng(1))


def test_labels_that_do_not_fit_the_events_are_refused() -> None:
    with pytest.raises(DataError, match="with n labels"):
        Evaluation(np.zeros((3, 2)), np.zeros(2, dtype=int))


def test_optimal_scores_that_do_not_fit_the_events_are_refused() -> None:
    with pytest.raises(DataError, match="expected 3 optimal scores"):
        Evaluation(np.zeros((3, 2)), np.zeros(3, dtype=int), np.zeros(2))
