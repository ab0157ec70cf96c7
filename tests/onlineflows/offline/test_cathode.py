"""CATHODE's own rules; that it finds and doesn't find is tested with all methods."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from onlineflows.errors import DataError
from onlineflows.offline.cathode import cathode, draw_masses, inside
from onlineflows.offline.classifier import TreesConfig
from onlineflows.offline.inputs import MethodConfig, MethodInputs, Training

Known = Callable[[float], Any]


def test_masses_follow_those_of_the_events() -> None:
    rng = np.random.default_rng(1)
    m = 3.3 + 0.4 * rng.beta(2, 4, 20_000)

    drawn = draw_masses(m, (3.3, 3.7), 20_000, rng)

    assert ((drawn > 3.3) & (drawn < 3.7)).all()
    # The critical value of a level of 0.1 %.
    assert ks_2samp(m, drawn).statistic < 1.95 * np.sqrt(2 / 20_000)


@pytest.mark.parametrize("edge", [3.3, np.float32(3.3)])
def test_an_event_on_an_edge_stays_inside(edge: float) -> None:
    drawn = draw_masses(np.array([edge, 3.7]), (3.3, 3.7), 100, np.random.default_rng(1))

    assert ((drawn >= 3.3) & (drawn <= 3.7)).all()


def test_background_is_drawn_per_event_of_the_signal_region(known: Known) -> None:
    x = known(0.05).sample(2000, seed=1)
    config = MethodConfig(trees=TreesConfig(folds=2, max_iter=2), oversample=2.5)
    given = MethodInputs({"data": x}, {"background": known(0.0)})

    found = cathode(given, Training(config, np.random.default_rng(1)))

    assert found.n_train_sr == len(inside(x, (3.3, 3.7)))
    assert found.n_train_sb == round(2.5 * found.n_train_sr)


def test_m_may_be_an_input(known: Known) -> None:
    x = known(0.05).sample(2000, seed=1)
    config = MethodConfig(trees=TreesConfig(folds=2, max_iter=2), mass="input")
    given = MethodInputs({"data": x}, {"background": known(0.0)})

    assert np.isfinite(cathode(given, Training(config, np.random.default_rng(1))).score(x)).all()


def test_without_a_background_density_it_says_so(known: Known) -> None:
    with pytest.raises(DataError, match="expected a density 'background'"):
        cathode(
            MethodInputs({"data": known(0.0).sample(100, seed=1)}),
            Training(MethodConfig(), np.random.default_rng(1)),
        )
