"""An average of the weights over a window that grows with the training."""

import torch
from torch import Tensor

WINDOW_FRACTION = 0.1


class GrowingAverage:
    """An exponential average of θ over about the last tenth of all steps.

    After k steps the weight of the newest θ is 1 / (1 + k / 10): the first steps are forgotten,
    and the noise of a constant learning rate keeps being averaged away, without a decay constant
    that would have to know the length of the stream.

    Args:
        theta: where the average starts, shape (p,); copied.
    """

    def __init__(self, theta: Tensor) -> None:
        self.value = theta.clone()
        self.n_updates = 0

    @torch.no_grad()
    def update(self, theta: Tensor) -> None:
        """Takes in the θ after one more step."""
        self.value.lerp_(theta, 1 / (1 + WINDOW_FRACTION * self.n_updates))
        self.n_updates += 1
