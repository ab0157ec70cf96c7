"""Signal strength: the share of signal in events or samples whose templates are known."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from onlineflows.errors import DataError
from onlineflows.offline.metrics import Value


def fit_fraction(log_ratio: NDArray[np.floating[Any]]) -> Value:
    """Returns the maximum-likelihood share f of signal in events of (1 - f) p_b + f p_s.

    The likelihood is concave in f; f may be negative as long as the density of every event is
    positive, so that the estimate has no bias where there is no signal. The error is the inverse
    root of the observed information.

    Args:
        log_ratio: log p_s(x) / p_b(x) of each event, shape (n,); -inf where there is no signal.

    Raises:
        DataError: no events, or ratios that are NaN or infinite.

    Example:
        >>> round(fit_fraction(np.log(np.array([3.0, 0.5, 0.5]))).value, 6)
        0.333333
    """
    ratio = np.exp(np.asarray(log_ratio, dtype=np.float64))
    if not len(ratio) or not np.isfinite(ratio).all():
        raise DataError(
            f"expected finite density ratios; got {np.count_nonzero(~np.isfinite(ratio))} others "
            f"of {len(ratio)}"
        )
    gain = ratio - 1
    highest, lowest = float(gain.max()), float(gain.min())
    if highest <= 0 or lowest >= 0:
        raise DataError("expected events with density ratios on both sides of 1; got one side")

    def slope(fraction: float) -> float:
        return float((gain / (1 + fraction * gain)).sum())

    # The slope falls from +inf to -inf between the two poles.
    left, right = -1 / highest, -1 / lowest
    margin = 1e-9 * (right - left)
    best = float(brentq(slope, left + margin, right - margin, xtol=1e-12))
    information = float(((gain / (1 + best * gain)) ** 2).sum())
    return Value(best, 1 / math.sqrt(information))
