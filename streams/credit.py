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
    """

    def __init__(self, wire: WireConfig) -> None:
        self._wire = wire
        self._largest = wire.window_batches
        self._batch_events = 1.0
        self._mean_rows = 1.0
        self._unread: deque[int] = deque()

    def begin(self, run: RunBegan) -> None:
        """Takes the size of batches from a run's announcement."""
        nbytes = largest_nbytes(run.batch_events, run.schema.event_nbytes)
        self._largest = self._wire.window_nbytes // nbytes
        self._batch_events = self._mean_rows = float(run.batch_events)

    @property
    def n_batches(self) -> int:
        """Batches that may be unread, at least one.

        As many as hold the events of `wire.window_batches` full ones: of the small batches of a
        paced stream, more are on their way. Never more than `wire.window_nbytes` holds if all of
        them were full.
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
        self._mean_rows += (n_rows - self._mean_rows) / MEAN_OVER_BATCHES

    def consume(self, batch_number: int) -> bool:
        """Records that this batch and all before it are read; returns whether any was not."""
        n_unread = len(self._unread)
        while self._unread and self._unread[0] <= batch_number:
            self._unread.popleft()
        return len(self._unread) < n_unread
