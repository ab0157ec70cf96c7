"""Schedule-free AdamW as a fixed sequence of device operations, so that a graph can hold it."""

import torch
from torch import Tensor

from onlineflows.online.optimiser import BETA_2, EPSILON, ScheduleFreeAdamW, ScheduleFreeScalars
from onlineflows.settings import OptimiserConfig

IDLE = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""The coefficients of a step that moves nothing, in the order of `_row`."""


class DeviceScheduleFreeAdamW(ScheduleFreeAdamW):
    """Schedule-free AdamW whose coefficients are data on the device, not numbers in the program.

    The coefficients depend on the number of steps alone. They are written down for many steps
    ahead (`plan`); a step takes its row of that table, or an idle row that leaves everything as it
    is. State and mathematics are those of `ScheduleFreeAdamW`: checkpoints of either can be loaded
    by the other.

    Args:
        config: rates and decay.
        theta: the training point, on any device; moved in place.
    """

    def __init__(self, config: OptimiserConfig, theta: Tensor) -> None:
        super().__init__(config, theta)
        self.idle = torch.tensor(IDLE, dtype=theta.dtype, device=theta.device)

    def plan(self, n: int) -> Tensor:
        """Returns the coefficients of the next n steps, shape (n, 7), on the CPU; takes none."""
        kept = self._n_steps, self._rate_max, self._weight_sum
        rows = [self._row(self._advance()) for _ in range(n)]
        self._n_steps, self._rate_max, self._weight_sum = kept
        return torch.tensor(rows, dtype=torch.float64).to(self._theta.dtype)

    def advance(self, n: int) -> None:
        """Counts n steps that the device has taken."""
        for _ in range(n):
            self._advance()

    @torch.no_grad()
    def move(self, grad: Tensor, row: Tensor) -> None:
        """Moves y, z and v on by device operations alone.

        Args:
            grad: finite gradient, shape (p,).
            row: one row of `plan`, or `idle`; shape (7,).
        """
        mix, share, on_theta, on_z, decay_theta, decay_z, epsilon = row.unbind()
        self._v.lerp_(grad * grad, mix)
        torch.sqrt(self._v, out=self._root).add_(epsilon)
        direction = grad / self._root
        if self._config.weight_decay:
            decayed = self._theta.clone()
            self._theta.lerp_(self._z, share).addcmul_(decayed, decay_theta)
            self._z.addcmul_(decayed, decay_z)
        else:
            self._theta.lerp_(self._z, share)
        self._theta.addcmul_(direction, on_theta)
        self._z.addcmul_(direction, on_z)

    def vectors(self) -> tuple[Tensor, ...]:
        """Returns what a step changes, θ included; not copied."""
        return self._theta, self._z, self._v

    def _row(self, now: ScheduleFreeScalars) -> tuple[float, ...]:
        """Returns the numbers of one step in the order that `move` unpacks."""
        return (
            1 - BETA_2,
            now.share,
            now.on_theta * now.correction,
            -now.rate * now.correction,
            now.on_theta * self._config.weight_decay,
            -now.rate * self._config.weight_decay,
            EPSILON * now.correction,
        )
