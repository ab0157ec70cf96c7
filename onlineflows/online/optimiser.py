"""Optimisers over one vector θ that work without knowing how long the stream is."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from onlineflows.online.average import GrowingAverage
from onlineflows.settings import OptimiserConfig

BETA_1 = 0.9
"""Adam's momentum."""
INTERPOLATION = 0.8
"""β1 of schedule-free AdamW: where between z and the average gradients are taken. The authors' 0.9
is for longer runs; on 1e5 to 1e6 events 0.8 learns faster and ends no worse (docs/performance.md).
"""
BETA_2 = 0.999
EPSILON = 1e-8


def is_finite(*tensors: Tensor) -> bool:
    """Returns whether all entries are finite, at the cost of one sum each.

    Finite entries whose sum overflows count as not finite, too: no step should be taken on them.
    """
    return all(math.isfinite(float(tensor.sum())) for tensor in tensors)


class Optimiser(ABC):
    """Moves θ in place and knows the average that is published.

    The caller refuses gradients that are not finite; see `is_finite`.

    Args:
        config: rates and decay.
        theta: the training point, shape (p,); moved in place by `step`.
    """

    def __init__(self, config: OptimiserConfig, theta: Tensor) -> None:
        self._config = config
        self._theta = theta
        self._n_steps = 0

    @abstractmethod
    def step(self, grad: Tensor) -> None:
        """Moves θ along the gradient taken at θ, shape (p,)."""

    @abstractmethod
    def averaged(self) -> Tensor:
        """Returns a new vector: the θ to publish. The training point stays where it is."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Returns copies of everything that the next step depends on, except θ itself."""

    @abstractmethod
    def load(self, state: dict[str, Tensor]) -> None:
        """Takes up what `state` returned; the caller has put θ back already."""

    def _rate(self) -> float:
        """Returns the learning rate of the coming step: linear warm-up, then constant."""
        warmup = min(1.0, (self._n_steps + 1) / max(self._config.warmup_steps, 1))
        return self._config.learning_rate * warmup


@dataclass(frozen=True, slots=True)
class ScheduleFreeScalars:
    """What a schedule-free step multiplies with; the same for all of θ.

    Args:
        rate: γ.
        share: c, the weight of the newest z in the average.
        on_theta: γ (β1 (1 - c) - 1), the weight of u in the training point.
        correction: root of the second moment's bias correction.
    """

    rate: float
    share: float
    on_theta: float
    correction: float


class ScheduleFreeAdamW(Optimiser):
    r"""Schedule-free AdamW (Defazio et al. 2024, 2405.15682, algorithm 1).

    With gradients g_t at the training point y_t, rates γ_t and λ the weight decay::

        v_{t+1} = β2 v_t + (1 - β2) g_t²
        u_t     = g_t / (sqrt(v_{t+1} / (1 - β2^{t+1})) + ε) + λ y_t
        z_{t+1} = z_t - γ_t u_t
        c_{t+1} = γ_max² / Σ γ_max²,   γ_max the largest rate so far
        x_{t+1} = (1 - c_{t+1}) x_t + c_{t+1} z_{t+1}
        y_{t+1} = (1 - β1) z_{t+1} + β1 x_{t+1}

    x is what is published. It is never stored: x = (y - (1 - β1) z) / β1, and the last two lines
    become y += c (z_t - y) + γ (β1 (1 - c) - 1) u, as in the authors' code.
    """

    def __init__(self, config: OptimiserConfig, theta: Tensor) -> None:
        super().__init__(config, theta)
        self._z = theta.clone()
        self._v = torch.zeros_like(theta)
        self._root = torch.empty_like(theta)
        self._rate_max = 0.0
        self._weight_sum = 0.0

    @torch.no_grad()
    def step(self, grad: Tensor) -> None:
        """Moves y, z and v on."""
        now = self._advance()
        # The root's bias correction is moved out of the vector into the scalars.
        self._v.mul_(BETA_2).addcmul_(grad, grad, value=1 - BETA_2)
        torch.sqrt(self._v, out=self._root).add_(EPSILON * now.correction)
        if self._config.weight_decay:
            decayed = self._theta * self._config.weight_decay
            self._theta.lerp_(self._z, now.share).add_(decayed, alpha=now.on_theta)
            self._z.sub_(decayed, alpha=now.rate)
        else:
            self._theta.lerp_(self._z, now.share)
        self._theta.addcdiv_(grad, self._root, value=now.on_theta * now.correction)
        self._z.addcdiv_(grad, self._root, value=-now.rate * now.correction)

    def _advance(self) -> ScheduleFreeScalars:
        """Moves the scalars to the coming step and returns its coefficients."""
        rate = self._rate()
        self._rate_max = max(self._rate_max, rate)
        weight = self._rate_max**2
        self._weight_sum += weight
        share = weight / self._weight_sum if self._weight_sum > 0 else 0.0
        self._n_steps += 1
        return ScheduleFreeScalars(
            rate=rate,
            share=share,
            on_theta=rate * (INTERPOLATION * (1 - share) - 1),
            correction=math.sqrt(1 - BETA_2**self._n_steps),
        )

    def averaged(self) -> Tensor:
        """Returns x."""
        return torch.lerp(self._theta, self._z, 1 - 1 / INTERPOLATION)

    def state(self) -> dict[str, Tensor]:
        """Returns copies of z, v and the scalars."""
        scalars = (self._n_steps, self._rate_max, self._weight_sum)
        return {
            "z": self._z.clone(),
            "v": self._v.clone(),
            "scalars": torch.tensor(scalars, dtype=torch.float64),
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes up what `state` returned."""
        self._z.copy_(state["z"])
        self._v.copy_(state["v"])
        n_steps, self._rate_max, self._weight_sum = state["scalars"].tolist()
        self._n_steps = int(n_steps)


class Adam(Optimiser):
    """Adam (Kingma & Ba 2014, 1412.6980) with decoupled weight decay (1711.05101) and a constant
    rate; what is published is an average of θ over a growing window.
    """

    def __init__(self, config: OptimiserConfig, theta: Tensor) -> None:
        super().__init__(config, theta)
        self._m = torch.zeros_like(theta)
        self._v = torch.zeros_like(theta)
        self._root = torch.empty_like(theta)
        self._average = GrowingAverage(theta)

    @torch.no_grad()
    def step(self, grad: Tensor) -> None:
        """Moves θ, both moments and the average on."""
        rate = self._rate()
        self._n_steps += 1
        correction_1 = 1 - BETA_1**self._n_steps
        correction_2 = math.sqrt(1 - BETA_2**self._n_steps)
        self._m.lerp_(grad, 1 - BETA_1)
        self._v.mul_(BETA_2).addcmul_(grad, grad, value=1 - BETA_2)
        torch.sqrt(self._v, out=self._root).add_(EPSILON * correction_2)
        if self._config.weight_decay:
            self._theta.mul_(1 - rate * self._config.weight_decay)
        self._theta.addcdiv_(self._m, self._root, value=-rate * correction_2 / correction_1)
        self._average.update(self._theta)

    def averaged(self) -> Tensor:
        """Returns the average over the growing window."""
        return self._average.value.clone()

    def state(self) -> dict[str, Tensor]:
        """Returns copies of the moments, the average and the number of steps."""
        return {
            "m": self._m.clone(),
            "v": self._v.clone(),
            "average": self._average.value.clone(),
            "n_steps": torch.tensor([self._n_steps], dtype=torch.int64),
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes up what `state` returned."""
        self._m.copy_(state["m"])
        self._v.copy_(state["v"])
        self._average.value.copy_(state["average"])
        self._n_steps = self._average.n_updates = int(state["n_steps"].item())


def make_optimiser(config: OptimiserConfig, theta: Tensor, *, compiled: bool = False) -> Optimiser:
    """Returns the optimiser of a configuration.

    Args:
        config: which one, and its rates.
        theta: the training point; moved in place, never rebound.
        compiled: whether the compiled engine takes the steps; θ is on the CPU then.
    """
    kinds: dict[str, type[Optimiser]] = {"schedule_free": ScheduleFreeAdamW, "adam": Adam}
    if compiled:
        from onlineflows.online.fused_optimiser import FusedAdam, FusedScheduleFreeAdamW

        kinds = {"schedule_free": FusedScheduleFreeAdamW, "adam": FusedAdam}
    return kinds[config.kind](config, theta)
