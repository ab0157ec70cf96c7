# mypy: ignore-errors
# ruff: noqa: RUF059, D417
"""The gradient's kernel, in Triton: one program takes a tile of events through the flow and back.

A block has two halves, which divide a tile among the threads in different ways. Its network is
matrix products over [E events, units]. Its splines are elementwise over [targets, E]: a thread has
whole splines to itself, and what is sequential within one (the search for the bin) is a loop, not
a reduction across threads. Between the halves go the rows, the splines' parameters, through memory
of the program's own that stays in the cache, as do the hidden layers until the way back.

The gradients of the weights are added to a stretch of the program's own; who sums over programs is
the caller's business.

Formulas: 1906.04032 eqs. 4 and 5, as in `onlineflows.flows.spline`, whose names are used here.
The language has neither classes nor keyword calls across modules worth using: arguments are
plain pointers and sizes. See `packing` for the order of everything behind `weights`.
"""

import os

import triton
import triton.language as tl
from triton.errors import TritonError

__all__ = ["TritonError", "gradient_kernel"]

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
"""Triton's interpreter has no machine instructions."""
UNROLLED = tl.constexpr(8)
LOG_RANGE = tl.constexpr(6.907755278982137)
LOG_2 = tl.constexpr(0.6931471805599453)
LOG2_E = tl.constexpr(1.4426950408889634)
HALF_LOG_TWO_PI = tl.constexpr(0.9189385332046727)


@triton.jit
def leading(values):
    """The part of float32 numbers that TF32 holds, cut off after 10 bits."""
    return (values.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)


@triton.jit
def rounded(values):
    """Float32 numbers that TF32's matrix units, which cut off after 10 bits, take as rounded."""
    found = (values.to(tl.int32, bitcast=True) + 4096).to(tl.float32, bitcast=True)
    if INTERPRETED:
        found = leading(found)
    return found


@triton.jit
def product(a, b, onto, PRECISION: tl.constexpr):
    """Returns onto + a b, [., .]. "tf32x3" leaves out only what both factors have beyond TF32.

    Triton's own product of that name also treats infinities, which are refused here anyway.
    """
    if PRECISION == "tf32x3":
        a_0, b_0 = leading(a), leading(b)
        onto = tl.dot(a - a_0, b_0, acc=onto, input_precision="tf32")
        onto = tl.dot(a_0, b - b_0, acc=onto, input_precision="tf32")
        onto = tl.dot(a_0, b_0, acc=onto, input_precision="tf32")
    elif PRECISION == "tf32":
        onto = tl.dot(rounded(a), rounded(b), acc=onto, input_precision="tf32")
    else:
        onto = tl.dot(a, b, acc=onto, input_precision="ieee")
    return onto


@triton.jit
def gather(onto, values, mask, first):
    """Adds to a program's own gradients, which it finds in any state at first."""
    if first:
        tl.store(onto, values, mask=mask)
    else:
        tl.atomic_add(onto, values, mask=mask, sem="relaxed")


@triton.jit
def reciprocal(x):
    """1 / x to the last place but one; the language's division takes eight instructions."""
    if INTERPRETED:
        y = 1.0 / x
    else:
        y = tl.inline_asm_elementwise(
            "rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    return y


@triton.jit
def exp_2(x):
    """2 to the power of x, to two units in the last place; 0 below 2 to the power of -126."""
    if INTERPRETED:
        y = tl.exp2(x)
    else:
        y = tl.inline_asm_elementwise(
            "ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    return y


@triton.jit
def log_2(x):
    """Logarithm to the base 2, to 2e-7 of itself or of 1; the language's is a polynomial."""
    if INTERPRETED:
        y = tl.log2(x)
    else:
        y = tl.inline_asm_elementwise(
            "lg2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    return y


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
def network_inputs(
    state, table, V: tl.constexpr, VP: tl.constexpr, T: tl.constexpr, E: tl.constexpr
):
    """The variables that a block's network sees, and 1 for its biases, [E, VP]."""
    variables, events = tl.arange(0, VP)[None, :], tl.arange(0, E)[:, None]
    version = tl.load(table + 1 + T + variables, mask=variables < V, other=0)
    at = state + (version * V + variables) * E + events
    values = tl.load(at, mask=(variables < V) & (events >= 0), other=0.0)
    return tl.where(variables == V, 1.0, values)


@triton.jit
def first_weights(weights, V: tl.constexpr, VP: tl.constexpr, H: tl.constexpr):
    """The first layer with its biases as one more row, [VP, H]."""
    variables, units = tl.arange(0, VP)[:, None], tl.arange(0, H)[None, :]
    there = (variables <= V) & (units >= 0)
    return tl.load(weights + variables * H + units, mask=there, other=0.0)


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
def network(
    weights, state, table, hidden, rows,
    V: tl.constexpr, VP: tl.constexpr, T: tl.constexpr, H: tl.constexpr, K: tl.constexpr,
    P: tl.constexpr, Q: tl.constexpr, C: tl.constexpr, E: tl.constexpr,
    PRECISION: tl.constexpr, FIRST: tl.constexpr,
):  # fmt: skip
    """Writes both hidden layers of a block, (2, E, H), and its rows, (Q, E)."""
    weight_2: tl.constexpr = V * H + H
    bias_2: tl.constexpr = weight_2 + H * H
    weight_out: tl.constexpr = bias_2 + H
    bias_out: tl.constexpr = weight_out + H * Q
    events, units = tl.arange(0, E), tl.arange(0, H)
    layer = events[:, None] * H + units[None, :]
    inputs = network_inputs(state, table, V, VP, T, E)
    nothing = tl.zeros([E, H], tl.float32)
    sum_1 = product(inputs, first_weights(weights, V, VP, H), nothing, FIRST)
    hidden_1 = tl.maximum(sum_1, 0.0)
    tl.store(hidden + layer, hidden_1)
    square = tl.load(weights + weight_2 + units[:, None] * H + units[None, :])
    sum_2 = product(hidden_1, square, nothing, PRECISION)
    hidden_2 = tl.maximum(sum_2 + tl.load(weights + bias_2 + units)[None, :], 0.0)
    tl.store(hidden + E * H + layer, hidden_2)
    for chunk in range(tl.cdiv(tl.load(table) * P, C)):
        columns = chunk * C + tl.arange(0, C)
        weight = tl.load(weights + weight_out + units[:, None] * Q + columns[None, :])
        bias = tl.load(weights + bias_out + columns)
        raw = product(hidden_2, weight, tl.zeros([E, C], tl.float32), PRECISION) + bias[None, :]
        sizes = size_of(raw, per_range(columns, K, P)[None, :])
        tl.store(rows + columns[None, :] * E + events[:, None], sizes)


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


@triton.jit
def network_back(
    weights, state, table, hidden, on_rows, onto, first,
    V: tl.constexpr, VP: tl.constexpr, T: tl.constexpr, H: tl.constexpr, P: tl.constexpr,
    Q: tl.constexpr, C: tl.constexpr, E: tl.constexpr,
    PRECISION: tl.constexpr, FIRST: tl.constexpr,
):  # fmt: skip
    """Adds the gradients of a block's weights; returns the gradient on its inputs, [E, VP]."""
    weight_2: tl.constexpr = V * H + H
    bias_2: tl.constexpr = weight_2 + H * H
    weight_out: tl.constexpr = bias_2 + H
    bias_out: tl.constexpr = weight_out + H * Q
    events, units = tl.arange(0, E), tl.arange(0, H)
    layer = events[:, None] * H + units[None, :]
    square = units[:, None] * H + units[None, :]
    n_columns = tl.load(table) * P
    hidden_2 = tl.load(hidden + E * H + layer)
    on_2 = tl.zeros([E, H], tl.float32)
    for chunk in range(tl.cdiv(n_columns, C)):
        columns = chunk * C + tl.arange(0, C)
        there = (columns[None, :] < n_columns) & (events[:, None] >= 0)
        on_raw = tl.load(on_rows + columns[None, :] * E + events[:, None], mask=there, other=0.0)
        place_of = units[:, None] * Q + columns[None, :]
        nothing = tl.zeros([H, C], tl.float32)
        of_weight = product(tl.trans(hidden_2), on_raw, nothing, PRECISION)
        gather(onto + weight_out + place_of, of_weight, None, first)
        gather(onto + bias_out + columns, tl.sum(on_raw, 0), None, first)
        weight = tl.load(weights + weight_out + place_of)
        on_2 = product(on_raw, tl.trans(weight), on_2, PRECISION)
    on_2 = tl.where(hidden_2 > 0, on_2, 0.0)
    hidden_1 = tl.load(hidden + layer)
    of_2 = product(tl.trans(hidden_1), on_2, tl.zeros([H, H], tl.float32), PRECISION)
    gather(onto + weight_2 + square, of_2, None, first)
    gather(onto + bias_2 + units, tl.sum(on_2, 0), None, first)
    weight = tl.load(weights + weight_2 + square)
    on_1 = product(on_2, tl.trans(weight), tl.zeros([E, H], tl.float32), PRECISION)
    on_1 = tl.where(hidden_1 > 0, on_1, 0.0)
    inputs = network_inputs(state, table, V, VP, T, E)
    of_1 = product(tl.trans(inputs), on_1, tl.zeros([VP, H], tl.float32), FIRST)
    variables = tl.arange(0, VP)[:, None]
    there = (variables <= V) & (units[None, :] >= 0)
    gather(onto + variables * H + units[None, :], of_1, there, first)
    weight = tl.trans(first_weights(weights, V, VP, H))
    return product(on_1, weight, tl.zeros([E, VP], tl.float32), FIRST)


@triton.jit(do_not_specialize=["n"])
def gradient_kernel(
    events_ptr, weights_ptr, table_ptr, weight_ptr, nll_ptr, loss_ptr, partial_ptr, work_ptr,
    n, bound,
    V: tl.constexpr, VP: tl.constexpr, D: tl.constexpr, T: tl.constexpr, TP: tl.constexpr,
    BLOCKS: tl.constexpr, H: tl.constexpr, K: tl.constexpr, Q: tl.constexpr, C: tl.constexpr,
    E: tl.constexpr, PRECISION: tl.constexpr, FIRST: tl.constexpr, WEIGHTED: tl.constexpr,
):  # fmt: skip
    """NLL of each event and this program's part of the gradient of its weighted sum.

    Args:
        events_ptr: features and context, (n, V).
        weights_ptr: packed θ.
        table_ptr: `packing.block_tables`.
        weight_ptr: what each event's NLL counts in the loss, times n, (n,); only if WEIGHTED.
        nll_ptr: written, (n,).
        loss_ptr: written: the sum of the NLL of each program's events.
        partial_ptr: written: one packed vector for each program. Columns of the last layer that no
            target of a block has are left as they are.
        work_ptr: memory of each program: `fused.work_size` numbers, in any state.
        n: number of events.
        bound: of the splines.
        V, D, T, BLOCKS, K: variables, features, targets, blocks, bins; VP, TP: padded.
        H, Q, C: padded hidden units, columns of the last layer, and how many of them at once.
        E: events of a tile.
        PRECISION, FIRST: of products; of those of the first layer.
        WEIGHTED: whether events have weights.
    """
    P: tl.constexpr = 3 * K - 1
    block_size: tl.constexpr = (V + 1) * H + H * H + H + H * Q + Q
    row: tl.constexpr = 1 + T + V + D
    version_size: tl.constexpr = V * E
    work_size: tl.constexpr = (
        (BLOCKS + 1) * V * E + 3 * D * E + Q * E + BLOCKS * (Q * E + 2 * E * H)
    )
    program = tl.program_id(0)
    partial = partial_ptr + program.to(tl.int64) * (BLOCKS * block_size)
    # Values of the variables after each block; gradients on the features, two in turn and one
    # through the splines; gradients on a block's rows; rows and hidden layers of all blocks.
    state = work_ptr + program.to(tl.int64) * work_size
    on_features = state + (BLOCKS + 1) * version_size
    on_rows = on_features + 3 * D * E
    all_rows = on_rows + Q * E
    all_hidden = all_rows + BLOCKS * (Q * E)
    here = tl.arange(0, E)
    variables = tl.arange(0, VP)
    loss = 0.0

    for tile in range(program, tl.cdiv(n, E), tl.num_programs(0)):
        events = tile * E + here
        live = events < n
        given = variables[None, :] < V
        x = tl.load(
            events_ptr + events[:, None].to(tl.int64) * V + variables[None, :],
            mask=live[:, None] & given, other=0.0,
        )  # fmt: skip
        tl.store(
            state + variables[None, :] * E + here[:, None], x, mask=given & (here >= 0)[:, None]
        )
        log_det = tl.zeros([E], tl.float32)
        # Barriers: other threads of this program read what these wrote.
        tl.debug_barrier()
        for block in range(BLOCKS):
            table = table_ptr + block * row
            rows, hidden = all_rows + block * (Q * E), all_hidden + block * (2 * E * H)
            network(
                weights_ptr + block * block_size, state, table, hidden, rows,
                V, VP, T, H, K, P, Q, C, E, PRECISION, FIRST,
            )  # fmt: skip
            tl.debug_barrier()
            image = state + (block + 1) * version_size
            log_det += splines(table, state, rows, image, bound, V, T, TP, K, P, E)
            tl.debug_barrier()

        share = tl.where(live, 1.0 / n, 0.0)
        if WEIGHTED:
            share *= tl.load(weight_ptr + events, mask=live, other=0.0)
        nll = -log_det
        for f in range(D):
            version = tl.load(table_ptr + BLOCKS * row + 1 + T + f)
            z = tl.load(state + (version * V + f) * E + here)
            nll += 0.5 * z * z + HALF_LOG_TWO_PI
            tl.store(on_features + f * E + here, z * share)
        tl.store(nll_ptr + events, nll, mask=live)
        loss += tl.sum(tl.where(live, nll, 0.0), 0)
        tl.debug_barrier()

        for back in range(BLOCKS):
            block = BLOCKS - 1 - back
            table = table_ptr + block * row
            rows, hidden = all_rows + block * (Q * E), all_hidden + block * (2 * E * H)
            now = on_features + (back % 2) * (D * E)
            following = on_features + (1 - back % 2) * (D * E)
            through = on_features + 2 * D * E
            splines_back(table, state, rows, now, through, on_rows, share, bound, V, T, TP, K, P, E)
            tl.debug_barrier()
            by_network = network_back(
                weights_ptr + block * block_size, state, table, hidden, on_rows,
                partial + block * block_size, tile == program,
                V, VP, T, H, P, Q, C, E, PRECISION, FIRST,
            )  # fmt: skip
            features = variables < D
            moved = tl.load(table + 1 + T + V + variables, mask=features, other=0)
            at = variables[None, :] * E + here[:, None]
            mask = features[None, :] & (here >= 0)[:, None]
            direct = tl.load(
                tl.where((moved == 1)[None, :], through, now) + at, mask=mask, other=0.0
            )
            tl.store(following + at, direct + by_network, mask=mask)
            tl.debug_barrier()
    tl.store(loss_ptr + program, loss)
