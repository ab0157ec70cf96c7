"""How many batches a consumer permits: a window over those that it has no more work with."""

from collections import deque

from streams.batch import largest_nbytes
from streams.protocol import RunBegan
from streams.settings import WireConfig

MEAN_OVER_BATCHES = 64
"""Time constant of the mean batch size, in batches."""


class Window:
    """Counts what was delivered and not consumed yet.

    Args:
        wire: the window in batches and in bytes.

    Attributes:
        n_batches: batches that may be unread.
    """

    def __init__(self, wire: WireConfig) -> None:
        self._wire = wire
        self._largest = wire.window_batches
        self._batch_events = 1.0
        self._mean_rows = 1.0
        self._unread: deque[int] = deque()
        self.n_batches = self._fit()

    def begin(self, run: RunBegan) -> None:
        """Takes the size of batches from a run's announcement."""
        nbytes = largest_nbytes(run.batch_events, run.schema.event_nbytes)
        self._largest = self._wire.window_nbytes // nbytes
        self._batch_events = self._mean_rows = float(run.batch_events)
        self.n_batches = self._fit()

    def _fit(self) -> int:
        """Returns as many batches as hold the events of `wire.window_batches` full ones.

        Of the small batches of a paced stream, more are on their way. Never more than
        `wire.window_nbytes` holds if all of them were full; at least one.
        """
        fullness = max(1.0, self._mean_rows) / self._batch_events
        return max(1, min(self._largest, int(self._wire.window_batches / fullness)))

    @property
    def n_free(self) -> int:
        """Batches for which there is room; negative where the window has shrunk."""
        return self.n_batches - len(self._unread)

    def deliver(self, batch_number: int, n_rows: int) -> None:
        """Records a batch that has come."""
        self._unread.append(batch_number)
        if n_rows != self._mean_rows:
            self._mean_rows += (n_rows - self._mean_rows) / MEAN_OVER_BATCHES
            self.n_batches = self._fit()

    def consume(self, batch_number: int) -> bool:
        """Records that this batch and all before it are read; returns whether any was not."""
        unread, has_any = self._unread, False
        while unread and unread[0] <= batch_number:
            unread.popleft()
            has_any = True
        return has_any
