"""How far a learned density is from the true one, where the truth is known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import DataError


@dataclass(frozen=True, slots=True)
class Distance:
    """The mean of log p - log q over held-out events: an estimate of KL(p || q).

    Args:
        nats: the mean, in nats per event.
        error: its standard error.
        n_events: events that it was taken over.
        n_outside: events left out since the model gives them no density (q = 0); they would make
            the distance infinite, so anything but zero needs an explanation.
    """

    nats: float
    error: float
    n_events: int
    n_outside: int


def nats_to_truth(log_p: NDArray[np.floating[Any]], log_q: NDArray[np.floating[Any]]) -> Distance:
    """Returns the distance from the truth to a model in nats per event.

    Args:
        log_p: true log-density of held-out events that were drawn from it, shape (n,).
        log_q: the model's log-density of the same events, shape (n,).

    Raises:
        DataError: the shapes differ, a true log-density isn't finite, a model's is NaN or +inf,
            or fewer than two events are inside the model's support.
    """
    if log_p.ndim != 1 or log_p.shape != log_q.shape:
        raise DataError(f"expected two equal lists; got {log_p.shape} and {log_q.shape}")
    p, q = log_p.astype(np.float64), log_q.astype(np.float64)
    if not np.isfinite(p).all() or np.isnan(q).any() or np.isposinf(q).any():
        raise DataError(
            "expected finite true log-densities and model ones that are finite or -inf; got "
            f"{np.count_nonzero(~np.isfinite(p))} and "
            f"{np.count_nonzero(np.isnan(q) | np.isposinf(q))} others of {len(p)}"
        )
    inside = np.isfinite(q)
    difference = p[inside] - q[inside]
    if len(difference) < 2:
        raise DataError(f"expected at least 2 events inside the model; got {len(difference)}")
    return Distance(
        nats=float(difference.mean()),
        error=float(difference.std(ddof=1) / np.sqrt(len(difference))),
        n_events=len(difference),
        n_outside=int(len(p) - len(difference)),
    )
