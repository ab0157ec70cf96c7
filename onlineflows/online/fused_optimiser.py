"""The optimisers with the compiled engine's step: one pass over memory instead of five.

State, scalars and results are those of `onlineflows.online.optimiser`, which is the reference.
"""

from torch import Tensor

from onlineflows.engine.steps import Rates, adam_step, schedule_free_step
from onlineflows.online.optimiser import INTERPOLATION, Adam, ScheduleFreeAdamW


class FusedScheduleFreeAdamW(ScheduleFreeAdamW):
    """Schedule-free AdamW whose vectors are moved by the engine."""

    def step(self, grad: Tensor) -> None:
        """Moves y, z and v on."""
        now = self._advance()
        rates = Rates(
            learning_rate=now.rate,
            beta_1=INTERPOLATION,
            step=self._n_steps,
            weight_decay=self._config.weight_decay,
            share=now.share,
        )
        schedule_free_step(rates, grad, self._theta, self._z, self._v)


class FusedAdam(Adam):
    """Adam whose vectors are moved by the engine."""

    def step(self, grad: Tensor) -> None:
        """Moves θ, both moments and the average on."""
        rates = Rates(
            learning_rate=self._rate(),
            step=self._n_steps + 1,
            weight_decay=self._config.weight_decay,
        )
        self._n_steps += 1
        adam_step(rates, grad, self._theta, self._m, self._v)
        self._average.update(self._theta)
