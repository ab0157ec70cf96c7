"""The study of compression: what is searched, and how many bytes it takes."""

import numpy as np
import pytest

from onlineflows.bench.compression import QUICK, Setting, keys
from onlineflows.bench.labelled import LabelledTruth, Reader
from onlineflows.bench.learned import ensemble_of, learned, nbytes_of, share_of
from onlineflows.mixture import Mixture
from onlineflows.online.learner import Learner
from streams import LHCO


def opened(seed: int, fraction: float) -> Reader:
    rng = np.random.default_rng(seed)
    low, high = LHCO.low, LHCO.high

    def read(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = low + (high - low) * rng.beta(4, 6, size=(n, LHCO.n_features))
        return x.astype(np.float32), (rng.random(n) < fraction).astype(np.uint8)

    return read


def truth() -> LabelledTruth:
    def sample(n_background: int, n_signal: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        read = opened(seed, 0.0)
        return read(n_background + n_signal)[0], np.repeat([0, 1], [n_background, n_signal])

    return LabelledTruth(LHCO, opened, sample, lambda x, region: np.zeros(len(x)))


@pytest.fixture(scope="module")
def window() -> Learner:
    return learned(truth(), QUICK.models["window"], 40_960, seed=1, fraction=0.01)


def test_no_cell_is_asked_for_twice() -> None:
    asked = [tuple(sorted(key.items())) for key in keys(Setting())]

    assert len(set(asked)) == len(asked)


def test_every_model_that_is_searched_is_defined() -> None:
    assert set(Setting().marks) == set(Setting().models)


def test_the_density_of_a_model_with_replicas_is_their_mean(window: Learner) -> None:
    density = ensemble_of(window)

    assert isinstance(density, Mixture)
    samples = density.sample(1000, seed=1)
    assert samples[:, 0].min() >= 3.1
    assert samples[:, 0].max() <= 3.9


def test_the_bytes_are_those_of_every_theta_map_and_the_manifest(window: Learner) -> None:
    theta = window.models["window"].thetas()
    knots = 3 * 8 * LHCO.n_features * window.config.preprocess.knots

    assert len(theta) == 2
    assert nbytes_of(window) == theta.size * 4 + knots + 32_768


def test_the_share_of_a_window_is_that_of_all_events(window: Learner) -> None:
    read = opened(1, 0.01)
    m = np.concatenate([read(n)[0][:, 0] for n in (32_768, 8192)])

    assert share_of(window) == ((m >= 3.1) & (m <= 3.9)).mean()
