"""The second stage of the preprocessing: a monotone map that makes each marginal Gaussian.

Each feature gets a monotone rational-quadratic spline (Gregory & Delbourgo 1982, IMA J. Numer.
Anal. 2, 123) through quantiles of the first events: v_k is the quantile Φ(z_k). It is fitted once
and frozen: a flow that is learned on top must not see its coordinates move.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import DataError

Array = NDArray[np.float64]

Z_MAX = 3.3
"""The outermost knots: beyond them are 1 in 2,000 Gaussian events."""
MIN_BEYOND = 10
"""Events that a fit keeps beyond each outermost knot."""
MIN_GAP = 1e-3
"""Least distance of knots, as a fraction of the central 68 %: bounds the slope at atoms."""
MIN_SPREAD = 1e-9
"""A column that varies by less than this, relative to its size, counts as constant."""


class MarginalMap:
    """An increasing, once differentiable map of each feature; logarithmic beyond its knots.

    Beyond the last knot (v_k, z_k, slope s) it is z_k + log(1 + s (v - v_k)), mirrored below the
    first: outliers stay within the flow's reach. A feature with fewer distinct knots than others
    repeats its last one.

    Args:
        v: the knots, shape (d, k), ascending.
        z: their images, shape (d, k), ascending.
        slope: dz/dv at the knots, shape (d, k), positive.

    Attributes:
        pieces: coefficients of every piece of every feature, those of feature i from i (k + 1) on.
        is_tail: which of them lie beyond the knots, shape (d (k + 1),).
    """

    def __init__(self, v: Array, z: Array, slope: Array) -> None:
        self.v = v
        self.z = z
        self.slope = slope
        self.pieces = _pieces(v, z, slope)
        is_tail = np.zeros((len(v), v.shape[1] + 1), dtype=np.bool_)
        is_tail[:, [0, -1]] = True
        self.is_tail = is_tail.ravel()

    @classmethod
    def fit(cls, v: Array, knots: int) -> Self:
        """Fits the map to events.

        Ties (a detector's exact zeros, a constant column) would give infinite slopes: knots that
        are closer than MIN_GAP become one.

        Args:
            v: events on the line, shape (d, n), n at least 1.
            knots: knots of each feature.

        Raises:
            DataError: there are no events, or values that aren't finite.
        """
        n = v.shape[1]
        if n == 0 or not np.isfinite(v).all():
            raise DataError(
                f"expected at least one event, all finite, to fit the marginal map on; got {n} "
                f"events, {np.count_nonzero(~np.isfinite(v))} values not finite"
            )
        gauss = NormalDist()
        z_max = min(Z_MAX, gauss.inv_cdf(1 - min(MIN_BEYOND / n, 0.16)))
        z = np.linspace(-z_max, z_max, knots)
        levels = np.array([gauss.cdf(z_k) for z_k in z])
        fitted = [_fit_feature(row, z, levels) for row in v]
        return cls(*(np.stack(arrays) for arrays in zip(*fitted, strict=True)))

    def forward(self, v: Array) -> tuple[Array, Array]:
        """Returns z and log ∂z/∂v of events on the line; all of shape (d, n)."""
        number = self._find(self.v, v)
        piece = self.pieces.take(number)
        t = (v - piece.v) * piece.per_width
        denominator = 1 + piece.bend * t * (1 - t)
        z = piece.z + t * (piece.rise + t * piece.curve) / denominator
        slope = (piece.slope_0 + t * (piece.slope_1 + t * piece.slope_2)) / denominator**2
        log_slope = np.log(slope)
        tails = np.nonzero(self.is_tail.take(number))
        linear = z[tails] - piece.z[tails]
        bent = np.log1p(np.abs(linear))
        z[tails] = piece.z[tails] + np.copysign(bent, linear)
        log_slope[tails] -= bent
        return z, log_slope

    def inverse(self, z: Array) -> Array:
        """Returns the events on the line, shape (d, n): the stable root of a quadratic."""
        number = self._find(self.z, z)
        piece = self.pieces.take(number)
        rise = z - piece.z
        tails = np.nonzero(self.is_tail.take(number))
        rise[tails] = np.copysign(np.expm1(np.abs(rise[tails])), rise[tails])
        bent = piece.bend * rise
        a, b = piece.curve + bent, piece.rise - bent
        root = np.sqrt(np.maximum(b * b + 4 * a * rise, 0))
        # The form without cancellation; where b is negative, a exceeds the piece's height.
        upper = b < 0
        t = np.where(upper, root - b, 2 * rise) / np.where(upper, 2 * a, b + root)
        v: Array = piece.v + t / piece.per_width
        return v

    def _find(self, knots: Array, values: Array) -> NDArray[np.int64]:
        """Returns the flat number of each value's piece, shape (d, n)."""
        n_pieces = knots.shape[1] + 1
        found = np.empty(values.shape, dtype=np.int64)
        for row, (own, value) in enumerate(zip(knots, values, strict=True)):
            found[row] = np.searchsorted(own, value, side="right")
            found[row] += row * n_pieces
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Coefficients of the pieces between knots, tails included; all of the same shape.

    In t = (v - v_k) per_width, z = z_k + (rise t + curve t²) / q and
    dz/dv = (slope_0 + slope_1 t + slope_2 t²) / q², with q = 1 + bend t (1 - t).
    A tail is linear here and bent by its user.
    """

    v: Array
    z: Array
    per_width: Array
    rise: Array
    curve: Array
    bend: Array
    slope_0: Array
    slope_1: Array
    slope_2: Array

    def take(self, number: NDArray[np.int64]) -> "Pieces":
        """Returns the coefficients of the pieces with these numbers."""
        return Pieces(
            *(getattr(self, name).take(number) for name in type(self).__dataclass_fields__)
        )


def _pieces(v: Array, z: Array, slope: Array) -> Pieces:
    """Returns the coefficients of every piece of every feature, flat, shape (d (k + 1),)."""
    d, k = v.shape
    width, height = np.ones((d, k + 1)), np.empty((d, k + 1))
    width[:, 1:k], height[:, 1:k] = np.diff(v), np.diff(z)
    # Tails are pieces of width 1; between repeated knots is nothing that could be looked up.
    empty = width == 0
    width[empty] = 1
    left = np.concatenate((slope[:, :1], slope), axis=1)
    right = np.concatenate((slope, slope[:, -1:]), axis=1)
    height[:, 0], height[:, -1] = slope[:, 0], slope[:, -1]
    height[empty] = left[empty]
    secant = height / width
    second = left + right - 2 * secant
    arrays = (
        np.concatenate((v[:, :1], v), axis=1),
        np.concatenate((z[:, :1], z), axis=1),
        1 / width,
        height * left / secant,
        height * (secant - left) / secant,
        second / secant,
        left,
        2 * (secant - left),
        second,
    )
    return Pieces(*(a.ravel() for a in arrays))


def _fit_feature(v: Array, z: Array, levels: Array) -> tuple[Array, Array, Array]:
    """Returns one feature's knots, images and slopes, each of shape (k,)."""
    low, high = np.quantile(v, (0.159, 0.841))
    spread = (high - low) / 2 or float(np.ptp(v)) / 6
    if spread <= MIN_SPREAD * float(np.abs(v).max()):
        spread = 1.0
    knots = np.quantile(v, levels)
    starts = _run_starts(knots, MIN_GAP * spread)
    runs = np.split(z, starts[1:])
    v_distinct = knots[starts]
    z_distinct = np.array([run.mean() for run in runs])
    slope = _knot_slopes(v_distinct, z_distinct, spread)
    padding = (0, len(z) - len(starts))
    v_k, z_k, s_k = (np.pad(a, padding, mode="edge") for a in (v_distinct, z_distinct, slope))
    return v_k, z_k, s_k


def _run_starts(values: Array, gap: float) -> list[int]:
    """Returns where each run of ascending values starts; starts are at least a gap apart."""
    starts = [0]
    for place in range(1, len(values)):
        if values[place] - values[starts[-1]] > gap:
            starts.append(place)
    return starts


def _knot_slopes(v: Array, z: Array, spread: float) -> Array:
    """Returns slopes at the knots: weighted geometric means of the secants beside them.

    (Delbourgo & Gregory 1985, SIAM J. Sci. Stat. Comput. 6, 967: positive whatever the data.) At
    the ends the slope is extrapolated, but held between 0.3 and 1 of the last secant.
    """
    if len(v) == 1:
        return np.array([1 / spread])
    width = np.diff(v)
    log_secant = np.log(np.diff(z) / width)
    log_slope = np.empty_like(v)
    log_slope[1:-1] = (width[1:] * log_secant[:-1] + width[:-1] * log_secant[1:]) / (
        width[1:] + width[:-1]
    )
    for end, inner, secant in ((0, 1, log_secant[0]), (-1, -2, log_secant[-1])):
        beside = log_slope[inner] if len(v) > 2 else secant
        log_slope[end] = np.clip(2 * secant - beside, secant + np.log(0.3), secant)
    return np.exp(log_slope)
