"""What a classifier sees of an event: all features but the resonant one, or a variation of that."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onlineflows.offline.inputs import Events, Mass


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The classifier's features of an event.

    Args:
        mass: what becomes of the resonant feature m; see `MethodConfig`.
        slope: linear trend of every other feature with m, shape (d - 1,); used with "removed".
        centre: the m at which nothing is subtracted.
    """

    mass: Mass
    slope: NDArray[np.float64]
    centre: float

    def __call__(self, x: Events) -> Events:
        """Returns the features of events x (n, d): shape (n, d - 1), or (n, d) with "input"."""
        if self.mass == "input":
            return x
        if self.mass == "left_out":
            return x[:, 1:]
        shift = (x[:, 0].astype(np.float64) - self.centre)[:, None] * self.slope
        result: NDArray[np.float64] = x[:, 1:] - shift
        return result


def seen_features(background: Events, mass: Mass) -> Seen:
    """Returns what a classifier sees.

    Args:
        background: events without signal to speak of, shape (n, d), from which trends with m are
            fitted by least squares.
        mass: what becomes of m.
    """
    d = background.shape[1]
    if mass != "removed":
        return Seen(mass, np.zeros(d - 1), 0.0)
    m = background[:, 0].astype(np.float64)
    centre = float(m.mean())
    offset = m - centre
    slope = offset @ background[:, 1:].astype(np.float64) / max(float(offset @ offset), 1e-300)
    return Seen(mass, slope, centre)
