"""A step as a fixed sequence of device operations that nobody waits for."""

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from onlineflows.flows.base import Flow
from onlineflows.flows.gpu.fused import FusedFlow
from onlineflows.flows.gpu.packing import power_of_two
from onlineflows.online.device_optimiser import IDLE, DeviceScheduleFreeAdamW

SUM_ROWS, SUM_COLUMNS, MOVED_AT_ONCE = 32, 32, 256


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """What the device knows and notes of a stretch of steps.

    Args:
        plan: coefficients of the steps; see `DeviceScheduleFreeAdamW.plan`.
        losses: mean NLL of each step's mini-batch.
        taken: steps taken, int64, shape (1,).
        refused: whether a step was refused, bool, shape (1,): no later one is taken.
    """

    plan: Tensor
    losses: Tensor
    taken: Tensor
    refused: Tensor

    @classmethod
    def empty(cls, n_steps: int, device: torch.device) -> Self:
        """Returns the record of a stretch of at most so many steps."""
        return cls(
            plan=torch.zeros(n_steps, len(IDLE), device=device),
            losses=torch.zeros(n_steps, device=device),
            taken=torch.zeros(1, dtype=torch.int64, device=device),
            refused=torch.zeros(1, dtype=torch.bool, device=device),
        )

    def begin(self, plan: Tensor) -> None:
        """Begins a stretch."""
        self.plan.copy_(plan)
        self.taken.zero_()
        self.refused.zero_()


class DeviceSteps(Protocol):
    """Ways to take a step."""

    def begin(self) -> None:
        """Takes notice that θ may have been changed by somebody else."""

    def run(self, events: Tensor) -> None:
        """Takes one step, or refuses it; never waits for the device.

        Args:
            events: a mini-batch, shape (n, d), on the device.
        """


class TorchSteps:
    """Steps with the gradients of any flow, in torch's operations.

    Args:
        flow: gives the gradients.
        optimiser: moves its θ.
        record: what is noted.
    """

    def __init__(self, flow: Flow, optimiser: DeviceScheduleFreeAdamW, record: Record) -> None:
        self._flow = flow
        self._optimiser = optimiser
        self._record = record

    def begin(self) -> None:
        """Does nothing: all is in θ."""

    def run(self, events: Tensor) -> None:
        """Takes one step, or refuses it."""
        record = self._record
        gradient = self._flow.gradient(events)
        mean = gradient.nll.mean().view(1)
        # As in `is_finite`: sums that overflow are refused, too.
        finite = torch.isfinite(mean + gradient.theta.sum())
        before = record.losses.index_select(0, record.taken)
        record.losses.index_copy_(0, record.taken, torch.where(record.refused, before, mean))
        taken = finite & ~record.refused
        row = record.plan.index_select(0, record.taken).squeeze(0)
        self._optimiser.move(
            torch.where(taken, gradient.theta, 0.0), torch.where(taken, row, self._optimiser.idle)
        )
        record.refused.logical_or_(~finite)
        record.taken.add_(taken)


class FusedSteps:
    """Steps of a fused flow: four kernels.

    Args:
        flow: gives the gradients of each of its programs.
        optimiser: its state is moved; the arithmetic is that of `DeviceScheduleFreeAdamW.move`.
        record: what is noted.
    """

    def __init__(self, flow: FusedFlow, optimiser: DeviceScheduleFreeAdamW, record: Record) -> None:
        # Loaded here, because Triton comes with torch's CUDA builds only.
        from onlineflows.flows.gpu import step_kernels

        self._kernels = step_kernels
        self._flow = flow
        self._optimiser = optimiser
        self._record = record
        new = flow.theta.new_zeros
        self._n_totals = -(-flow.shape.size // SUM_COLUMNS)
        self._sums, self._totals = new(flow.shape.size), new(self._n_totals)
        self._now = new(len(IDLE) + 1)

    def begin(self) -> None:
        """Takes up θ."""
        self._flow.pack()

    def run(self, events: Tensor) -> None:
        """Takes one step, or refuses it."""
        n, record, space, size = len(events), self._record, self._flow.workspace, len(self._sums)
        n_programs = self._flow.launch(events, events.new_empty(n))
        self._kernels.sum_kernel[(self._n_totals,)](
            space.partial,
            self._sums,
            self._totals,
            n_programs,
            size,
            ROWS=SUM_ROWS,
            COLUMNS=SUM_COLUMNS,
        )
        self._kernels.check_kernel[(1,)](
            self._totals,
            space.loss,
            record.plan,
            self._now,
            record.losses,
            record.taken,
            record.refused.view(torch.uint8),
            n,
            n_programs,
            self._n_totals,
            WIDTH=len(IDLE),
            TOTALS=power_of_two(self._n_totals),
            PROGRAMS=power_of_two(len(space.loss)),
        )
        theta, z, v = self._optimiser.vectors()
        self._kernels.move_kernel[(-(-len(theta) // MOVED_AT_ONCE),)](
            self._sums,
            self._flow.index,
            self._now,
            theta,
            z,
            v,
            space.packed,
            len(theta),
            SIZE=MOVED_AT_ONCE,
        )


def device_steps(flow: Flow, optimiser: DeviceScheduleFreeAdamW, record: Record) -> DeviceSteps:
    """Returns the fastest way to take steps with a flow."""
    if isinstance(flow, FusedFlow):
        return FusedSteps(flow, optimiser, record)
    return TorchSteps(flow, optimiser, record)
