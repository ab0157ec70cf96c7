"""Densities with the resonant feature integrated out, and ratios of densities that stay finite."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.special import logsumexp

from onlineflows.density import AnyDensity
from onlineflows.errors import DataError
from onlineflows.offline.inputs import Events, Scores
from onlineflows.offline.regions import Interval

CHUNK_EVENTS = 65_536
"""Evaluations at a time: this bounds the memory."""

LogProb = Callable[[Events], Scores]


def marginalised(density: AnyDensity, x: Events, interval: Interval, *, nodes: int) -> Scores:
    """Returns log p(x' | m in the interval), shape (n,); the events' own m isn't used.

    p(x' | m in I) is the integral of p(m, x') over I, divided by that of p(m).

    Args:
        density: p(m, x').
        x: events, shape (n, d).
        interval: of m.
        nodes: points of the quadrature.

    Raises:
        DataError: the interval leaves the density's support.
    """
    m, log_weight = nodes_in(interval, nodes, density)
    log_mass = logsumexp(log_weight + density.log_prob_resonant(m))
    result: Scores = over_mass(density.log_prob, x, m, log_weight) - log_mass
    return result


def nodes_in(interval: Interval, nodes: int, density: AnyDensity) -> tuple[Scores, Scores]:
    """Returns the points of a Gauss-Legendre quadrature and the logarithms of their weights.

    Raises:
        DataError: the interval leaves the density's support.
    """
    low, high = interval
    resonant = density.schema.resonant
    if low < resonant.low or high > resonant.high:
        raise DataError(
            f"expected {resonant.label} from {low} to {high} inside the model's window; it has "
            f"{resonant.low} to {resonant.high}: take a model of a wider one"
        )
    point, weight = leggauss(nodes)
    half = 0.5 * (high - low)
    return low + half * (point + 1), np.log(half * weight)


def over_mass(log_prob: LogProb, x: Events, m: Scores, log_weight: Scores) -> Scores:
    """Returns the log of a sum over masses: log sum_k w_k p(m_k, x'), shape (n,).

    Args:
        log_prob: log p of events (n, d).
        x: events, shape (n, d); their m is replaced.
        m: masses, shape (k,).
        log_weight: log w, shape (k,).
    """
    result = np.empty(len(x))
    step = max(CHUNK_EVENTS // len(m), 1)
    for start in range(0, len(x), step):
        part = x[start : start + step]
        at = np.repeat(part.astype(np.float64), len(m), axis=0)
        at[:, 0] = np.tile(m, len(part))
        terms = log_prob(at).reshape(len(part), len(m)) + log_weight
        result[start : start + step] = logsumexp(terms, axis=1)
    return result


def log_sum(parts: Sequence[Scores]) -> Scores:
    """Returns the log of the sum of densities given by their logarithms, shape (n,)."""
    result: Scores = np.logaddexp.reduce(np.stack(list(parts)), axis=0)
    return result


def log_ratio(above: Scores, below: Scores) -> Scores:
    """Returns above - below, finite everywhere.

    What has no density above is as background-like as the lowest ratio, what has none below only
    as signal-like as the highest: a hole in a model must not win a search.

    Args:
        above: log-densities, shape (n,); may be -inf.
        below: log-densities, shape (n,); may be -inf.
    """
    known = np.isfinite(above) & np.isfinite(below)
    result = np.zeros(len(above))
    result[known] = above[known] - below[known]
    if known.any():
        result[~known & np.isfinite(above)] = result[known].max()
        result[~np.isfinite(above)] = result[known].min()
    return result
