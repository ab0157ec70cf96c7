"""A density in closed form with a planted signal, whose optimum is known."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from onlineflows.density import AnyDensity
from onlineflows.offline.scores import Evaluation
from streams import EventSchema, Feature

SCHEMA = EventSchema(
    (Feature("m", "TeV", 3.0, 4.0), Feature("a", "", -9, 9), Feature("b", "", -9, 9))
)
SIGNAL_REGION = (3.3, 3.7)
SHIFT, WIDTH = 1.5, 0.5


class Known:
    """Uniform m with two standard normal features, and a signal in 3.3 < m < 3.7.

    The signal is uniform in m there and normal with mean 1.5 and width 0.5 in the features: on
    the features alone, with or without m, the likelihood ratio is the same.
    """

    def __init__(self, fraction: float) -> None:
        self.schema = SCHEMA
        self.fraction = fraction

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        result: np.ndarray = self.log_prob_resonant(x) + self.log_prob_conditional(x)
        return result

    def log_prob_resonant(self, m: np.ndarray) -> np.ndarray:
        values = m if m.ndim == 1 else m[:, 0]
        result: np.ndarray = np.log(1 - self.fraction + self.fraction * self._inside(values) / 0.4)
        return result

    def log_prob_conditional(self, x: np.ndarray) -> np.ndarray:
        share = self._share(x[:, 0])
        with np.errstate(divide="ignore"):
            terms = [np.log1p(-share) + background(x), np.log(share) + signal(x)]
        result: np.ndarray = logsumexp(terms, axis=0)
        return result

    def sample(self, n: int, seed: int) -> np.ndarray:
        return self.labelled(n, seed)[0]

    def labelled(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        label = (rng.random(n) < self.fraction).astype(np.uint8)
        m = np.where(label, rng.uniform(*SIGNAL_REGION, n), rng.uniform(3.0, 4.0, n))
        return np.column_stack([m, self._others(label, rng)]), label

    def sample_given(self, m: np.ndarray, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return np.column_stack([m, self._others(rng.random(len(m)) < self._share(m), rng)])

    def _others(self, label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        x = rng.normal(size=(len(label), 2))
        return np.where(label[:, None], SHIFT + WIDTH * x, x)

    def _share(self, m: np.ndarray) -> np.ndarray:
        inside = self._inside(m) / 0.4
        return self.fraction * inside / (1 - self.fraction + self.fraction * inside)

    @staticmethod
    def _inside(m: np.ndarray) -> np.ndarray:
        return (m >= SIGNAL_REGION[0]) & (m < SIGNAL_REGION[1])


def background(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = norm.logpdf(x[:, 1:]).sum(axis=1)
    return result


def signal(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = norm.logpdf(x[:, 1:], SHIFT, WIDTH).sum(axis=1)
    return result


@pytest.fixture(scope="session")
def known() -> Callable[[float], AnyDensity]:
    """Makes the density with a fraction of signal."""
    return Known


@pytest.fixture(scope="session")
def known_evaluation() -> Evaluation:
    """Labelled events of the density with their likelihood ratio: a fifth of them signal."""
    x, label = Known(0.2).labelled(30_000, seed=99)
    return Evaluation(x, label, signal(x) - background(x))
