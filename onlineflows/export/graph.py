"""A density as torch modules that can be traced into a graph, for any number of events.

`Density` maps with numpy and picks the events inside the support by index. A graph has neither:
here the same mathematics is a chain of torch operations on whole columns, every event passes
through, and what is outside is masked at the end. The preprocessing is computed in float64, as
there: in float32, values near the far edge of a support have no distance from it, and log p is
off by a hundredth of a nat. The flow is computed in float32, θ's own precision.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onlineflows.density import Density
from onlineflows.flows import TorchFlow
from onlineflows.flows.base import HALF_LOG_TWO_PI
from onlineflows.marginal import MarginalMap
from onlineflows.preprocess import Preprocessing
from onlineflows.support import EPSILON
from streams import Feature

EDGE = EPSILON * 1e-9
"""Distances from an edge of a support that are mere rounding; as `support` has it."""


class MarginalGraph(nn.Module):
    """`MarginalMap` in torch. Columns in, columns out: shapes (d, n), float64."""

    table: Tensor
    is_tail: Tensor
    v: Tensor
    z: Tensor
    first: Tensor

    def __init__(self, marginal: MarginalMap) -> None:
        super().__init__()
        pieces = marginal.pieces
        names = pieces.__dataclass_fields__
        table = torch.stack([torch.from_numpy(getattr(pieces, name)) for name in names])
        self.register_buffer("table", table)
        self.register_buffer("is_tail", torch.from_numpy(marginal.is_tail))
        self.register_buffer("v", torch.from_numpy(marginal.v))
        self.register_buffer("z", torch.from_numpy(marginal.z))
        first = torch.arange(len(marginal.v)) * (marginal.v.shape[1] + 1)
        self.register_buffer("first", first[:, None])

    def forward(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Returns z and log ∂z/∂v."""
        piece, is_tail = self._pieces(self.v, v)
        v0, z0, per_width, rise, curve, bend, slope_0, slope_1, slope_2 = piece
        t = (v - v0) * per_width
        denominator = 1 + bend * t * (1 - t)
        linear = t * (rise + t * curve) / denominator
        slope = (slope_0 + t * (slope_1 + t * slope_2)) / denominator.square()
        bent = torch.log1p(linear.abs())
        z = z0 + torch.where(is_tail, linear.sign() * bent, linear)
        return z, slope.log() - torch.where(is_tail, bent, torch.zeros_like(bent))

    def inverse(self, z: Tensor) -> Tensor:
        """Returns the v whose image is z."""
        piece, is_tail = self._pieces(self.z, z)
        v0, z0, per_width, height_0, curve, bend, *_ = piece
        rise = z - z0
        rise = torch.where(is_tail, rise.sign() * torch.expm1(rise.abs()), rise)
        bent = bend * rise
        a, b = curve + bent, height_0 - bent
        root = (b * b + 4 * a * rise).clamp(min=0).sqrt()
        upper = b < 0
        t = torch.where(upper, root - b, 2 * rise) / torch.where(upper, 2 * a, b + root)
        return v0 + t / per_width

    def _pieces(self, knots: Tensor, values: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Returns the coefficients of each value's piece, each (d, n), and whether it is a tail."""
        # Counted instead of looked up: exporters have no bisection.
        below = knots[:, :, None] <= values[:, None, :]
        number = below.to(torch.int64).sum(1) + self.first
        return self.table[:, number].unbind(0), self.is_tail[number]


class SupportGraph(nn.Module):
    """The support maps of all features in torch. Columns in, columns out: (d, n), float64."""

    def __init__(self, features: Sequence[Feature]) -> None:
        super().__init__()
        self._features = tuple(features)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns v and log ∂v/∂x."""
        pairs = [_to_line(f, column) for f, column in zip(self._features, x.unbind(0), strict=True)]
        v, log_slope = (torch.stack(columns) for columns in zip(*pairs, strict=True))
        return v, log_slope

    def inverse(self, v: Tensor) -> Tensor:
        """Returns x inside the supports."""
        columns = zip(self._features, v.unbind(0), strict=True)
        return torch.stack([_from_line(feature, column) for feature, column in columns])

    def contains(self, x: Tensor) -> Tensor:
        """Returns which events are finite and inside every support, shape (n,)."""
        inside = x[0] == x[0]
        for feature, column in zip(self._features, x.unbind(0), strict=True):
            # NaN compares false.
            inside = inside & (column >= feature.low) & (column <= feature.high)
            inside = inside & (column.abs() < float("inf"))
        return inside


class FlowGraph(TorchFlow):
    """`TorchFlow` over weights that are spread once, without tiles: a fixed chain of operations."""

    def __init__(self, density: Density) -> None:
        super().__init__(density.flow.spec, density.flow.theta.detach().clone())
        self._layers = self._layout.layers(self._layout.spread(self.theta))

    def log_prob_of_columns(self, z: Tensor) -> Tensor:
        """Returns log densities feature by feature; shapes (d, n), float32."""
        latent, log_abs_det = self._forward_tile(self._layers, z)
        return log_abs_det - (0.5 * latent * latent + HALF_LOG_TWO_PI)

    def inverse_of_columns(self, z: Tensor) -> Tensor:
        """Returns what is mapped to latent variables; shapes (d, n), float32."""
        for block, steps in zip(reversed(self._layers), reversed(self._steps), strict=True):
            z = self._invert_block(block, steps, z)
        return z


class LogProbGraph(nn.Module):
    """log p of events in the schema's units, of a density or of the mean of several.

    Args:
        densities: over one schema.
    """

    centre: Tensor

    def __init__(self, densities: Sequence[Density]) -> None:
        super().__init__()
        schema = densities[0].schema
        self.support = SupportGraph(schema.features)
        self.marginals = nn.ModuleList(_marginal(d.preprocessing) for d in densities)
        self._flows = [FlowGraph(density) for density in densities]
        centre = densities[0].preprocessing.inverse(torch.zeros(1, schema.n_features).numpy())
        self.register_buffer("centre", torch.from_numpy(centre).T.contiguous())
        self._log_n = torch.tensor(float(len(densities)), dtype=torch.float64).log()

    def forward(self, events: Tensor) -> tuple[Tensor, Tensor]:
        """Returns log p(x) and log p(m), each of shape (n,), float64; -inf outside the support.

        Args:
            events: x, shape (n, d), float64.
        """
        x = events.T
        inside = self.support.contains(x)
        v, log_slope = self.support(torch.where(inside, x, self.centre))
        joint, resonant = [], []
        for marginal, flow in zip(self.marginals, self._flows, strict=True):
            z, log_abs_det = marginal(v)
            by_feature = flow.log_prob_of_columns(z.float()).double() + log_abs_det + log_slope
            joint.append(by_feature.sum(0))
            resonant.append(by_feature[0])
        return self._masked(joint, inside), self._masked(resonant, inside)

    def _masked(self, log_probs: list[Tensor], inside: Tensor) -> Tensor:
        total = log_probs[0]
        if len(log_probs) > 1:
            total = torch.logsumexp(torch.stack(log_probs), 0) - self._log_n
        return torch.where(inside, total, torch.full_like(total, -torch.inf))


class SampleGraph(nn.Module):
    """Events from latent noise."""

    def __init__(self, density: Density) -> None:
        super().__init__()
        self.support = SupportGraph(density.schema.features)
        self.marginal = _marginal(density.preprocessing)
        self._flow = FlowGraph(density)

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Returns events, shape (n, d), float32, and which of them are events, shape (n,).

        Args:
            noise: standard normal, shape (n, d), float32.
        """
        z = self._flow.inverse_of_columns(noise.T)
        x = self.support.inverse(self.marginal.inverse(z.double())).float()
        return x.T, self.support.contains(x.double())


def _marginal(preprocessing: Preprocessing) -> MarginalGraph:
    return MarginalGraph(preprocessing.marginal)


def _to_line(feature: Feature, x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns v and log ∂v/∂x of one feature: `Bounded`, `HalfBounded`, `Unbounded`."""
    low, high, is_low, is_high = _ends(feature)
    if is_low and is_high:
        per_unit = (1 - 2 * EPSILON) / (high - low)
        above, below = EPSILON + per_unit * (x - low), EPSILON + per_unit * (high - x)
        return torch.log(above / below), torch.log(per_unit / (above * below))
    if is_low or is_high:
        sign, edge = (1.0, low) if is_low else (-1.0, high)
        logarithm = torch.log(sign * (x - edge) + EPSILON)
        return sign * logarithm, -logarithm
    return x, torch.zeros_like(x)


def _from_line(feature: Feature, v: Tensor) -> Tensor:
    """Returns x of one feature."""
    low, high, is_low, is_high = _ends(feature)
    if is_low and is_high:
        odds = torch.exp(-v.abs())
        distance = _from_edge(odds / (1 + odds) - EPSILON) * ((high - low) / (1 - 2 * EPSILON))
        return torch.where(v < 0, low + distance, high - distance)
    if is_low or is_high:
        sign, edge = (1.0, low) if is_low else (-1.0, high)
        return edge + sign * _from_edge(torch.exp(sign * v) - EPSILON)
    return v


def _from_edge(distance: Tensor) -> Tensor:
    return torch.where(distance < EDGE, torch.zeros_like(distance), distance)


def _ends(feature: Feature) -> tuple[float, float, bool, bool]:
    inf = float("inf")
    return feature.low, feature.high, feature.low > -inf, feature.high < inf
