"""Events in memory as a source: for streams made in Python, for benchmarks and for tests."""

import numpy as np
from numpy.typing import NDArray

from streams.errors import InputError
from streams.schema import EventSchema
from streams.source import Events, SourceFile


class ArraySource:
    """A stream of events from arrays, which may be repeated.

    Args:
        schema: what the events are.
        x: features, shape (n, d), float32, in the schema's units.
        status: one `streams.Status` per event, shape (n,), uint8; None where all are good.
        label: truth, shape (n,), uint8; None for none.
        n_events: length of the stream, the arrays being repeated as often as needed; None for
            their own length.

    Example:
        >>> from streams import EventSchema, Feature
        >>> schema = EventSchema((Feature("m", "TeV", 0, 10),))
        >>> source = ArraySource(schema, np.ones((3, 1), dtype=np.float32), n_events=5)
        >>> [len(source.read(2)) for _ in range(4)]
        [2, 1, 2, 0]
    """

    def __init__(
        self,
        schema: EventSchema,
        x: NDArray[np.float32],
        *,
        status: NDArray[np.uint8] | None = None,
        label: NDArray[np.uint8] | None = None,
        n_events: int | None = None,
    ) -> None:
        self._schema = schema
        self._x = x
        self._status = np.zeros(len(x), dtype=np.uint8) if status is None else status
        self._label = label
        self._n_events = len(x) if n_events is None else n_events
        self._at = 0

    @property
    def schema(self) -> EventSchema:
        """What the events are."""
        return self._schema

    @property
    def n_events(self) -> int | None:
        """The stream's length."""
        return self._n_events

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """None: the events are in memory."""
        return ()

    def read(self, n: int) -> Events:
        """Returns the next events, at most n; fewer where the arrays begin anew."""
        at = self._at % max(1, len(self._x))
        rows = slice(at, at + min(n, len(self._x) - at, self._n_events - self._at))
        label = None if self._label is None else self._label[rows]
        events = Events(self._at, self._x[rows], self._status[rows], label)
        self._at += len(events)
        return events

    def seek(self, index: int) -> None:
        """Makes the event with this index the next one.

        Raises:
            InputError: the index lies outside the stream.
        """
        if not 0 <= index <= self._n_events:
            raise InputError(f"expected an index from 0 to {self._n_events}; got {index}")
        self._at = index

    def close(self) -> None:
        """Does nothing: there is nothing to release."""
