# mypy: ignore-errors
# ruff: noqa: D417
"""The preprocessing of events, in Triton: the map of a feature's support, then the marginal map.

Formulas: `onlineflows.support` and `onlineflows.marginal`, in float64 as there.
"""

import triton
import triton.language as tl
from triton.errors import TritonError

__all__ = ["TritonError", "map_kernel"]


@triton.jit(do_not_specialize=["n"])
def map_kernel(
    x_ptr, z_ptr, support_ptr, knots_ptr, pieces_ptr,
    n, D: tl.constexpr, K: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """Writes the flow's coordinates of events. A program takes one feature of SIZE of them.

    Args:
        x_ptr: events in their units, float32, (n, D).
        z_ptr: written, float32, (n, D).
        support_ptr: `support.Coefficients` and ε, float64, (D, 7).
        knots_ptr: of the marginal map, float64, (D, K).
        pieces_ptr: v, z, 1 / width, rise, curve, bend of its pieces, float64, (6, D, K + 1).
        n: number of events.
    """
    feature = tl.program_id(1)
    events = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    live = events < n
    at = events.to(tl.int64) * D + feature
    x = tl.load(x_ptr + at, mask=live, other=0.0).to(tl.float64)
    support = support_ptr + 7 * feature
    low, above = tl.load(support), tl.load(support + 1)
    high, below = tl.load(support + 2), tl.load(support + 3)
    per_unit, linear = tl.load(support + 4), tl.load(support + 5)
    epsilon = tl.load(support + 6)
    # Where a feature has no such edge, the coefficient is 0 and the logarithm of a positive number.
    of_low = tl.where(above > 0, epsilon + per_unit * (x - low), 1.0)
    of_high = tl.where(below > 0, epsilon + per_unit * (high - x), 1.0)
    v = above * tl.log(of_low) - below * tl.log(of_high) + linear * x
    number = tl.zeros([SIZE], tl.int32)
    for k in range(K):
        number += (v >= tl.load(knots_ptr + feature * K + k)).to(tl.int32)
    piece = pieces_ptr + feature * (K + 1) + number
    stride: tl.constexpr = D * (K + 1)
    t = (v - tl.load(piece)) * tl.load(piece + 2 * stride)
    rise, curve = tl.load(piece + 3 * stride), tl.load(piece + 4 * stride)
    step = t * (rise + t * curve) / (1 + tl.load(piece + 5 * stride) * t * (1 - t))
    bent = tl.log(1 + tl.abs(step))
    in_tail = (number == 0) | (number == K)
    step = tl.where(in_tail, tl.where(step < 0, -bent, bent), step)
    z = tl.load(piece + stride) + step
    tl.store(z_ptr + at, z.to(tl.float32), mask=live)
