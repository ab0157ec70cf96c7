# mypy: ignore-errors
# ruff: noqa: RUF059, D417
"""The splines of a tile, in Triton: elementwise over [targets, events].

A thread has whole splines to itself, and what is sequential within one (the search for the bin) is
a loop, not a reduction across threads. A spline's rows are its sizes and slopes, E numbers apart.

Formulas: 1906.04032 eqs. 4 and 5, as in `onlineflows.flows.spline`, whose names are used here.
"""

import triton
import triton.language as tl

from onlineflows.flows.gpu.arithmetic_kernels import exp_2, log_2, reciprocal

UNROLLED = tl.constexpr(8)
LOG_RANGE = tl.constexpr(6.907755278982137)
LOG_2 = tl.constexpr(0.6931471805599453)
LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def per_range(columns, K: tl.constexpr, P: tl.constexpr):
    """One over the range of the logarithm that the clamp of a column leaves it."""
    return tl.where(columns % P < 2 * K, 2 / LOG_RANGE, 1 / LOG_RANGE)


@triton.jit
def size_of(raw, per_range):
    """What a parameter of a spline stands for: a relative size or a slope."""
    return exp_2(raw * (LOG2_E * reciprocal(1.0 + tl.abs(raw) * per_range)))


@triton.jit
def size_back(size, per_range):
    """The derivative of `size_of` by the raw parameter, from its value alone."""
    factor = 1.0 - tl.abs(log_2(size)) * (LOG_2 * per_range)
    return size * factor * factor


@triton.jit
def find_bin(rows, x, bound, K: tl.constexpr, E: tl.constexpr):
    """Everything about the bin of each x that both directions need.

    Args:
        rows: where each spline's first size lies; the next ones are E numbers apart.
        x: what is transformed.
    """
    sum_w, sum_h = tl.zeros_like(x), tl.zeros_like(x)
    for start in range(0, K, UNROLLED):
        for step in tl.static_range(UNROLLED):
            at, there = rows + (start + step) * E, start + step < K
            sum_w += tl.load(at, mask=there, other=0.0)
            sum_h += tl.load(at + K * E, mask=there, other=0.0)
    unit_w, unit_h = 2 * bound * reciprocal(sum_w), 2 * bound * reciprocal(sum_h)
    reach = (x + bound) * (0.5 / bound) * sum_w
    number = tl.zeros_like(x).to(tl.int32)
    end, under_w, under_h = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    for start in range(0, K, UNROLLED):
        for step in tl.static_range(UNROLLED):
            # Of what lies beyond the last bin's beginning, nothing is passed.
            at, there = rows + (start + step) * E, start + step < K - 1
            size_w = tl.load(at, mask=there, other=float("inf"))
            size_h = tl.load(at + K * E, mask=there, other=0.0)
            end += size_w
            passed = end < reach
            number += passed.to(tl.int32)
            under_w += tl.where(passed, size_w, 0.0)
            under_h += tl.where(passed, size_h, 0.0)
    own = rows + number * E
    own_w, own_h = tl.load(own), tl.load(own + K * E)
    # The outermost knots have slope 1 and no parameter.
    slope_0 = tl.load(own + (2 * K - 1) * E, mask=number > 0, other=1.0)
    slope_1 = tl.load(own + 2 * K * E, mask=number < K - 1, other=1.0)
    return number, unit_w, unit_h, own_w, own_h, under_w, under_h, slope_0, slope_1


@triton.jit
def place(unit_w, unit_h, own_w, own_h, under_w, under_h, slope_0, slope_1, x, bound):
    """The spline at x and the terms of eqs. 4 and 5."""
    per_width, height = reciprocal(own_w * unit_w), own_h * unit_h
    xi = (x - (under_w * unit_w - bound)) * per_width
    xi = tl.minimum(tl.maximum(xi, 0.0), 1.0)
    both = xi * (1 - xi)
    secant = height * per_width
    per_denominator = reciprocal(secant + (slope_0 + slope_1 - 2 * secant) * both)
    ratio = (secant * xi * xi + slope_0 * both) * per_denominator
    inner = slope_1 * xi * xi + 2 * secant * both + slope_0 * (1 - xi) * (1 - xi)
    y = under_h * unit_h - bound + height * ratio
    return y, xi, secant, per_denominator, ratio, inner, per_width, height


@triton.jit
def splines_of(
    table, state, V: tl.constexpr, T: tl.constexpr, TP: tl.constexpr,
    P: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """The targets of a block, [TP, E]: where each is and has its rows, its value, if it counts.

    Beyond the last target stand copies of it, which save a mask on every load.
    """
    numbers, events = tl.arange(0, TP)[:, None], tl.arange(0, E)[None, :]
    n_targets = tl.load(table)
    target = tl.minimum(numbers, n_targets - 1)
    feature = tl.load(table + 1 + target)
    version = tl.load(table + 1 + T + feature)
    x = tl.load(state + (version * V + feature) * E + events)
    counts = (numbers < n_targets) & (events >= 0)
    return feature * E + events, target * (P * E) + events, x, counts


@triton.jit
def splines(
    table, state, rows, image, bound,
    V: tl.constexpr, T: tl.constexpr, TP: tl.constexpr, K: tl.constexpr, P: tl.constexpr,
    E: tl.constexpr,
):  # fmt: skip
    """Writes the images of a block's targets, (V, E); returns the sum of log-slopes, [E]."""
    feature, row, x, counts = splines_of(table, state, V, T, TP, P, E)
    own = rows + row
    number, unit_w, unit_h, own_w, own_h, under_w, under_h, slope_0, slope_1 = find_bin(
        own, x, bound, K, E
    )
    y, xi, secant, per_denominator, ratio, inner, per_width, height = place(
        unit_w, unit_h, own_w, own_h, under_w, under_h, slope_0, slope_1, x, bound
    )
    inside = tl.abs(x) <= bound
    root = secant * per_denominator
    tl.store(image + feature, tl.where(inside, y, x), mask=counts)
    return tl.sum(tl.where(inside & counts, LOG_2 * log_2(inner * root * root), 0.0), 0)


@triton.jit
def splines_back(
    table, state, rows, on_features, through, on_rows, share, bound,
    V: tl.constexpr, T: tl.constexpr, TP: tl.constexpr, K: tl.constexpr, P: tl.constexpr,
    E: tl.constexpr,
):  # fmt: skip
    """Writes the gradients on a block's rows, (Q, E), and on its targets through the splines."""
    feature, row, x, counts = splines_of(table, state, V, T, TP, P, E)
    own = rows + row
    number, unit_w, unit_h, own_w, own_h, under_w, under_h, slope_0, slope_1 = find_bin(
        own, x, bound, K, E
    )
    y, xi, secant, per_denominator, ratio, inner, per_width, height = place(
        unit_w, unit_h, own_w, own_h, under_w, under_h, slope_0, slope_1, x, bound
    )
    given = tl.load(on_features + feature)
    # Outside the bound nothing reaches the rows.
    inside = tl.abs(x) <= bound
    on_y = tl.where(inside, given, 0.0)
    on_log = tl.where(inside, -share[None, :], 0.0)
    both, mirror = xi * (1 - xi), 1 - 2 * xi
    on_numerator = on_y * height * per_denominator
    on_denominator = -(on_numerator * ratio + 2 * on_log * per_denominator)
    on_inner = on_log * reciprocal(inner)
    on_xi = (
        on_numerator * (2 * secant * xi + slope_0 * mirror)
        + on_denominator * (slope_0 + slope_1 - 2 * secant) * mirror
        + 2 * on_inner * (slope_1 * xi + secant * mirror - slope_0 * (1 - xi))
    )
    on_secant = (
        2 * on_log * reciprocal(secant)
        + on_numerator * xi * xi
        + on_denominator * (1 - 2 * both)
        + 2 * on_inner * both
    )
    on_slope_0 = (on_numerator + on_denominator) * both
    on_slope_0 += on_inner * (1 - xi) * (1 - xi)
    on_slope_1 = on_denominator * both + on_inner * xi * xi
    on_x = on_xi * per_width
    on_width = -(on_x * xi + on_secant * secant * per_width)
    on_height = on_y * ratio + on_secant * per_width
    tl.store(through + feature, tl.where(inside, on_x, given), mask=counts)

    # Gradients on the raw sizes: `SplinePoint._pull_back_rows`; y's corner moves with those below.
    mean_w = (on_width * own_w - on_x * under_w) * unit_w * (0.5 / bound)
    mean_h = (on_height * own_h + on_y * under_h) * unit_h * (0.5 / bound)
    raw_0 = on_slope_0 * size_back(slope_0, 1 / LOG_RANGE)
    raw_1 = on_slope_1 * size_back(slope_1, 1 / LOG_RANGE)
    onto = on_rows + row
    for start in range(0, K, UNROLLED):
        for step in tl.static_range(UNROLLED):
            k = start + step
            at, to, there = own + k * E, onto + k * E, counts & (k < K)
            size = tl.load(at, mask=k < K, other=1.0)
            on_w = tl.where(k < number, -on_x, tl.where(k == number, on_width, 0.0)) - mean_w
            tl.store(to, on_w * unit_w * size_back(size, 2 / LOG_RANGE), mask=there)
            size = tl.load(at + K * E, mask=k < K, other=1.0)
            on_h = tl.where(k < number, on_y, tl.where(k == number, on_height, 0.0)) - mean_h
            tl.store(to + K * E, on_h * unit_h * size_back(size, 2 / LOG_RANGE), mask=there)
            # Knot k + 1 ends bin k and begins the next.
            on_knot = tl.where(k == number, raw_1, tl.where(k + 1 == number, raw_0, 0.0))
            tl.store(to + 2 * K * E, on_knot, mask=there & (k < K - 1))
