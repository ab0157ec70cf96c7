"""A flow whose base is Student's t with one degree of freedom: outliers pull little on θ.

Tan 2020 takes this base against exploding gradients. u is what the blocks make of an event, and the
density is that of independent t variables u_i. To the rest of the program the flow still ends in
normal variables, by a fixed map of each feature::

    z = Φ⁻¹(F(u)),   F(u) = 1/2 + arctan(u) / π

so that its latent coordinates, samples and conditional densities mean what they always mean.
"""

import math

import torch
from torch import Tensor

from onlineflows.flows.base import HALF_LOG_TWO_PI
from onlineflows.flows.torch_flow import TorchFlow

LOG_PI = math.log(math.pi)


class CauchyFlow(TorchFlow):
    """`TorchFlow` with heavy tails: -log p(u) = log π + log(1 + u²) for each feature.

    Splines are the identity outside their bound B, where this base has 2 arctan(1 / B) / π of each
    feature's probability: they can't take it back, affine transforms can. In the ratio of two such
    densities it cancels.
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns z and, feature by feature, log |∂z_i/∂x_i|, both of shape (n, d)."""
        u, log_abs_det = super().forward(x, context)
        z = to_normal(u)
        return z, log_abs_det - self._base_nll(u) + 0.5 * z * z + HALF_LOG_TWO_PI

    @torch.no_grad()
    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns the x whose image is z, shape (n, d)."""
        return super().inverse(from_normal(z), context)

    def log_prob_by_feature(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns log densities feature by feature, shape (n, d); their sum is `log_prob`."""
        u, log_abs_det = super().forward(x, context)
        return log_abs_det - self._base_nll(u)

    def _base_nll(self, z: Tensor) -> Tensor:
        return LOG_PI + torch.log1p(z * z)

    def _base_slope(self, z: Tensor) -> Tensor:
        return 2 * z / (1 + z * z)


def to_normal(u: Tensor) -> Tensor:
    """Returns Φ⁻¹(F(u)), by the smaller tail, which is exact far out, too."""
    tail = torch.atan2(torch.ones_like(u), u.abs()) / math.pi
    quantile: Tensor = torch.special.ndtri(tail)
    return -torch.sign(u) * quantile


def from_normal(z: Tensor) -> Tensor:
    """Returns F⁻¹(Φ(z)), the inverse of `to_normal`."""
    tail = torch.special.ndtr(-z.abs())
    return torch.sign(z) / torch.tan(math.pi * tail)
