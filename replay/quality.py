"""Why an event can't be used: numbers that are none, or that float32 can't hold."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams import Status


def to_float32(table: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Returns values as float32 and a `streams.Status` for each row, shape (n,), uint8.

    Denormal numbers are as good as others: below 1e-45 they become 0.

    Args:
        table: features, shape (n, d).
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        x = table.astype(np.float32)
    status = np.zeros(len(x), dtype=np.uint8)
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        status[bad] = why_not_finite(table[bad])
    return x, status


def why_not_finite(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Returns why rows can't be used that aren't finite, or that lead to something that isn't.

    Args:
        values: the rows as they came, shape (n, d): what is finite there was too large to go on
            with.

    Example:
        >>> why_not_finite(np.array([[1e300, np.nan], [1e300, np.inf], [1e300, 0.0]])).tolist()
        [4, 5, 6]
    """
    infinite = np.where(np.isinf(values).any(axis=1), Status.INFINITE, Status.TOO_LARGE)
    reasons = np.where(np.isnan(values).any(axis=1), Status.NOT_A_NUMBER, infinite)
    return reasons.astype(np.uint8)
