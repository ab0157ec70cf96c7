"""The first stage of the preprocessing: from a feature's physical support to the whole line.

It is fixed by the schema alone, so that no statistics of the data can move an event out of the
model's reach.
"""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streams import Feature

EPSILON = 1e-6
"""Keeps events on an edge of their support, real zeros above all, at a finite distance."""

Array = NDArray[np.float64]


Coefficients = tuple[float, float, float, float, float, float]
"""(low, above, high, below, per_unit, linear): every support's map in one form,
v = above log(ε + per_unit (x - low)) - below log(ε + per_unit (high - x)) + linear x."""


class SupportMap(Protocol):
    """An increasing map from a support to the line. Shapes (n,)."""

    @property
    def coefficients(self) -> Coefficients:
        """What makes the common form this map."""

    def forward(self, x: Array) -> Array:
        """Returns v, finite for every x in the closed support."""

    def log_slope(self, x: Array) -> Array:
        """Returns log ∂v/∂x."""

    def inverse(self, v: Array) -> Array:
        """Returns x inside the support: values of v beyond the image of an edge, which lie within
        EPSILON of it, end up on the edge.
        """


class Bounded:
    """v = logit(ε + (1 - 2ε) u) with u = (x - low) / (high - low).

    The formula of Tan 2020 (logit(ε + (1 - ε) u) on scaled features), made symmetric.
    """

    def __init__(self, low: float, high: float) -> None:
        self._low = low
        self._high = high
        self._per_unit = (1 - 2 * EPSILON) / (high - low)

    @property
    def coefficients(self) -> Coefficients:
        """Both logarithms."""
        return self._low, 1.0, self._high, 1.0, self._per_unit, 0.0

    def forward(self, x: Array) -> Array:
        """Returns the logit."""
        above, below = self._fractions(x)
        logit: Array = np.log(above / below)
        return logit

    def log_slope(self, x: Array) -> Array:
        """Returns log ∂v/∂x."""
        above, below = self._fractions(x)
        return np.log(self._per_unit / (above * below))

    def inverse(self, v: Array) -> Array:
        """Returns x, from whichever edge is nearer, so that small distances keep their digits."""
        odds = np.exp(-np.abs(v))
        distance = _from_edge(odds / (1 + odds) - EPSILON) / self._per_unit
        return np.where(v < 0, self._low + distance, self._high - distance)

    def _fractions(self, x: Array) -> tuple[Array, Array]:
        """Returns ε + (1 - 2ε) u and its complement, both without cancellation."""
        above = EPSILON + self._per_unit * (x - self._low)
        below = EPSILON + self._per_unit * (self._high - x)
        return above, below


class HalfBounded:
    """v = log(x - low + ε), or its mirror image -log(high - x + ε); ε in the feature's unit.

    Args:
        edge: the finite end of the support.
        sign: 1 if the support lies above the edge, -1 if below.
    """

    def __init__(self, edge: float, sign: int) -> None:
        self._edge = edge
        self._sign = sign

    @property
    def coefficients(self) -> Coefficients:
        """One logarithm; the other would have no edge."""
        is_lower = self._sign > 0
        return self._edge, float(is_lower), self._edge, float(not is_lower), 1.0, 0.0

    def forward(self, x: Array) -> Array:
        """Returns the logarithm of the distance from the edge, signed."""
        return self._sign * np.log(self._sign * (x - self._edge) + EPSILON)

    def log_slope(self, x: Array) -> Array:
        """Returns log ∂v/∂x."""
        return -np.log(self._sign * (x - self._edge) + EPSILON)

    def inverse(self, v: Array) -> Array:
        """Returns x."""
        distance = _from_edge(np.exp(self._sign * v) - EPSILON)
        return self._edge + self._sign * distance


class Unbounded:
    """v = x."""

    @property
    def coefficients(self) -> Coefficients:
        """No logarithm."""
        return 0.0, 0.0, 0.0, 0.0, 0.0, 1.0

    def forward(self, x: Array) -> Array:
        """Returns x."""
        return x

    def log_slope(self, x: Array) -> Array:
        """Returns 0."""
        return np.zeros_like(x)

    def inverse(self, v: Array) -> Array:
        """Returns v."""
        return v


def _from_edge(distance: Array) -> Array:
    """Returns distances from an edge without what is beyond it or is mere rounding.

    An event on the edge comes back to it exactly, and so does the half of an atom there (a
    detector's zeros) that a smooth density puts beyond it.
    """
    return np.where(distance < EPSILON * 1e-9, 0.0, distance)


def support_map(feature: Feature) -> SupportMap:
    """Returns the map of a feature's support."""
    below, above = math.isfinite(feature.low), math.isfinite(feature.high)
    if below and above:
        return Bounded(feature.low, feature.high)
    if below:
        return HalfBounded(feature.low, 1)
    if above:
        return HalfBounded(feature.high, -1)
    return Unbounded()
