"""Distances between two samples of one number. numpy alone: the live page measures by them, too."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]


def ks_distance(a: Values, b: Values) -> float:
    """Returns the largest difference of the distribution functions of two samples.

    Args:
        a: values, shape (n,).
        b: values, shape (m,).

    Example:
        >>> ks_distance(np.array([0.0, 1.0]), np.array([0.5, 2.0]))
        0.5
    """
    return float(np.abs(_gaps(a, b, np.concatenate([a, b]))).max())


def wasserstein_distance(a: Values, b: Values) -> float:
    """Returns Wasserstein's distance W1 of two samples: how far probability must be moved to make
    one distribution the other, which is the area between the distribution functions.

    Args:
        a: values, shape (n,).
        b: values, shape (m,).

    Example:
        >>> wasserstein_distance(np.array([0.0, 1.0]), np.array([3.0, 2.0]))
        2.0
    """
    places = np.sort(np.concatenate([a, b])).astype(np.float64)
    return float(np.sum(np.abs(_gaps(a, b, places[:-1])) * np.diff(places)))


def _gaps(a: Values, b: Values, places: Values) -> NDArray[np.float64]:
    """The difference of the distribution functions at some places, shape (len(places),)."""
    at_a, at_b = (np.searchsorted(np.sort(x), places, side="right") / len(x) for x in (a, b))
    gaps: NDArray[np.float64] = at_a - at_b
    return gaps
