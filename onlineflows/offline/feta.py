"""FETA's four ways to move reference events to where target events are: moves, bands, losses.

A flow f(x | m) is conditional on the resonant feature m, which isn't moved. All of them are trained
beside the signal region and interpolated into it (Mastandrea and Nachman 2022, 2212.06155; the full
method: 2212.11285). What trains them is in `bench.feta`.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onlineflows.errors import ConfigError, DataError
from onlineflows.flows import Flow
from onlineflows.offline.regions import Interval

Events = NDArray[np.floating[Any]]

EDGE = 3.0
"""Features are scaled to (-EDGE, EDGE)."""


@dataclass(frozen=True, slots=True)
class Bands:
    """Five bands of m around a signal region: outer, side, signal, side, outer.

    Args:
        centre: of the signal region.
        half_widths: of the signal region, of that with the sidebands, and of everything.

    Example:
        >>> Bands().intervals["SB1"]
        (3.2, 3.4)
    """

    centre: float = 3.5
    half_widths: tuple[float, float, float] = (0.1, 0.3, 0.5)

    def __post_init__(self) -> None:
        if not 0 < self.half_widths[0] < self.half_widths[1] < self.half_widths[2]:
            raise ConfigError(
                f"half_widths: expected positive and ascending ones; got {self.half_widths}"
            )

    @property
    def intervals(self) -> Mapping[str, Interval]:
        """The bands by name, in the order of m; each has its lower edge and not its upper one."""
        inner, side, outer = self.half_widths
        offsets = (-outer, -side, -inner, inner, side, outer)
        edges = [round(self.centre + offset, 9) for offset in offsets]
        names = ("OB1", "SB1", "SR", "SB2", "OB2")
        return dict(zip(names, itertools.pairwise(edges), strict=True))

    def holds(self, name: str, m: Events) -> NDArray[np.bool_]:
        """Returns which values of m are in a band, shape (n,)."""
        low, high = self.intervals[name]
        inside: NDArray[np.bool_] = (m >= low) & (m < high)
        return inside

    def in_sidebands(self, m: Events) -> NDArray[np.bool_]:
        """Returns which values of m are trained on, shape (n,)."""
        return self.holds("SB1", m) | self.holds("SB2", m)

    def context(self, m: Events) -> Tensor:
        """Returns m as what a flow is conditional on: -1 to 1 over all bands, shape (n, 1)."""
        scaled = (np.asarray(m, np.float64) - self.centre) / self.half_widths[-1]
        return torch.from_numpy(scaled.astype(np.float32))[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """A linear map of each feature from an interval to (-3, 3).

    Args:
        low, high: of the features, shape (d,).
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def fit(cls, x: Events) -> Self:
        """Returns the map that sends the least and the largest of events x (n, d) to the ends.

        Raises:
            DataError: a feature is constant, or there are no events.
        """
        if len(x) == 0 or not (np.ptp(x, axis=0) > 0).all():
            raise DataError(f"expected events whose features vary; got {len(x)} that don't")
        return cls(x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64))

    def forward(self, x: Events) -> NDArray[np.float32]:
        """Returns the scaled features, shape (n, d)."""
        unit = (x - self.low) / (self.high - self.low)
        return np.asarray(EDGE * (2 * unit - 1), dtype=np.float32)

    def inverse(self, scaled: Events) -> NDArray[np.float64]:
        """Returns the features, shape (n, d)."""
        unit = 0.5 * (np.asarray(scaled, np.float64) / EDGE + 1)
        x: NDArray[np.float64] = self.low + unit * (self.high - self.low)
        return x


def move_through_bases(reference: Flow, target: Flow, x: Tensor, context: Tensor) -> Tensor:
    """Returns reference events moved to the target through the normal base of two flows.

    The double base: x is mapped by the reference's flow to normal variables, and these by the
    inverse of the target's. Two densities fix where events end up together, never which goes
    where, so that errors of both add up.

    Args:
        reference: the flow of reference events.
        target: the flow of target events.
        x: reference events, shape (n, d).
        context: their m, shape (n, 1).
    """
    with torch.no_grad():
        return target.inverse(reference.forward(x, context)[0], context)


def move_by_transport(transport: Flow, x: Tensor, context: Tensor) -> Tensor:
    """Returns reference events moved by a flow that takes target events to the reference."""
    return transport.inverse(x, context)


def transport_nll(
    transport: Flow, base: Flow, x: Tensor, context: Tensor, *, penalty: float = 0.0
) -> Tensor:
    """Returns the loss of a flow whose base is the reference's learned density, differentiable.

    It is the mean of -log p_reference(f(x) | m) - log |det ∂f/∂x| + α |f(x) - x|²: target events
    are where f takes them to the reference, and α asks that it moves them little.

    Args:
        transport: f; both flows must be differentiable by autograd.
        base: the reference's density.
        x: target events, shape (n, d).
        context: their m, shape (n, 1).
        penalty: α.
    """
    moved, log_abs_det = transport.forward(x, context)
    nll = -base.log_prob(moved, context) - log_abs_det.sum(1)
    if penalty:
        nll = nll + penalty * ((moved - x) ** 2).sum(1)
    return nll.mean()


def distances(x: Events, moved: Events) -> NDArray[np.float64]:
    """Returns how far each event moves, shape (n,), in scaled features."""
    gap = np.asarray(moved, np.float64) - np.asarray(x, np.float64)
    lengths: NDArray[np.float64] = np.sqrt((gap**2).sum(axis=1))
    return lengths
