"""Numbers that belong to an event of a run: hashed from its index, not drawn.

An event keeps them in all its repeats and after a restart, on any machine, in whatever batch or
lane it comes.
"""

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

INDEX_BITS = 48
"""Event indices beyond 2**48 get the numbers of the first ones again: after 3e14 events."""


def seed_of(*words: int | str) -> int:
    """Returns 63 bits that belong to some words, such as the run's seed and a purpose."""
    digest = sha256("/".join(map(str, words)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def hashes(indices: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns 64 bits for each event under each key, shape (..., n).

    Args:
        indices: of the events in their run, shape (n,), not negative.
        keys: from `seed_of`, shape (..., 1).
    """
    events = _mixed((indices % (1 << INDEX_BITS)).astype(np.uint64) * _GOLDEN)
    return _mixed(events ^ keys)


class Share:
    """The events of one of n parts into which a run's events are dealt at random.

    The parts are the same for all models of a run: of two models with shares [0, 2] and [1, 2] none
    has seen an event of the other's.

    Args:
        seed: the run's seed.
        part: number of the part, from 0.
        n_parts: their number.
    """

    def __init__(self, seed: int, part: int, n_parts: int) -> None:
        self._part, self._n_parts = np.uint64(part), np.uint64(n_parts)
        self._key = np.array([seed_of(seed, "share")], dtype=np.uint64)

    def contains(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which events belong to the part, shape (n,).

        Args:
            indices: of the events in their run, shape (n,), not negative.
        """
        within: NDArray[np.bool_] = hashes(indices, self._key) % self._n_parts == self._part
        return within


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns splitmix64's output function (Steele et al. 2014, OOPSLA), bit for bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
