"""Which values float32 can hold."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams import why_not_finite


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
