"""Batches: consecutive events of one lumisection, columnar and read-only. Truth is apart."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.errors import SchemaError

T = TypeVar("T", bound=np.generic)


def read_only(array: NDArray[T]) -> NDArray[T]:
    """Returns a read-only view of an array."""
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Consecutive events of one run and lumisection.

    Args:
        x: features, shape (n, d), float32, C-contiguous, in the schema's units; kept as a
            read-only view. It may come from a message and must never be written to.
        first_event: index of the first event in its run; event i of the batch has index
            ``first_event + i``.
        run: the run's number.
        lumisection: the lumisection that all events belong to, counted from 1.

    Raises:
        SchemaError: x isn't a two-dimensional, C-contiguous float32 array.
    """

    x: NDArray[np.float32]
    first_event: int
    run: int
    lumisection: int

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.x.dtype != np.float32 or not self.x.flags.c_contiguous:
            raise SchemaError(
                f"expected C-contiguous float32 events of shape (n, d); "
                f"got {self.x.dtype} {self.x.shape}"
            )
        object.__setattr__(self, "x", read_only(self.x))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def end_event(self) -> int:
        """One past the index of the last event."""
        return self.first_event + len(self)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Truth labels of consecutive events; sent in a frame of their own, only when asked for.

    Args:
        label: 1 for signal, 0 for background, shape (n,), uint8.
        first_event: index of the first event in its run.
    """

    label: NDArray[np.uint8]
    first_event: int

    def __post_init__(self) -> None:
        if self.label.ndim != 1 or self.label.dtype != np.uint8:
            raise SchemaError(
                f"expected uint8 labels of shape (n,); got {self.label.dtype} {self.label.shape}"
            )
        object.__setattr__(self, "label", read_only(self.label))

    def __len__(self) -> int:
        return len(self.label)
