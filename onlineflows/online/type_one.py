"""Which events of a mini-batch count as background, at a given type-I error.

With λ(x) = p_background(x) / p_data(x), rejecting λ <= ε rejects the share

    α = ∫ p_background 1[λ <= ε] = E_data[λ 1[λ <= ε]]

of the background (Tan 2020): the mean over a mini-batch of data estimates it for any ε.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BISECTIONS = 40
"""Halvings of the interval of log λ: far below what a mini-batch resolves."""

LogRatio = NDArray[np.floating[Any]]


def log_threshold(log_ratio: LogRatio, alpha: float) -> float:
    """Returns log ε with mean(λ 1[λ <= ε]) <= α, the largest up to the bisection's precision.

    Args:
        log_ratio: log λ of a mini-batch of data, shape (n,), finite.
        alpha: the type-I error, in (0, 1).

    Returns:
        A number below the largest log λ. Where even all events together stay below α, the
        background has lost the data: then it is below the smallest log λ, so that nothing is
        rejected and the background can recover.

    Example:
        >>> import math
        >>> log_ratio = [math.log(v) for v in (0.1, 0.2, 0.7, 3.0)]
        >>> round(math.exp(log_threshold(log_ratio, 0.1)), 2)
        0.7
    """
    values = np.asarray(log_ratio, dtype=np.float64)
    low, high = float(values.min()) - 1.0, float(values.max())
    if _type_one_error(values, high) <= alpha:
        return low
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if _type_one_error(values, middle) <= alpha:
            low = middle
        else:
            high = middle
    return low


def passing(log_ratio: LogRatio, alpha: float) -> NDArray[np.bool_]:
    """Returns which events pass as background, λ > ε, shape (n,); the one of largest λ does."""
    passes: NDArray[np.bool_] = np.asarray(log_ratio) > log_threshold(log_ratio, alpha)
    return passes


def _type_one_error(log_ratio: LogRatio, log_epsilon: float) -> float:
    rejected = log_ratio[log_ratio <= log_epsilon]
    # exp can't overflow usefully: what is above 1 for n events already exceeds any α.
    return float(np.exp(np.minimum(rejected, 700.0)).sum() / len(log_ratio))
