"""Events on their way from the host to a device."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

N_SLOTS = 4


class Staging:
    """Copies events into one tensor on a device without waiting for the copies.

    The host writes into page-locked slots in turn; only when all of them are on their way does
    it wait for the oldest.

    Args:
        target: where events go, shape (n, d); on the CPU it is simply written.
    """

    def __init__(self, target: Tensor) -> None:
        self._target = target
        self._slots: list[Tensor] = []
        self._arrived: list[torch.cuda.Event] = []
        self._next = 0
        if target.device.type == "cuda":
            shape, dtype = target.shape, target.dtype
            self._slots = [torch.empty(shape, dtype=dtype, pin_memory=True) for _ in range(N_SLOTS)]
            self._arrived = [
                torch.cuda.Event()  # type: ignore[no-untyped-call]
                for _ in range(N_SLOTS)
            ]

    def send(self, batch: NDArray[np.float32]) -> None:
        """Copies at most n events into the first rows; they may be overwritten afterwards."""
        target = self._target[: len(batch)]
        if not self._slots:
            target.copy_(torch.from_numpy(batch))
            return
        slot, arrived = self._slots[self._next][: len(batch)], self._arrived[self._next]
        arrived.synchronize()
        slot.copy_(torch.from_numpy(batch))
        target.copy_(slot, non_blocking=True)
        arrived.record()
        self._next = (self._next + 1) % N_SLOTS
