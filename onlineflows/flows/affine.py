"""The affine transform y = x exp(s) + b of MAF (1705.07057) and Real NVP (1605.08803)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from onlineflows.flows.elementwise import LOG_MIN_SLOPE, soft_clamp


@dataclass(frozen=True, slots=True, eq=False)
class AffinePoint:
    """The transform at x. Shapes (t, n).

    Args:
        y: the image of x.
        log_abs_det: the log-slope s.
        scaled: x exp(s).
        scale: exp(s).
        clamp: factor s / a of the soft clamp.
    """

    y: Tensor
    log_abs_det: Tensor
    scaled: Tensor
    scale: Tensor
    clamp: Tensor

    def pull_back(self, grad_y: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the gradients with respect to x and to the rows."""
        grad_s = grad_y * self.scaled + grad_log_det
        grad_rows = torch.stack((grad_y, grad_s * self.clamp * self.clamp), 1)
        return grad_y * self.scale, grad_rows


class Affine:
    """y = x exp(s) + b, with s = a / (1 + |a / log 1e-3|). Rows: b, a.

    The soft clamp keeps the slope between 1e-3 and 1e3; it is zuko's.
    """

    n_rows = 2
    parameter_rows = (0, 1)

    def linearise(self, rows: Tensor, x: Tensor) -> AffinePoint:
        """Returns the transform at x."""
        shift, raw = rows.unbind(1)
        log_scale, clamp = soft_clamp(raw, -LOG_MIN_SLOPE)
        scale = log_scale.exp()
        scaled = x * scale
        return AffinePoint(scaled + shift, log_scale, scaled, scale, clamp)

    def inverse(self, rows: Tensor, y: Tensor) -> Tensor:
        """Returns the x whose image is y."""
        shift, raw = rows.unbind(1)
        log_scale, _ = soft_clamp(raw, -LOG_MIN_SLOPE)
        return (y - shift) * (-log_scale).exp()
