# mypy: ignore-errors
# ruff: noqa: D417
"""What is left of a step after its gradient, in Triton: the sum over programs, the check, the move.

They are three kernels because each needs all of what the one before wrote.
"""

import triton
import triton.language as tl

__all__ = ["check_kernel", "move_kernel", "sum_kernel"]

LARGEST = tl.constexpr(3.4028234e38)


@triton.jit(do_not_specialize=["n_programs"])
def sum_kernel(
    partial_ptr, sums_ptr, totals_ptr, n_programs, size, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Sums gradients over the programs that they come from.

    Args:
        partial_ptr: (n_programs, size).
        sums_ptr: written, (size,).
        totals_ptr: written: the sum of each program's part of `sums`.
        n_programs, size: see above.
        ROWS, COLUMNS: read at a time.
    """
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    rows = tl.arange(0, ROWS)[:, None]
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for first in range(0, n_programs, ROWS):
        at = partial_ptr + (first + rows).to(tl.int64) * size + columns
        there = (first + rows < n_programs) & (columns < size)
        total += tl.load(at, mask=there, other=0.0)
    sums = tl.sum(total, 0)
    places = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    tl.store(sums_ptr + places, sums, mask=places < size)
    tl.store(totals_ptr + tl.program_id(0), tl.sum(sums, 0))


@triton.jit(do_not_specialize=["n", "n_programs"])
def check_kernel(
    totals_ptr, loss_ptr, plan_ptr, now_ptr, losses_ptr, taken_ptr, refused_ptr,
    n, n_programs, n_totals,
    WIDTH: tl.constexpr, TOTALS: tl.constexpr, PROGRAMS: tl.constexpr,
):  # fmt: skip
    """Decides whether a step is taken, and notes its loss. One program.

    Args:
        totals_ptr: see `sum_kernel`, (n_totals,).
        loss_ptr: sum of the NLL of each program's events, (n_programs,).
        plan_ptr: coefficients of the steps of a stretch, WIDTH each.
        now_ptr: written: those of this step, and whether it is taken, 0 or 1.
        losses_ptr: mean NLL of the steps of a stretch; that of this step is written.
        taken_ptr: steps taken in this stretch, int64; moved on.
        refused_ptr: whether a step was refused, bytes; set if this one is.
        n: events of the mini-batch.
        n_programs, n_totals: see above.
        TOTALS, PROGRAMS: powers of two, at least as many.
    """
    places = tl.arange(0, TOTALS)
    programs = tl.arange(0, PROGRAMS)
    total = tl.sum(tl.load(totals_ptr + places, mask=places < n_totals, other=0.0), 0)
    loss = tl.sum(tl.load(loss_ptr + programs, mask=programs < n_programs, other=0.0), 0) / n
    taken = tl.load(taken_ptr)
    going = 1 - tl.load(refused_ptr).to(tl.int32)
    # As in `optimiser.is_finite`: sums that overflow are refused, too. False for NaN.
    finite = (tl.abs(loss + total) <= LARGEST).to(tl.int32)
    good = finite * going
    tl.store(losses_ptr + taken, loss, mask=going == 1)
    for number in range(WIDTH):
        tl.store(now_ptr + number, tl.load(plan_ptr + taken * WIDTH + number))
    tl.store(now_ptr + WIDTH, good.to(tl.float32))
    tl.debug_barrier()
    tl.store(taken_ptr, taken + good.to(tl.int64))
    tl.store(refused_ptr, (1 - finite).to(tl.uint8), mask=finite == 0)


@triton.jit
def move_kernel(
    sums_ptr, index_ptr, now_ptr, theta_ptr, z_ptr, v_ptr, packed_ptr, n, SIZE: tl.constexpr
):
    """Moves θ, z and v on as `DeviceScheduleFreeAdamW.move` does, unless the step was refused.

    Args:
        sums_ptr: the gradient in the packed order.
        index_ptr: where each entry of θ is in that order, (n,).
        now_ptr: see `check_kernel`.
        theta_ptr, z_ptr, v_ptr: moved, (n,).
        packed_ptr: θ in the packed order; moved.
        n: entries of θ.
        SIZE: of them a program moves.
    """
    here = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    there = here < tl.where(tl.load(now_ptr + 7) > 0, n, 0)
    mix, share = tl.load(now_ptr), tl.load(now_ptr + 1)
    on_theta, on_z = tl.load(now_ptr + 2), tl.load(now_ptr + 3)
    decay_theta, decay_z = tl.load(now_ptr + 4), tl.load(now_ptr + 5)
    place = tl.load(index_ptr + here, mask=there, other=0)
    grad = tl.load(sums_ptr + place, mask=there, other=0.0)
    theta = tl.load(theta_ptr + here, mask=there, other=0.0)
    z = tl.load(z_ptr + here, mask=there, other=0.0)
    v = tl.load(v_ptr + here, mask=there, other=0.0)
    v += mix * (grad * grad - v)
    direction = grad / (tl.sqrt(v) + tl.load(now_ptr + 6))
    moved = theta + share * (z - theta) + decay_theta * theta + on_theta * direction
    tl.store(v_ptr + here, v, mask=there)
    tl.store(theta_ptr + here, moved, mask=there)
    tl.store(packed_ptr + place, moved, mask=there)
    tl.store(z_ptr + here, z + decay_z * theta + on_z * direction, mask=there)
