"""Monotone rational-quadratic splines with a closed-form derivative of everything.

Reference: Gregory & Delbourgo, IMA J. Numer. Anal. 2, 123 (1982); Durkan et al. 2019,
1906.04032, eqs. 4-8. Parametrisation: zuko's (softmax widths and heights, soft clamps).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from onlineflows.flows.elementwise import LOG_MIN_SLOPE, soft_clamp


@dataclass(frozen=True, slots=True, eq=False)
class _Bins:
    """All bins of all events before normalisation, widths first, then heights.

    Args:
        size: exponentials, shape (t, 2, K, n).
        clamp: factor of the soft clamp in the exponent, shape (t, 2, K, n).
        upper: running sums of the sizes, shape (t, 2, K, n).
        unit: what one unit of size is in x and y, shape (t, 2, n).
    """

    size: Tensor
    clamp: Tensor
    upper: Tensor
    unit: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Bin:
    """The one bin of each event.

    Args:
        number: its number, int64, shape (t, 1, n).
        above: for all bins but the last, 1 where the value lies above the bin, else 0; shape
            (t, K - 1, n).
        corner: its lower left corner (x0, y0), shape (t, 2, n).
        size: its width and height, shape (t, 2, n).
        slope: the derivatives at its two knots, shape (t, 2, n).
        clamp: factor of the soft clamp of the slopes, shape (t, 2, n).
    """

    number: Tensor
    above: Tensor
    corner: Tensor
    size: Tensor
    slope: Tensor
    clamp: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class SplinePoint:
    """A spline at x, in the notation of 1906.04032. Shapes (t, n) unless said.

    Args:
        y: the image of x.
        log_abs_det: log ∂y/∂x.
        inside: whether x is where the spline isn't the identity.
        xi: position in the bin, from 0 to 1.
        secant: height over width of the bin.
        denominator: denominator of eq. 4, s + (d0 + d1 - 2 s) xi (1 - xi).
        ratio: the fraction of eq. 4: (y - y0) / height.
        inner: the bracket of eq. 5.
        bins: all bins.
        bin: the bin of x.
    """

    y: Tensor
    log_abs_det: Tensor
    inside: Tensor
    xi: Tensor
    secant: Tensor
    denominator: Tensor
    ratio: Tensor
    inner: Tensor
    bins: _Bins
    bin: _Bin

    def pull_back(self, grad_y: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the gradients with respect to x and to the rows: eqs. 4 and 5 derived."""
        xi, secant, denominator = self.xi, self.secant, self.denominator
        width, height = self.bin.size.unbind(1)
        d0, d1 = self.bin.slope.unbind(1)
        rest, mirror = 1 - xi, 1 - 2 * xi
        both = xi * rest
        # Outside the bound nothing reaches the rows.
        on_y = torch.where(self.inside, grad_y, 0.0)
        on_log = torch.where(self.inside, grad_log_det, 0.0)
        on_numerator = on_y * height / denominator
        on_denominator = -(on_numerator * self.ratio + 2 * on_log / denominator)
        on_inner = on_log / self.inner
        on_xi = (
            on_numerator * (2 * secant * xi + d0 * mirror)
            + on_denominator * (d0 + d1 - 2 * secant) * mirror
            + 2 * on_inner * (d1 * xi + secant * mirror - d0 * rest)
        )
        on_secant = (
            2 * on_log / secant
            + on_numerator * xi * xi
            + on_denominator * (1 - 2 * both)
            + 2 * on_inner * both
        )
        on_slopes = torch.stack(
            (
                (on_numerator + on_denominator) * both + on_inner * rest * rest,
                on_denominator * both + on_inner * xi * xi,
            ),
            1,
        )
        on_x = on_xi / width
        on_corner = torch.stack((-on_x, on_y), 1)
        on_width = -(on_x * xi + on_secant * secant / width)
        on_size = torch.stack((on_width, on_y * self.ratio + on_secant / width), 1)
        grad_rows = self._pull_back_rows(on_corner, on_size, on_slopes)
        return torch.where(self.inside, on_x, grad_y), grad_rows

    def _pull_back_rows(self, on_corner: Tensor, on_size: Tensor, on_slopes: Tensor) -> Tensor:
        """Carries gradients on the chosen bin back through slopes, running sums and softmax.

        A softmax of sizes p_j moves the corner by all bins below and the size by its own bin:
        the gradient on bin j is p_j times (corner if below, size if it, 0 if above) minus the
        mean of that under p.
        """
        bins, chosen = self.bins, self.bin
        targets, _, count, events = bins.size.shape
        where = chosen.number[:, None].expand(-1, 2, -1, -1)
        total = bins.upper[:, :, -1]
        own = bins.size.gather(2, where)
        below = bins.upper.gather(2, where) - own
        mean = (on_corner * below.squeeze(2) + on_size * own.squeeze(2)) / total
        corner, size, rest = (
            (g * bins.unit)[:, :, None] for g in (on_corner, on_size - mean, -mean)
        )
        rows = mean.new_empty(targets, 3 * count + 1, events)
        on_bins = rows[:, : 2 * count].view(targets, 2, count, events)
        torch.addcmul(rest, corner, chosen.above[:, None], out=on_bins[:, :, :-1])
        on_bins[:, :, -1:] = rest
        on_bins.scatter_(2, where, size)
        on_bins.mul_(bins.size).mul_(bins.clamp).mul_(bins.clamp)

        knots = torch.cat((chosen.number, chosen.number + 1), 1)
        on_raw = on_slopes * chosen.slope * chosen.clamp * chosen.clamp
        rows[:, 2 * count :].zero_().scatter_(1, knots, on_raw)
        return rows


class Spline:
    """A spline of K bins on [-bound, bound], the identity outside.

    Rows: K widths and K heights before their softmax, then K + 1 log-slopes at the knots, of
    which the first and the last are no parameters: constant zeros give slope 1 there, so that
    the tails are joined smoothly and the outer bins are no special case.

    Args:
        bins: number of bins K, at least 2.
        bound: the spline maps [-bound, bound] onto itself.
    """

    def __init__(self, bins: int, bound: float) -> None:
        self.bins = bins
        self.bound = bound
        self.n_rows = 3 * bins + 1
        self.parameter_rows = (*range(2 * bins), *range(2 * bins + 1, 3 * bins))

    def linearise(self, rows: Tensor, x: Tensor) -> SplinePoint:
        """Returns the spline at x: eqs. 4 and 5 of 1906.04032."""
        bins = self._bins(rows)
        chosen = self._find(rows, bins, x, axis=0)
        x0, y0 = chosen.corner.unbind(1)
        width, height = chosen.size.unbind(1)
        d0, d1 = chosen.slope.unbind(1)
        # Clipped, because far outside the bound the position would make gradients overflow.
        xi = ((x - x0) / width).clamp(0, 1)
        rest = 1 - xi
        both = xi * rest
        secant = height / width
        denominator = secant + (d0 + d1 - 2 * secant) * both
        ratio = (secant * xi * xi + d0 * both) / denominator
        inner = d1 * xi * xi + 2 * secant * both + d0 * rest * rest
        log_slope = torch.log(inner * (secant / denominator).square())
        inside = x.abs() <= self.bound
        return SplinePoint(
            y=torch.where(inside, y0 + height * ratio, x),
            log_abs_det=torch.where(inside, log_slope, 0.0),
            inside=inside,
            xi=xi,
            secant=secant,
            denominator=denominator,
            ratio=ratio,
            inner=inner,
            bins=bins,
            bin=chosen,
        )

    def inverse(self, rows: Tensor, y: Tensor) -> Tensor:
        """Returns the x whose image is y: the root of eqs. 6-8 of 1906.04032.

        Rounding can make the discriminant slightly negative and the root leave its bin; both
        are clipped.
        """
        chosen = self._find(rows, self._bins(rows), y, axis=1)
        x0, y0 = chosen.corner.unbind(1)
        width, height = chosen.size.unbind(1)
        d0, d1 = chosen.slope.unbind(1)
        secant = height / width
        rise = torch.minimum((y - y0).clamp(min=0), height)
        curved = rise * (d0 + d1 - 2 * secant)
        a = height * (secant - d0) + curved
        b = height * d0 - curved
        root = (b * b + 4 * a * secant * rise).clamp(min=0).sqrt()
        # The form without cancellation; where b is negative, a is at least height times secant.
        upper = b < 0
        over = torch.where(upper, root - b, 2 * secant * rise)
        xi = (over / torch.where(upper, 2 * a, b + root)).clamp(0, 1)
        return torch.where(y.abs() <= self.bound, x0 + xi * width, y)

    def _bins(self, rows: Tensor) -> _Bins:
        """Returns all bins. The clamp bounds exponents by 3.5: the softmax needs no maximum."""
        targets, _, events = rows.shape
        raw = rows[:, : 2 * self.bins].view(targets, 2, self.bins, events)
        exponent, clamp = soft_clamp(raw, -LOG_MIN_SLOPE / 2)
        size = exponent.exp()
        upper = size.cumsum(2)
        return _Bins(size, clamp, upper, (2 * self.bound) / upper[:, :, -1])

    def _find(self, rows: Tensor, bins: _Bins, value: Tensor, *, axis: int) -> _Bin:
        """Returns the bin of each value along the axis of x (0) or of y (1)."""
        level = (value + self.bound) / bins.unit[:, axis]
        inner = bins.upper[:, axis, :-1].detach()
        # Written as numbers at once: sums of booleans are slow.
        above = torch.lt(inner, level.detach()[:, None], out=torch.empty_like(inner))
        number = above.sum(1, keepdim=True).to(torch.int64)
        where = number[:, None].expand(-1, 2, -1, -1)
        size = bins.size.gather(2, where).squeeze(2)
        corner = (bins.upper.gather(2, where).squeeze(2) - size) * bins.unit - self.bound
        knots = torch.cat((number, number + 1), 1)
        log_slope, clamp = soft_clamp(rows[:, 2 * self.bins :].gather(1, knots), -LOG_MIN_SLOPE)
        return _Bin(number, above, corner, size * bins.unit, log_slope.exp(), clamp)
