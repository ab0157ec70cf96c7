"""Poisson(1) weights of bootstrap replicas: a pure function of seed, model, replica and event.

Online bootstrap (Oza & Russell 2001, AISTATS): a replica that weighs each event by a Poisson(1)
number of its own has seen, for a long stream, a bootstrap sample of it. The numbers are hashed, not
drawn: an event keeps its weights in all its repeats and after a restart, on any machine.
"""

import math

import numpy as np
from numpy.typing import NDArray

from onlineflows.online.hashed import INDEX_BITS, hashes, seed_of

_HALF_BITS = INDEX_BITS // 2
"""float32 holds whole numbers of so many bits exactly."""
_MASK = (1 << _HALF_BITS) - 1
N_COLUMNS = 2
"""Columns that an event's index takes beside its features."""


def index_columns(indices: NDArray[np.int64]) -> NDArray[np.float32]:
    """Returns event indices as two columns of whole float32 numbers, shape (n, 2).

    Example:
        >>> indices_of(index_columns(np.array([5, 2**40 + 1]))).tolist()
        [5, 1099511627777]
    """
    halves = np.stack([indices >> _HALF_BITS & _MASK, indices & _MASK], axis=1)
    return halves.astype(np.float32)


def indices_of(columns: NDArray[np.float32]) -> NDArray[np.int64]:
    """Returns the event indices, less multiples of 2**48, that `index_columns` was given."""
    high, low = columns.astype(np.int64).T
    indices: NDArray[np.int64] = (high << _HALF_BITS) | low
    return indices


class Bootstrap:
    """The weights of a model's replicas.

    Args:
        seed: the run's seed.
        model: the model's name.
        replicas: number R of replicas.
    """

    def __init__(self, seed: int, model: str, replicas: int) -> None:
        keys = [replica_seed(seed, model, replica) for replica in range(1, replicas + 1)]
        self._keys = np.array(keys, dtype=np.uint64)[:, None]

    def weights(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns the weights of events in each replica, shape (R, n).

        Args:
            indices: of the events in their run, shape (n,), not negative.
        """
        # Equal to the number of k with u >= P(weight <= k), u uniform in [0, 1).
        found = np.searchsorted(_CUMULATIVE, hashes(indices, self._keys), side="right")
        return found.astype(np.float32)


def replica_seed(seed: int, model: str, replica: int) -> int:
    """Returns 63 bits that belong to one replica of one model: its weights and its first θ."""
    return seed_of(seed, model, replica)


def _poisson_thresholds() -> NDArray[np.uint64]:
    """Returns P(weight <= k) for a Poisson(1) weight in units of 2**-64, as far as they differ."""
    thresholds: list[int] = []
    cumulative = 0.0
    for k in range(19):
        cumulative += math.exp(-1) / math.factorial(k)
        thresholds.append(min(round(cumulative * 2**53) << 11, 2**64 - 1))
    return np.array(thresholds, dtype=np.uint64)


_CUMULATIVE = _poisson_thresholds()
