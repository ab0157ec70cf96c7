"""ANODE's own rules; its optimum is tested with all methods."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import norm

from onlineflows.offline.anode import anode, anode_marginal
from onlineflows.offline.inputs import MethodConfig, MethodInputs, Training

Known = Callable[[float], Any]


def inputs(known: Known) -> MethodInputs:
    return MethodInputs(densities={"data": known(0.1), "background": known(0.0)})


def test_the_ratio_of_exact_densities_is_exact(known: Known) -> None:
    x = known(0.5).sample(100, seed=1)
    x = x[(x[:, 0] > 3.3) & (x[:, 0] < 3.7)]

    score = anode(inputs(known), Training(MethodConfig(), np.random.default_rng(1))).score(x)

    # In the signal region a share s of the events is signal.
    share = (0.1 / 0.4) / (0.9 + 0.1 / 0.4)
    ratio = 4 * np.exp(-2 * ((x[:, 1:] - 1.5) ** 2).sum(1) + 0.5 * (x[:, 1:] ** 2).sum(1))
    np.testing.assert_allclose(score, np.log(1 - share + share * ratio))


def test_with_m_integrated_out_the_event_s_own_m_does_not_count(known: Known) -> None:
    x = known(0.5).sample(100, seed=2)
    moved = x.copy()
    moved[:, 0] = 3.5
    made = anode_marginal(inputs(known), Training(MethodConfig(), np.random.default_rng(1)))

    np.testing.assert_array_equal(made.score(x), made.score(moved))


def test_nothing_is_selected_outside_the_fiducial_range(known: Known) -> None:
    x = known(0.5).sample(2000, seed=3)
    x[:, 0] = 3.5
    x[:5, 1] = 4.0
    config = replace(MethodConfig(), fiducial=0.005)

    score = anode(inputs(known), Training(config, np.random.default_rng(1))).score(x)

    assert (score[:5] == score.min()).all()
    outside = (np.abs(x[:, 1:]) > norm.ppf(0.995)).any(axis=1)
    assert np.count_nonzero((score == score.min()) != outside) < 20
