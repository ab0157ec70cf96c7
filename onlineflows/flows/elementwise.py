"""What the torch flow asks of a monotone elementwise transform, and the clamp that all share.

Everything is feature-major: the events run along the last, contiguous axis, so that each
operation is one vectorised sweep. Shapes: x and y (t, n) for t targets and n events; rows
(t, R, n), what the network put out for them.
"""

from typing import Protocol

from torch import Tensor

LOG_MIN_SLOPE = -6.907755278982137
"""log 1e-3: slopes and relative bin sizes are softly kept within a factor of 1000 (zuko)."""


class Linearised(Protocol):
    """A transform at one point: its value, its slope and the way back for gradients."""

    @property
    def y(self) -> Tensor:
        """The image of x, shape (t, n); differentiable by autograd."""

    @property
    def log_abs_det(self) -> Tensor:
        """The log-slope log ∂y/∂x, shape (t, n); differentiable by autograd."""

    def pull_back(self, grad_y: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the gradients with respect to x, shape (t, n), and to the rows.

        In closed form: several times faster than autograd.

        Args:
            grad_y: gradient with respect to y, shape (t, n).
            grad_log_det: gradient with respect to log ∂y/∂x, shape (n,) or (t, n).
        """


class Elementwise(Protocol):
    """A family of increasing maps R -> R, chosen by the rows that a network puts out."""

    @property
    def n_rows(self) -> int:
        """Rows R for one target, with the constant ones."""

    @property
    def parameter_rows(self) -> tuple[int, ...]:
        """The row of each parameter; rows not listed are always zero."""

    def linearise(self, rows: Tensor, x: Tensor) -> Linearised:
        """Returns the transform at x."""

    def inverse(self, rows: Tensor, y: Tensor) -> Tensor:
        """Returns the x whose image is y."""


def soft_clamp(raw: Tensor, log_range: float) -> tuple[Tensor, Tensor]:
    """Returns raw / (1 + |raw / log_range|), which stays within ±log_range, and its factor.

    The derivative is the factor squared.
    """
    factor = raw.abs().mul_(1 / log_range).add_(1).reciprocal_()
    return raw * factor, factor
