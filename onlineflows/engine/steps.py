"""Optimiser steps over θ in one pass over memory."""

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from onlineflows.engine.library import load
from onlineflows.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Rates:
    """Constants of one optimiser step.

    Args:
        learning_rate: of this step, warm-up included.
        step: number t of this step, from 1; corrects the moments' bias.
        beta_1: momentum (Adam), or the weight of the average in y (schedule-free).
        beta_2: of the second moment.
        epsilon: added to its root.
        weight_decay: decoupled.
        share: the newest point's share c in the schedule-free average.
    """

    learning_rate: float
    step: int
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    share: float = 0.0


def schedule_free_step(rates: Rates, gradient: Tensor, y: Tensor, z: Tensor, v: Tensor) -> None:
    """Moves y, z and v on by one step of schedule-free AdamW (2405.15682, algorithm 1).

    The state is that of `onlineflows.online.optimiser.ScheduleFreeAdamW`: y is the training point
    (θ), z the fast one, v the second moment; the published average is (y - (1 - β1) z) / β1.
    """
    _step("schedule_free", rates, (gradient, y, z, v))


def adam_step(rates: Rates, gradient: Tensor, theta: Tensor, m: Tensor, v: Tensor) -> None:
    """Moves θ and both moments on by one step of Adam with decoupled weight decay."""
    _step("adam", rates, (gradient, theta, m, v))


def _step(name: str, rates: Rates, arrays: tuple[Tensor, ...]) -> None:
    library, reason = load()
    if library is None:
        raise ConfigError(f"expected the compiled engine; got none: {reason}")
    first = arrays[0]
    for array in arrays:
        if (array.dtype, array.shape) != (first.dtype, first.shape) or not array.is_contiguous():
            raise ConfigError(
                f"expected contiguous vectors of one length and type; got "
                f"{[(tuple(a.shape), a.dtype) for a in arrays]}"
            )
    if first.device.type != "cpu" or first.dtype not in (torch.float32, torch.float64):
        raise ConfigError(f"expected float32 or float64 on the CPU; got {first.dtype}")
    constants = (ctypes.c_double * 8)(
        rates.learning_rate,
        rates.beta_1,
        rates.beta_2,
        1 - rates.beta_1**rates.step,
        1 - rates.beta_2**rates.step,
        rates.epsilon,
        rates.weight_decay,
        rates.share,
    )
    suffix = "f32" if first.dtype == torch.float32 else "f64"
    function = getattr(library, f"engine_{name}_{suffix}")
    function(first.numel(), constants, *(array.data_ptr() for array in arrays))
