"""Coverage: how often a band of bootstrap replicas holds the truth.

Of one stream, theta_0 is the value of the central model and theta_1 to theta_R those of replicas
that were trained on the stream with Poisson(1) weights. The band is

    theta_0 +- t s,   s^2 = sum_r (theta_r - mean)^2 / (R - 1),

t the quantile of Student's t with R - 1 degrees of freedom: s is known from R values only. It
stands for the scatter of theta_0 between streams; what all streams have in common, the model's
bias, it can't know. Both are told apart: coverage of the truth, and of theta_0's mean over
streams.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from onlineflows.errors import DataError

Floats = NDArray[np.float64]

LEVELS = (0.68, 0.95)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How a band does for one quantity.

    Args:
        level: nominal coverage.
        covered: share of streams whose band holds the truth.
        covered_mean: share of streams whose band holds the mean over streams: 1 less what is
            missing for the bias alone.
        error: binomial standard error of both at the nominal level.
        truth: the quantity.
        bias: mean of the central values less the truth.
        bias_error: its standard error.
        spread: standard deviation of the central values over streams.
        band: root of the mean of s^2: what the replicas say of the spread.
        n_streams: streams.
        n_replicas: replicas.
    """

    level: float
    covered: float
    covered_mean: float
    error: float
    truth: float
    bias: float
    bias_error: float
    spread: float
    band: float
    n_streams: int
    n_replicas: int

    def document(self) -> dict[str, float]:
        """Returns plain JSON types."""
        return asdict(self)


def replica_band(values: Floats, level: float) -> tuple[Floats, Floats]:
    """Returns the lower and upper ends of the band of each stream.

    Args:
        values: the central value, then the replicas', shape (..., 1 + R).
        level: nominal coverage.

    Raises:
        DataError: fewer than two replicas.
    """
    n_replicas = values.shape[-1] - 1
    if n_replicas < 2:
        raise DataError(f"expected at least 2 replicas; got {n_replicas}")
    factor = float(stdtrit(n_replicas - 1, (1 + level) / 2))
    half = factor * values[..., 1:].std(axis=-1, ddof=1)
    return values[..., 0] - half, values[..., 0] + half


def coverage(values: Floats, truth: float, level: float) -> Coverage:
    """Returns how the band does over independent streams.

    Args:
        values: shape (streams, 1 + R): of each stream the central value, then the replicas'.
        truth: the quantity.
        level: nominal coverage.

    Raises:
        DataError: fewer than two streams or replicas.
    """
    n_streams = len(values)
    if values.ndim != 2 or n_streams < 2:
        raise DataError(f"expected values of at least 2 streams; got shape {values.shape}")
    low, high = replica_band(values, level)
    central = values[:, 0]
    mean, spread = float(central.mean()), float(central.std(ddof=1))
    return Coverage(
        level=level,
        covered=float(((low <= truth) & (truth <= high)).mean()),
        covered_mean=float(((low <= mean) & (mean <= high)).mean()),
        error=math.sqrt(level * (1 - level) / n_streams),
        truth=truth,
        bias=mean - truth,
        bias_error=spread / math.sqrt(n_streams),
        spread=spread,
        band=float(np.sqrt(values[:, 1:].var(axis=1, ddof=1).mean())),
        n_streams=n_streams,
        n_replicas=values.shape[1] - 1,
    )
