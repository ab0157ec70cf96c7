# mypy: ignore-errors
# ruff: noqa: RUF059, D417
"""The kernels, in Triton: one program takes a tile of events through the flow and back.

A tile's way: forward through all blocks, keeping the variables only; then, block by block from
the last, the network again (cheaper than keeping its outputs), the spline, its derivative and
the products that carry it back. Nothing but the variables (4 V bytes an event and block) leaves
the multiprocessor; each program adds the gradients of the weights into a stretch of its own.

Formulas: 1906.04032 eqs. 4 and 5, as in `onlineflows.flows.spline`, whose names are used here.
The language has neither classes nor keyword calls across modules worth using: arguments are
plain pointers and sizes. [E] is the events of a tile, H hidden units, K bins, padded; see
`packing` for the order of everything behind `weights`.
"""

import triton
import triton.language as tl
from triton.errors import TritonError

__all__ = ["TritonError", "gradient_kernel"]

LOG_RANGE = tl.constexpr(6.907755278982137)
HALF_LOG_TWO_PI = tl.constexpr(0.9189385332046727)


@triton.jit
def soft_clamp_factor(raw, log_range):
    """Factor of the soft clamp, `elementwise.soft_clamp`; its square is the derivative."""
    return 1.0 / (1.0 + tl.abs(raw) / log_range)


@triton.jit
def sizes_of(raw, columns, bins):
    """Relative sizes of all bins and the clamp's factors, [E, K]."""
    factor = soft_clamp_factor(raw, LOG_RANGE / 2)
    return tl.where(columns < bins, tl.exp(raw * factor), 0.0), factor


@triton.jit
def pick(values, here):
    """The value of each event where `here` holds; 0 where it never does."""
    return tl.sum(tl.where(here, values, 0.0), 1)


@triton.jit
def find_bin(raw_w, raw_h, x, bins, bound, K: tl.constexpr):
    """Everything about the bin of each event that both directions need."""
    columns = tl.arange(0, K)[None, :]
    size_w, factor_w = sizes_of(raw_w, columns, bins)
    size_h, factor_h = sizes_of(raw_h, columns, bins)
    unit_w = 2 * bound / tl.sum(size_w, 1)
    unit_h = 2 * bound / tl.sum(size_h, 1)
    passed = (tl.cumsum(size_w, 1) < ((x + bound) / unit_w)[:, None]) & (columns < bins - 1)
    number = tl.sum(passed.to(tl.int32), 1)
    own = columns == number[:, None]
    under = columns < number[:, None]
    after = columns == number[:, None] + 1
    return size_w, factor_w, unit_w, size_h, factor_h, unit_h, own, under, after


@triton.jit
def place(size_w, unit_w, size_h, unit_h, raw_s, own, under, after, x, bound):
    """The spline at x and the terms of eqs. 4 and 5."""
    own_w, own_h = pick(size_w, own), pick(size_h, own)
    under_w, under_h = pick(size_w, under), pick(size_h, under)
    raw_0, raw_1 = pick(raw_s, own), pick(raw_s, after)
    clamp_0, clamp_1 = soft_clamp_factor(raw_0, LOG_RANGE), soft_clamp_factor(raw_1, LOG_RANGE)
    slope_0, slope_1 = tl.exp(raw_0 * clamp_0), tl.exp(raw_1 * clamp_1)
    width, height = own_w * unit_w, own_h * unit_h
    xi = (x - (under_w * unit_w - bound)) / width
    xi = tl.minimum(tl.maximum(xi, 0.0), 1.0)
    both = xi * (1 - xi)
    secant = height / width
    denominator = secant + (slope_0 + slope_1 - 2 * secant) * both
    ratio = (secant * xi * xi + slope_0 * both) / denominator
    inner = slope_1 * xi * xi + 2 * secant * both + slope_0 * (1 - xi) * (1 - xi)
    y = under_h * unit_h - bound + height * ratio
    return (
        y, xi, secant, denominator, ratio, inner, width, height,
        slope_0, slope_1, clamp_0, clamp_1, own_w, own_h, under_w, under_h,
    )  # fmt: skip


@triton.jit
def hidden_layers(
    weights, state, table, events, live, n,
    V: tl.constexpr, T: tl.constexpr, H: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Both hidden layers of a block, [E, H]."""
    units = tl.arange(0, H)
    zero = tl.zeros_like(events).to(tl.float32)
    sum_1 = zero[:, None] + tl.load(weights + V * H + units)[None, :]
    for v in range(V):
        version = tl.load(table + 1 + T + v)
        value = tl.load(state + (version * V + v) * n + events, mask=live, other=0.0)
        sum_1 += value[:, None] * tl.load(weights + v * H + units)[None, :]
    hidden_1 = tl.maximum(sum_1, 0.0)
    square = units[:, None] * H + units[None, :]
    weight_2 = tl.load(weights + V * H + H + square)
    bias_2 = tl.load(weights + V * H + H + H * H + units)
    sum_2 = tl.dot(hidden_1, weight_2, input_precision=PRECISION) + bias_2[None, :]
    return hidden_1, tl.maximum(sum_2, 0.0)


@triton.jit
def last_layer(
    hidden_2, weights, biases, H: tl.constexpr, K: tl.constexpr, PRECISION: tl.constexpr
):
    """One part (widths, heights or slopes) of one target's rows, [E, K], and its weights."""
    columns = tl.arange(0, K)
    weight = tl.load(weights + tl.arange(0, H)[:, None] * K + columns[None, :])
    bias = tl.load(biases + columns)
    return tl.dot(hidden_2, weight, input_precision=PRECISION) + bias[None, :], weight


@triton.jit
def rows_of(hidden_2, matrices, biases, H: tl.constexpr, K: tl.constexpr, PRECISION: tl.constexpr):
    """Widths, heights and slopes of one target before their clamps, and their weights."""
    raw_w, weight_w = last_layer(hidden_2, matrices, biases, H, K, PRECISION)
    raw_h, weight_h = last_layer(hidden_2, matrices + H * K, biases + K, H, K, PRECISION)
    raw_s, weight_s = last_layer(hidden_2, matrices + 2 * H * K, biases + 2 * K, H, K, PRECISION)
    return raw_w, raw_h, raw_s, weight_w, weight_h, weight_s


@triton.jit
def image(
    hidden_2, matrices, biases, x, bins, bound,
    H: tl.constexpr, K: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The image of one target and its log-slope, [E]."""
    raw_w, raw_h, raw_s, weight_w, weight_h, weight_s = rows_of(
        hidden_2, matrices, biases, H, K, PRECISION
    )
    size_w, factor_w, unit_w, size_h, factor_h, unit_h, own, under, after = find_bin(
        raw_w, raw_h, x, bins, bound, K
    )
    (
        y, xi, secant, denominator, ratio, inner, width, height,
        slope_0, slope_1, clamp_0, clamp_1, own_w, own_h, under_w, under_h,
    ) = place(size_w, unit_w, size_h, unit_h, raw_s, own, under, after, x, bound)  # fmt: skip
    inside = tl.abs(x) <= bound
    root = secant / denominator
    return tl.where(inside, y, x), tl.where(inside, tl.log(inner * root * root), 0.0)


@triton.jit
def last_layer_back(
    on_rows, hidden_2, weight, on_weights, on_biases, on_hidden,
    H: tl.constexpr, K: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Adds one part's gradients of weights and biases; returns the sum on the hidden layer."""
    columns = tl.arange(0, K)
    of_weight = tl.dot(tl.trans(hidden_2), on_rows, input_precision=PRECISION)
    place_of = tl.arange(0, H)[:, None] * K + columns[None, :]
    tl.atomic_add(on_weights + place_of, of_weight, sem="relaxed")
    tl.atomic_add(on_biases + columns, tl.sum(on_rows, 0), sem="relaxed")
    return tl.dot(on_rows, tl.trans(weight), acc=on_hidden, input_precision=PRECISION)


@triton.jit
def on_sizes(size, factor, unit, own, under, own_size, under_size, on_corner, on_size, bound):
    """Gradient on the raw sizes: `SplinePoint._pull_back_rows`."""
    mean = (on_corner * under_size + on_size * own_size) * unit / (2 * bound)
    below = tl.where(under, on_corner[:, None], 0.0)
    at = tl.where(own, on_size[:, None], below)
    return (at - mean[:, None]) * unit[:, None] * size * factor * factor


@triton.jit
def gradient_kernel(
    weights_ptr, table_ptr, state_ptr, scratch_ptr, share_ptr, nll_ptr, partial_ptr,
    n, bins, bound,
    V: tl.constexpr, D: tl.constexpr, T: tl.constexpr, BLOCKS: tl.constexpr,
    H: tl.constexpr, K: tl.constexpr, E: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """NLL of each event and this program's part of the gradient of its weighted sum.

    Args:
        weights_ptr: packed θ.
        table_ptr: `packing.block_tables`.
        state_ptr: (BLOCKS + 1, V, n); the first (V, n) are the events, the rest is written here.
        scratch_ptr: (3, D, n): gradients on the features, two in turn, and through the splines.
        share_ptr: what each event's NLL counts in the loss, (n,).
        nll_ptr: written, (n,).
        partial_ptr: one packed vector of zeros for each program; gradients are added.
        n: number of events.
        bins, bound: of the splines.
    """
    bias_2: tl.constexpr = V * H + H + H * H
    weight_out: tl.constexpr = bias_2 + H
    bias_out: tl.constexpr = weight_out + T * 3 * H * K
    block_size: tl.constexpr = bias_out + T * 3 * K
    row: tl.constexpr = 1 + T + V + D
    partial = partial_ptr + tl.program_id(0).to(tl.int64) * (BLOCKS * block_size)
    units = tl.arange(0, H)
    square = units[:, None] * H + units[None, :]

    for tile in range(tl.program_id(0), tl.cdiv(n, E), tl.num_programs(0)):
        events = tile * E + tl.arange(0, E)
        live = events < n
        log_det = tl.zeros([E], tl.float32)
        for block in range(BLOCKS):
            weights = weights_ptr + block * block_size
            table = table_ptr + block * row
            hidden_1, hidden_2 = hidden_layers(
                weights, state_ptr, table, events, live, n, V, T, H, PRECISION
            )
            for t in range(tl.load(table)):
                feature = tl.load(table + 1 + t)
                version = tl.load(table + 1 + T + feature)
                x = tl.load(state_ptr + (version * V + feature) * n + events, live, other=0.0)
                matrices, biases = weights + weight_out, weights + bias_out
                y, log_slope = image(
                    hidden_2, matrices + t * (3 * H * K), biases + t * (3 * K), x,
                    bins, bound, H, K, PRECISION,
                )  # fmt: skip
                log_det += log_slope
                to = state_ptr + ((block + 1) * V + feature) * n + events
                tl.store(to, y, mask=live)
            # Other threads of this program read what these wrote.
            tl.debug_barrier()

        share = tl.load(share_ptr + events, mask=live, other=0.0)
        nll = -log_det
        for f in range(D):
            version = tl.load(table_ptr + BLOCKS * row + 1 + T + f)
            z = tl.load(state_ptr + (version * V + f) * n + events, mask=live, other=0.0)
            nll += 0.5 * z * z + HALF_LOG_TWO_PI
            tl.store(scratch_ptr + f * n + events, z * share, mask=live)
        tl.store(nll_ptr + events, nll, mask=live)
        tl.debug_barrier()

        for back in range(BLOCKS):
            block = BLOCKS - 1 - back
            now = back % 2
            weights = weights_ptr + block * block_size
            onto = partial + block * block_size
            table = table_ptr + block * row
            hidden_1, hidden_2 = hidden_layers(
                weights, state_ptr, table, events, live, n, V, T, H, PRECISION
            )
            on_2 = tl.zeros([E, H], tl.float32)
            for t in range(tl.load(table)):
                feature = tl.load(table + 1 + t)
                version = tl.load(table + 1 + T + feature)
                x = tl.load(state_ptr + (version * V + feature) * n + events, live, other=0.0)
                given = tl.load(scratch_ptr + (now * D + feature) * n + events, live, other=0.0)
                first = t * (3 * H * K)
                matrices, biases = weights + weight_out + first, weights + bias_out + t * (3 * K)
                raw_w, raw_h, raw_s, weight_w, weight_h, weight_s = rows_of(
                    hidden_2, matrices, biases, H, K, PRECISION
                )
                size_w, factor_w, unit_w, size_h, factor_h, unit_h, own, under, after = find_bin(
                    raw_w, raw_h, x, bins, bound, K
                )
                (
                    y, xi, secant, denominator, ratio, inner, width, height,
                    slope_0, slope_1, clamp_0, clamp_1, own_w, own_h, under_w, under_h,
                ) = place(
                    size_w, unit_w, size_h, unit_h, raw_s, own, under, after, x, bound
                )  # fmt: skip
                # Outside the bound nothing reaches the rows.
                inside = tl.abs(x) <= bound
                on_y = tl.where(inside, given, 0.0)
                on_log = tl.where(inside, -share, 0.0)
                both, mirror = xi * (1 - xi), 1 - 2 * xi
                on_numerator = on_y * height / denominator
                on_denominator = -(on_numerator * ratio + 2 * on_log / denominator)
                on_inner = on_log / inner
                on_xi = (
                    on_numerator * (2 * secant * xi + slope_0 * mirror)
                    + on_denominator * (slope_0 + slope_1 - 2 * secant) * mirror
                    + 2 * on_inner * (slope_1 * xi + secant * mirror - slope_0 * (1 - xi))
                )
                on_secant = (
                    2 * on_log / secant
                    + on_numerator * xi * xi
                    + on_denominator * (1 - 2 * both)
                    + 2 * on_inner * both
                )
                on_slope_0 = (on_numerator + on_denominator) * both
                on_slope_0 += on_inner * (1 - xi) * (1 - xi)
                on_slope_1 = on_denominator * both + on_inner * xi * xi
                on_x = on_xi / width
                on_width = -(on_x * xi + on_secant * secant / width)
                on_height = on_y * ratio + on_secant / width

                through = scratch_ptr + (2 * D + feature) * n + events
                tl.store(through, tl.where(inside, on_x, given), mask=live)
                on_w = on_sizes(
                    size_w, factor_w, unit_w, own, under, own_w, under_w, -on_x, on_width, bound
                )
                on_h = on_sizes(
                    size_h, factor_h, unit_h, own, under, own_h, under_h, on_y, on_height, bound
                )
                raw_0 = on_slope_0 * slope_0 * clamp_0 * clamp_0
                raw_1 = on_slope_1 * slope_1 * clamp_1 * clamp_1
                on_s = tl.where(own, raw_0[:, None], tl.where(after, raw_1[:, None], 0.0))
                to_matrices, to_biases = onto + weight_out + first, onto + bias_out + t * (3 * K)
                on_2 = last_layer_back(
                    on_w, hidden_2, weight_w, to_matrices, to_biases, on_2, H, K, PRECISION
                )
                on_2 = last_layer_back(
                    on_h, hidden_2, weight_h, to_matrices + H * K, to_biases + K,
                    on_2, H, K, PRECISION,
                )  # fmt: skip
                on_2 = last_layer_back(
                    on_s, hidden_2, weight_s, to_matrices + 2 * H * K, to_biases + 2 * K,
                    on_2, H, K, PRECISION,
                )  # fmt: skip

            on_2 = tl.where(hidden_2 > 0, on_2, 0.0)
            of_2 = tl.dot(tl.trans(hidden_1), on_2, input_precision=PRECISION)
            tl.atomic_add(onto + V * H + H + square, of_2, sem="relaxed")
            tl.atomic_add(onto + bias_2 + units, tl.sum(on_2, 0), sem="relaxed")
            weight_2 = tl.load(weights + V * H + H + square)
            on_1 = tl.dot(on_2, tl.trans(weight_2), input_precision=PRECISION)
            on_1 = tl.where(hidden_1 > 0, on_1, 0.0)
            tl.atomic_add(onto + V * H + units, tl.sum(on_1, 0), sem="relaxed")
            tl.debug_barrier()
            for v in range(V):
                version = tl.load(table + 1 + T + v)
                value = tl.load(state_ptr + (version * V + v) * n + events, live, other=0.0)
                of_1 = tl.sum(on_1 * value[:, None], 0)
                tl.atomic_add(onto + v * H + units, of_1, sem="relaxed")
                if v < D:
                    moved = tl.load(table + 1 + T + V + v)
                    source = tl.where(moved == 1, 2 * D + v, now * D + v)
                    direct = tl.load(scratch_ptr + source * n + events, live, other=0.0)
                    by_network = tl.sum(on_1 * tl.load(weights + v * H + units)[None, :], 1)
                    to = scratch_ptr + ((1 - now) * D + v) * n + events
                    tl.store(to, direct + by_network, mask=live)
            tl.debug_barrier()
