"""The gate: does a snapshot that is about to be published describe the newest events?

A flow maps events to numbers that are independent and standard normal exactly where its density is
theirs. The newest events are mapped by the candidate's flow, and each of d axes and of some fixed
random directions is compared with the normal distribution by the test of Kolmogorov and Smirnov,
whose null is known: no event has to be sampled or resampled, and the cost is one forward pass.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import kolmogi, ndtr

from onlineflows.density import Density
from onlineflows.errors import CheckpointError
from onlineflows.settings import GateConfig

TEST = "kolmogorov-smirnov of latent projections"
DIRECTIONS_SEED = 20_881
"""Of the random directions: they are the same in every run."""
LEAST_EVENTS = 256
"""With fewer events the null of the test isn't that of many, and little is seen."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a candidate.

    Args:
        passed: whether the statistic is at most the threshold.
        statistic: the largest of all directions' sqrt(n) times the distance of the distribution
            functions, with Stephens' correction for finite n.
        threshold: exceeded by chance with the configured probability at most.
        test: the test's name.
        n: events that it was taken over.
        direction: the direction that differs most: a feature's index, or -1 for a random one.
    """

    passed: bool
    statistic: float
    threshold: float
    test: str
    n: int
    direction: int

    def document(self) -> dict[str, Any]:
        """Returns plain JSON types; numbers with six digits."""
        rounded = {k: float(f"{getattr(self, k):.6g}") for k in ("statistic", "threshold")}
        return asdict(self) | rounded


FULLEST = Verdict(False, 1.23457e-100, 1.23457e-100, TEST, 10**15, -(10**15))
"""No verdict is written with more letters."""


class Gate:
    """Keeps the newest events and judges densities by them.

    The events are also trained on, at most as often as all others: among the hundreds of thousands
    behind a snapshot their influence is far below what so few can show.

    Args:
        config: how many events, how many directions, how strict.
        n_features: features of an event.

    Attributes:
        n_remembered: events that it was given, those that have given way included.
    """

    def __init__(self, config: GateConfig, n_features: int) -> None:
        self._config = config
        self._ring = np.zeros((config.events, n_features), dtype=np.float32)
        self.n_remembered = 0
        rng = np.random.default_rng(DIRECTIONS_SEED)
        random = rng.standard_normal((n_features, config.directions))
        random /= np.linalg.norm(random, axis=0)
        self._directions = np.concatenate([np.eye(n_features), random], axis=1)
        # Bonferroni: no direction may be exceeded with more than its share of the probability.
        share = config.false_alarms / self._directions.shape[1]
        self._threshold = float(kolmogi(share))

    @property
    def nbytes(self) -> int:
        """Bytes of the events that are kept; constant for life."""
        return self._ring.nbytes

    @property
    def newest(self) -> NDArray[np.float32]:
        """The events that are kept, in no order, shape (n, d); a view."""
        return self._ring[: min(self.n_remembered, len(self._ring))]

    def remember(self, x: NDArray[np.float32]) -> None:
        """Keeps the newest events, shape (n, d); older ones give way."""
        capacity = len(self._ring)
        newest = x[-capacity:] if capacity else x[:0]
        first = self.n_remembered + len(x) - len(newest)
        if len(newest):
            self._ring[(first + np.arange(len(newest))) % capacity] = newest
        self.n_remembered += len(x)

    def judge(self, density: Density) -> Verdict | None:
        """Returns what the gate says of a density; None while there are too few events."""
        n = len(self.newest)
        if n < LEAST_EVENTS:
            return None
        latent = density.latent(self.newest)
        distances = ks_to_normal(latent @ self._directions)
        root = math.sqrt(n)
        worst = int(np.argmax(distances))
        statistic = float(distances[worst]) * (root + 0.12 + 0.11 / root)
        return Verdict(
            passed=statistic <= self._threshold,
            statistic=statistic,
            threshold=self._threshold,
            test=TEST,
            n=n,
            direction=worst if worst < latent.shape[1] else -1,
        )

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Returns what a restart needs, as arrays of fixed sizes."""
        return {
            "ring": self._ring.copy(),
            "n_remembered": np.array(self.n_remembered, dtype=np.int64),
        }

    def load(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Takes up what `state` returned.

        Raises:
            KeyError, CheckpointError: it is of another configuration.
        """
        if state["ring"].shape != self._ring.shape:
            raise CheckpointError(
                f"gate: expected {self._ring.shape} events; got {state['ring'].shape}"
            )
        self._ring[...] = state["ring"]
        self.n_remembered = int(state["n_remembered"])


def ks_to_normal(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Returns the largest distance of each column's distribution function to the normal one.

    Args:
        values: shape (n, k); infinite ones count as being at the end.

    Returns:
        Shape (k,).
    """
    n = len(values)
    expected = ndtr(np.sort(values, axis=0))
    steps = np.arange(n + 1)[:, None] / n
    above = (steps[1:] - expected).max(axis=0)
    below = (expected - steps[:-1]).max(axis=0)
    distances: NDArray[np.float64] = np.maximum(above, below)
    # What isn't a number is as far away as can be.
    return np.where(np.isnan(distances), 1.0, distances)
