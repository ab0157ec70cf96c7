"""CWoLa's own rules: what it learns from, the weights of a drift, the hunt over windows."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onlineflows.errors import DataError
from onlineflows.offline.classifier import TreesConfig
from onlineflows.offline.cwola import cwola, cwola_hunt
from onlineflows.offline.inputs import MethodConfig, MethodInputs, Trained, Training
from onlineflows.offline.regions import Regions

CONFIG = MethodConfig(trees=TreesConfig(folds=2, max_iter=3))
Known = Callable[[float], Any]


def trained(x: np.ndarray, seed: int, config: MethodConfig = CONFIG) -> Trained:
    return cwola(MethodInputs({"data": x}), Training(config, np.random.default_rng(seed)))


def test_the_resonant_feature_itself_is_not_learned(known: Known) -> None:
    x = known(0.0).sample(3000, seed=4)
    moved = x.copy()
    inside = Regions().in_signal_region(moved[:, 0])
    moved[inside, 0] = np.random.default_rng(4).uniform(3.3, 3.7, inside.sum())

    first, second = (trained(events, seed=5).score(x) for events in (x, moved))

    np.testing.assert_array_equal(first, second)


def test_training_events_are_counted_by_region(known: Known) -> None:
    x = known(0.03).sample(3000, seed=8)

    found = trained(x, seed=9)

    m = x[:, 0]
    assert found.n_train_sr == np.count_nonzero((m >= 3.3) & (m < 3.7))
    assert found.n_train_sr + found.n_train_sb == np.count_nonzero((m >= 3.1) & (m < 3.9))


def test_a_removed_trend_is_not_learned(known: Known) -> None:
    x = known(0.0).sample(3000, seed=10)
    tilted = x + (x[:, :1] - 3.5) * np.array([0.0, 5.0, -3.0])
    config = replace(CONFIG, mass="removed")

    straight, bent = (trained(events, 11, config).score(events) for events in (x, tilted))

    np.testing.assert_allclose(straight, bent, atol=1e-6)


def test_m_as_an_input_is_refused(known: Known) -> None:
    with pytest.raises(DataError, match="m tells the regions"):
        trained(known(0.0).sample(100, seed=1), 1, replace(CONFIG, mass="input"))


WINDOWS = [
    Regions((low, low + 0.2), ((low - 0.2, low), (low + 0.2, low + 0.4))) for low in (3.2, 3.4)
]


def test_a_hunt_scores_every_event_of_every_window(known: Known) -> None:
    x = known(0.03).sample(3000, seed=12)

    found = list(cwola_hunt(x, WINDOWS, Training(CONFIG, np.random.default_rng(1))))

    assert [hunted.regions for hunted in found] == WINDOWS
    for hunted in found:
        m = x[:, 0]
        lowest, highest = hunted.regions.sidebands[0][0], hunted.regions.sidebands[1][1]
        inside = np.flatnonzero((m >= lowest) & (m < highest))
        np.testing.assert_array_equal(hunted.index, inside)
        assert np.isfinite(hunted.score).all()


def test_no_event_of_a_hunt_is_scored_by_what_it_trained(known: Known) -> None:
    # Events of one fold get labels by chance: whoever learned them would separate them.
    x = known(0.0).sample(2000, seed=13)
    told: list[int] = []
    deep = MethodConfig(trees=TreesConfig(folds=3, max_iter=60, learning_rate=0.3, patience=60))
    training = Training(deep, np.random.default_rng(1), lambda: told.append(1))

    (hunted,) = cwola_hunt(x, WINDOWS[:1], training)

    inside = hunted.regions.in_signal_region(x[hunted.index, 0])
    difference = hunted.score[inside].mean() - hunted.score[~inside].mean()
    assert abs(difference) < 5 * hunted.score.std() / np.sqrt(len(inside) / 2)
    assert len(told) == 3 * 2


def test_a_cut_keeps_the_same_fraction_of_each_fold(known: Known) -> None:
    x = known(0.03).sample(3000, seed=14)
    (hunted,) = cwola_hunt(x, WINDOWS[:1], Training(CONFIG, np.random.default_rng(1)))

    kept = hunted.passing(0.1)

    for fold in range(2):
        members = hunted.index[hunted.fold == fold]
        assert len(np.intersect1d(kept, members)) == round(0.1 * len(members))
