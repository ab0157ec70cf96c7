# mypy: ignore-errors
# ruff: noqa: D417
"""The gradient's kernel, in Triton: one program takes a tile of events through the flow and back.

A block has two halves, which divide a tile among the threads in different ways. Its network is
matrix products over [E events, units]. Its splines are elementwise over [targets, E]: a thread has
whole splines to itself, and what is sequential within one (the search for the bin) is a loop, not
a reduction across threads. Between the halves go the rows, the splines' parameters, through memory
of the program's own that stays in the cache, as do the hidden layers until the way back.

The gradients of the weights go to a stretch of the program's own; who sums over programs is
the caller's business.

The language has neither classes nor keyword calls across modules worth using: arguments are
plain pointers and sizes. See `packing` for the order of everything behind `weights`.
"""

import triton
import triton.language as tl
from triton.errors import TritonError

from onlineflows.flows.gpu.arithmetic_kernels import product
from onlineflows.flows.gpu.spline_kernels import per_range, size_of, splines, splines_back

__all__ = ["TritonError", "gradient_kernel"]

HALF_LOG_TWO_PI = tl.constexpr(0.9189385332046727)


@triton.jit
def gather(onto, values, mask, first):
    """Adds to a program's own gradients, which it finds in any state at first."""
    if first:
        tl.store(onto, values, mask=mask)
    else:
        tl.atomic_add(onto, values, mask=mask, sem="relaxed")


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
