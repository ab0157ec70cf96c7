"""What every format gives: rows of one file as events."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from replay.quality import to_float32
from streams import EventSchema, InputError


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some rows of a file as events.

    Args:
        x: features, shape (n, d), float32, in the schema's units.
        status: one `streams.Status` per row, shape (n,), uint8.
        label: truth, shape (n,), uint8; None where the file has none.
        time_s: as in `streams.Events`, shape (n,); None where the file has no times.
    """

    x: NDArray[np.float32]
    status: NDArray[np.uint8]
    label: NDArray[np.uint8] | None = None
    time_s: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.x)


class Reader(Protocol):
    """One open file of some format. Rows are counted from 0."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def schema(self) -> EventSchema:
        """What a row is turned into."""
        ...

    @property
    def n_rows(self) -> int:
        """Rows in the file."""
        ...

    @property
    def has_label(self) -> bool:
        """Whether the file holds truth labels."""
        ...

    @property
    def block_rows(self) -> int:
        """Rows that are best read at once: this bounds the memory."""
        ...

    @property
    def shuffle_rows(self) -> int:
        """Rows to hold in memory for shuffling; less where a row costs much time."""
        ...

    def read_rows(self, start: int, stop: int, keep: NDArray[np.bool_] | None = None) -> Rows:
        """Returns rows start to stop, or those of them that a mask of shape (n,) keeps.

        Raises:
            InputError: the file is damaged there.
        """
        ...

    def read_labels(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Returns the truth labels alone, shape (stop - start,)."""
        ...

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        ...


def rows_from(table: NDArray[np.float64], label: NDArray[np.uint8] | None) -> Rows:
    """Returns features as they are in a file as rows; bad are those that aren't finite in float32.

    Args:
        table: features, shape (n, d), in the schema's units.
        label: truth, shape (n,).
    """
    x, status = to_float32(table)
    return Rows(x, status, label)


def labels_from(values: NDArray[np.generic], where: str) -> NDArray[np.uint8]:
    """Returns truth labels as 0 and 1.

    Args:
        values: what the file holds, shape (n,).
        where: the file and column, for the message.

    Raises:
        InputError: a value is neither 0 nor 1.
    """
    labels = np.asarray(values)
    wrong = (labels != 0) & (labels != 1)
    if wrong.any():
        raise InputError(f"expected labels 0 or 1; got {labels[wrong][0]}; in {where}")
    return labels.astype(np.uint8)


def first_line(error: BaseException) -> str:
    """Returns what an error of another library says, on one line, to be quoted in our own."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else repr(error)
