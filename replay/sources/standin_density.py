"""The stand-in's exact density: the yardstick for what a learner and a classifier can reach."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp

from replay.sources.standin import (
    BLOCK_EVENTS,
    TEST_BACKGROUND,
    TEST_SIGNAL,
    Mixture,
    block_generator,
    log_abs_det,
    sample_events,
    standin_constants,
    to_unbounded,
)
from streams import LHCO, EventSchema, InputError, SchemaError

CHUNK_EVENTS = 8192
"""Events that are evaluated at once: this bounds the memory, some 20 MB."""


class MixtureDensity:
    """Densities of a Gaussian mixture, with the resonant coordinate u_0 apart from the others.

    The coordinates are taken in the order u_1, ..., u_{d-1}, u_0, so that the last row of each
    whitening z = L^-1 (u - mu) is u_0 given the others and the first rows are their marginal.

    Args:
        mixture: K components over d coordinates.
    """

    def __init__(self, mixture: Mixture) -> None:
        k, d = mixture.means.shape
        covariances = mixture.cholesky @ mixture.cholesky.transpose(0, 2, 1)
        factors = np.linalg.cholesky(np.roll(covariances, -1, axis=(1, 2)))
        inverses = np.linalg.inv(factors)
        means = np.roll(mixture.means, -1, axis=1)
        log_diagonals = np.log(np.diagonal(factors, axis1=1, axis2=2))
        self._log_weights = np.log(mixture.weights)
        self._log_norms = self._log_weights - log_diagonals.sum(1) - 0.5 * d * np.log(2 * np.pi)
        # All inverse factors side by side: one product whitens for all components.
        self._whitening = inverses.transpose(2, 0, 1).reshape(d, k * d)
        self._offsets = np.einsum("kij,kj->ki", inverses, means).ravel()
        # Without the Gaussian factor of u_0, for where it is integrated.
        self._log_norms_others = self._log_norms + log_diagonals[:, -1] + 0.5 * np.log(2 * np.pi)
        self._slopes = np.exp(-log_diagonals[:, -1])
        self._resonant_means = mixture.means[:, 0]
        self._resonant_widths = np.sqrt(covariances[:, 0, 0])

    def log_prob(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns log p(u), shape (n,); u in the usual order, shape (n, d)."""
        z = self._whiten(np.roll(u, -1, axis=1))
        terms = self._log_norms - 0.5 * np.einsum("nki,nki->nk", z, z)
        result: NDArray[np.float64] = logsumexp(terms, axis=1)
        return result

    def log_prob_in_interval(
        self, u: NDArray[np.float64], low: float, high: float
    ) -> NDArray[np.float64]:
        """Returns log of the integral of p(u) over low < u_0 < high, shape (n,).

        Given the others, u_0 of a component is Gaussian: the integral is a difference of two
        normal distribution functions.

        Args:
            u: the other coordinates u_1, ..., shape (n, d - 1).
            low: lower end of the interval, in the unbounded coordinate.
            high: upper end.
        """
        z = self._whiten(np.column_stack([u, np.zeros(len(u))]))
        others, at_zero = z[:, :, :-1], z[:, :, -1]
        terms = self._log_norms_others - 0.5 * np.einsum("nki,nki->nk", others, others)
        terms += log_normal_mass(at_zero + low * self._slopes, at_zero + high * self._slopes)
        result: NDArray[np.float64] = logsumexp(terms, axis=1)
        return result

    def log_fraction(self, low: float, high: float) -> float:
        """Returns log of the probability that low < u_0 < high."""
        log_mass = log_normal_mass(
            (low - self._resonant_means) / self._resonant_widths,
            (high - self._resonant_means) / self._resonant_widths,
        )
        return float(logsumexp(self._log_weights + log_mass))

    def _whiten(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns z of every component, shape (n, K, d); u with u_0 last."""
        z: NDArray[np.float64] = u @ self._whitening
        z -= self._offsets
        return z.reshape(len(u), len(self._log_norms), u.shape[1])


def log_normal_mass(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns log(Phi(high) - Phi(low)) without cancellation, elementwise; low < high.

    Example:
        >>> float(log_normal_mass(np.array([-np.inf]), np.array([np.inf]))[0])
        0.0
    """
    # In the upper tail both Phi are 1 to rounding: use the symmetry and stay in the lower one.
    flip = low > 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    log_b = log_ndtr(b)
    with np.errstate(divide="ignore"):
        result: NDArray[np.float64] = log_b + np.log(-np.expm1(log_ndtr(a) - log_b))
    return result


class StandinDensity:
    """The density that `replay.sources.standin.StandinSource` samples, in float64.

    All densities are per unit of the schema (TeV^-3) and include every Jacobian; outside the
    open support they are zero, log -inf. `x` is always of shape (n, 5) in the schema's units;
    memory is bounded whatever n.
    """

    def __init__(self) -> None:
        self._constants = standin_constants()
        self._background = MixtureDensity(self._constants.background)
        self._signal = MixtureDensity(self._constants.signal)

    @property
    def schema(self) -> EventSchema:
        """The observables of the LHC Olympics."""
        return LHCO

    def log_prob_background(self, x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Returns log p_b(x), shape (n,)."""
        return _in_chunks(x, lambda u: self._background.log_prob(u) + log_abs_det(u))

    def log_prob_signal(self, x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Returns log p_s(x), shape (n,)."""
        return _in_chunks(x, lambda u: self._signal.log_prob(u) + log_abs_det(u))

    def log_prob(self, x: NDArray[np.floating[Any]], signal_fraction: float) -> NDArray[np.float64]:
        """Returns log((1 - f) p_b(x) + f p_s(x)), shape (n,).

        Args:
            x: events.
            signal_fraction: f, in [0, 1].
        """
        if not 0.0 <= signal_fraction <= 1.0:
            raise InputError(f"expected a signal fraction from 0 to 1; got {signal_fraction}")

        def mixed(u: NDArray[np.float64]) -> NDArray[np.float64]:
            with np.errstate(divide="ignore"):
                log_b = np.log1p(-signal_fraction) + self._background.log_prob(u)
                log_s = np.log(signal_fraction) + self._signal.log_prob(u)
            result: NDArray[np.float64] = np.logaddexp(log_b, log_s) + log_abs_det(u)
            return result

        return _in_chunks(x, mixed)

    def log_ratio(self, x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Returns log p_s(x) / p_b(x) on all five features, shape (n,).

        The most powerful statistic there is (Neyman and Pearson 1933); NaN outside the support.
        """
        return _in_chunks(
            x, lambda u: self._signal.log_prob(u) - self._background.log_prob(u), outside=np.nan
        )

    def optimal_score(
        self, x: NDArray[np.floating[Any]], signal_region: tuple[float, float]
    ) -> NDArray[np.float64]:
        """Returns the most powerful statistic on the features of CWoLa's classifier, shape (n,).

        The classifier sees all features but the resonant one, of events in the signal region:
        its optimum is log p_s(x' | m in SR) / p_b(x' | m in SR), with x' the other features.
        The events' own m isn't used. NaN outside the support.

        Args:
            x: events.
            signal_region: low < m < high, in TeV.
        """
        low, high = _unbounded_interval(signal_region)
        offset = self._signal.log_fraction(low, high) - self._background.log_fraction(low, high)

        def score(u: NDArray[np.float64]) -> NDArray[np.float64]:
            others = u[:, 1:]
            log_s = self._signal.log_prob_in_interval(others, low, high)
            return log_s - self._background.log_prob_in_interval(others, low, high)

        return _in_chunks(x, score, outside=np.nan) - offset

    def sample(
        self, n_background: int, n_signal: int, seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Returns test events, background first, and their labels.

        They are independent of every stream, also of the one with the same seed.

        Args:
            n_background: background events.
            n_signal: signal events.
            seed: generator seed.

        Returns:
            Features, shape (n, 5), float32; labels, shape (n,), 1 for signal.
        """
        x = [
            *_sample_blocks(self._constants.background, n_background, seed, TEST_BACKGROUND),
            *_sample_blocks(self._constants.signal, n_signal, seed, TEST_SIGNAL),
        ]
        label = np.repeat(np.array([0, 1], dtype=np.uint8), [n_background, n_signal])
        return np.concatenate(x), label


def _in_chunks(
    x: NDArray[np.floating[Any]],
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    outside: float = -np.inf,
) -> NDArray[np.float64]:
    """Returns a function of the unbounded coordinates, shape (n,), evaluated piece by piece.

    Args:
        x: events, shape (n, 5).
        function: of coordinates of shape (k, 5), with values of shape (k,).
        outside: the value of events that aren't inside the open support.
    """
    if x.ndim != 2 or x.shape[1] != LHCO.n_features:
        raise SchemaError(f"expected events of shape (n, {LHCO.n_features}); got {x.shape}")
    result = np.full(len(x), outside)
    for start in range(0, len(x), CHUNK_EVENTS):
        events = np.asarray(x[start : start + CHUNK_EVENTS], dtype=np.float64)
        inside = ((events > LHCO.low) & (events < LHCO.high)).all(axis=1)
        result[start : start + CHUNK_EVENTS][inside] = function(to_unbounded(events[inside]))
    return result


def _sample_blocks(mixture: Mixture, n: int, seed: int, use: int) -> list[NDArray[np.float32]]:
    return [
        sample_events(mixture, min(BLOCK_EVENTS, n - start), block_generator(seed, use, start))[0]
        for start in range(0, n, BLOCK_EVENTS)
    ]


def _unbounded_interval(region: tuple[float, float]) -> tuple[float, float]:
    """Returns an interval of m in the unbounded coordinate; ends at or beyond the support's
    become infinite.
    """
    low, high = region
    feature = LHCO.resonant
    if not (low < high and low < feature.high and high > feature.low):
        raise InputError(
            f"expected a signal region low < high that overlaps {feature.low} to {feature.high} "
            f"{feature.unit}; got {region}"
        )

    def unbounded(m: float) -> float:
        if m <= feature.low or m >= feature.high:
            return -np.inf if m <= feature.low else np.inf
        return float(np.log((m - feature.low) / (feature.high - m)))

    return unbounded(low), unbounded(high)
