"""Where events come from and where they may go: two small protocols."""

import enum
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from streams.batch import read_only
from streams.errors import SchemaError
from streams.schema import EventSchema


class Status(enum.IntEnum):
    """What becomes of one event index: it is good, withheld, or bad for a reason."""

    GOOD = 0
    NOT_SELECTED = 1
    """The event exists but fails the trigger selection (say, no jet above threshold)."""
    PRESCALED = 2
    """The event was selected, and is left out by a prescale."""
    BAD_INPUT = 3
    """The event can't be used; so says every status from here on, most of them with a reason."""
    NOT_A_NUMBER = 4
    """A value is NaN, or became NaN: 0 / 0, say, where a ratio has no denominator."""
    INFINITE = 5
    """A value is infinite, or became so: 1 / 0, say."""
    TOO_LARGE = 6
    """A value is finite where it was read, and what becomes of it isn't in float32."""
    NEGATIVE = 7
    """A mass or a transverse momentum is below zero by more than rounding."""
    NO_PARTICLES = 8
    """The event has no particle."""
    DUPLICATE = 9
    """An earlier event of the stream's files has the same identifier."""
    OUT_OF_ORDER = 10
    """The event belongs to an earlier lumisection than one before it in the files."""

    @property
    def is_bad(self) -> bool:
        """Whether the event can't be used."""
        return self >= Status.BAD_INPUT


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Consecutive event indices as a source yields them.

    Args:
        first_event: index of the first event in the stream.
        x: features, shape (n, d), float32, C-contiguous, in the schema's units. A row whose
            status isn't GOOD has unspecified content and is never sent.
        status: one `Status` per event, shape (n,), uint8.
        label: truth, 1 for signal, 0 for background, shape (n,), uint8; None where the source
            has none (the black-box files).
        time_s: when each event arrived, in seconds since the first one of the stream, never
            falling, shape (n,), float64; None where the source doesn't know.
    """

    first_event: int
    x: NDArray[np.float32]
    status: NDArray[np.uint8]
    label: NDArray[np.uint8] | None = None
    time_s: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        n = len(self.x)
        if self.x.ndim != 2 or self.x.dtype != np.float32 or self.status.shape != (n,):
            raise SchemaError(
                f"expected float32 events of shape (n, d) with n statuses; got {self.x.dtype} "
                f"{self.x.shape} with statuses {self.status.shape}"
            )
        if self.label is not None and self.label.shape != (n,):
            raise SchemaError(f"expected {n} labels; got {self.label.shape}")
        if self.time_s is not None and self.time_s.shape != (n,):
            raise SchemaError(f"expected {n} times; got {self.time_s.shape}")
        object.__setattr__(self, "x", read_only(np.ascontiguousarray(self.x)))
        object.__setattr__(self, "status", read_only(self.status))

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input file as recorded in the begin-of-run message and in snapshots.

    Args:
        name: the file's name without its folder.
        nbytes: its size.
        sha256: its SHA-256 in hexadecimal digits.
    """

    name: str
    nbytes: int
    sha256: str


@runtime_checkable
class Source(Protocol):
    """A stream of events that can be read on and repositioned.

    Reading is deterministic: the events at an index are a pure function of the source's
    configuration and seed, whatever the sizes of the reads and however often it is repositioned.
    A resumed run therefore sees the same stream.
    """

    @property
    def schema(self) -> EventSchema:
        """What the events are."""
        ...

    @property
    def n_events(self) -> int | None:
        """How many event indices the stream has; None when it doesn't end."""
        ...

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """The files that the events come from; empty for a computed stream."""
        ...

    def read(self, n: int) -> Events:
        """Returns the next events, at most n; fewer only where a boundary of the format or the
        end is near; none (length 0) only at the end of the stream.

        Raises:
            InputError: the file can't be read on; the position is unchanged.
        """
        ...

    def seek(self, index: int) -> None:
        """Makes the event with this index the next one to be read.

        Raises:
            InputError: the index lies outside the stream.
        """
        ...

    def close(self) -> None:
        """Releases files; safe to call twice."""
        ...


@runtime_checkable
class Sink(Protocol):
    """A file that events are written to, in the order of the calls."""

    def write(self, x: NDArray[np.float32], label: NDArray[np.uint8] | None = None) -> None:
        """Appends events, shape (n, d), in the schema's units.

        Raises:
            InputError: the file can't be written.
        """
        ...

    def close(self) -> None:
        """Completes the file under its final name; safe to call twice."""
        ...


def why_not_finite(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Returns why rows can't be used that aren't finite, or that lead to something that isn't.

    Args:
        values: the rows as they came, shape (n, d): what is finite there was too large to go on
            with.

    Example:
        >>> why_not_finite(np.array([[1e300, np.nan], [1e300, np.inf], [1e300, 0.0]])).tolist()
        [4, 5, 6]
    """
    infinite = np.where(np.isinf(values).any(axis=1), Status.INFINITE, Status.TOO_LARGE)
    reasons = np.where(np.isnan(values).any(axis=1), Status.NOT_A_NUMBER, infinite)
    return reasons.astype(np.uint8)
