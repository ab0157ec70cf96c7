"""How a score is rated, and what evaluation events must be."""

import numpy as np
import pytest

from onlineflows.errors import DataError
from onlineflows.offline.metrics import auc, roc, sic
from onlineflows.offline.scores import Evaluation, rate_score


def test_a_rated_score_keeps_its_exact_maximum_on_the_thinned_curve() -> None:
    rng = np.random.default_rng(10)
    label = rng.integers(0, 2, 20_000)
    score = rng.normal(label, 1.0)

    found = rate_score(score, label, min_background=10)

    exact = sic(roc(score, label), min_background=10)
    assert len(found.curve.sic) <= 401
    assert found.curve.best() == found.max_sic == exact.best()
    assert found.auc == auc(score, label)


def test_labels_that_do_not_fit_the_events_are_refused() -> None:
    with pytest.raises(DataError, match="with n labels"):
        Evaluation(np.zeros((3, 2)), np.zeros(2, dtype=int))


def test_optimal_scores_that_do_not_fit_the_events_are_refused() -> None:
    with pytest.raises(DataError, match="expected 3 optimal scores"):
        Evaluation(np.zeros((3, 2)), np.zeros(3, dtype=int), np.zeros(2))
