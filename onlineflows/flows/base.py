"""The contract of a flow: two directions, a density, a gradient, all over one vector θ."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from onlineflows.flows.spec import FlowSpec

HALF_LOG_TWO_PI = 0.9189385332046727
"""Minus the log density of the standard normal at zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Gradient:
    """What one mini-batch says of θ.

    Args:
        nll: negative log-likelihood of each event in nats, shape (n,).
        theta: gradient of the (weighted) mean NLL with respect to θ, shape (n_parameters,).
    """

    nll: Tensor
    theta: Tensor


class Flow(ABC):
    """A bijection between data x and latent z with a standard normal density on z.

    Subclasses differ in how they compute, never in what: the parameters are one contiguous
    vector `theta` whose meaning `spec` fixes, so that implementations are interchangeable.

    Shapes: x and z (n, d); context (n, c), or None when the flow has none.
    """

    spec: FlowSpec
    theta: Tensor
    """The one vector; shape (n_parameters,). Assign into it, never rebind it."""

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns z and, feature by feature, log |∂z_i/∂x_i|, both of shape (n, d)."""

    @abstractmethod
    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns the x whose image is z, shape (n, d)."""

    @abstractmethod
    def gradient(
        self, x: Tensor, context: Tensor | None = None, *, weight: Tensor | None = None
    ) -> Gradient:
        """Returns the NLL of each event and the gradient of its mean over the events.

        Args:
            x: events, shape (n, d).
            context: shape (n, c).
            weight: non-negative weights, shape (n,); the gradient is of sum(w nll) / n. Events of
                weight 0 may be left out: their NLL is 0 then.
        """

    def log_prob_by_feature(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns log densities feature by feature, shape (n, d); their sum is `log_prob`.

        For autoregressive flows column 0 is log p(m) and the sum of the others is log p(x | m),
        because feature 0 comes first in every block; for coupling flows as well, because
        feature 0 is moved by itself.
        """
        z, log_abs_det = self.forward(x, context)
        return log_abs_det - (0.5 * z * z + HALF_LOG_TWO_PI)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns log p(x | context), shape (n,)."""
        return self.log_prob_by_feature(x, context).sum(1)

    def sample(
        self, n: int, context: Tensor | None = None, *, generator: torch.Generator
    ) -> Tensor:
        """Returns n samples, shape (n, d), in θ's precision."""
        z = torch.randn(n, self.spec.n_features, generator=generator, dtype=self.theta.dtype)
        return self.inverse(z.to(self.theta.device), context)
