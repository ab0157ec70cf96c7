"""Stopping a daemon: SIGTERM or SIGINT ends a run cleanly, a second SIGINT aborts it."""

import signal
from types import FrameType, TracebackType
from typing import Self


class StopFlag:
    """Remembers that someone asked the process to stop; a loop reads it once per round.

    Nothing is interrupted: handlers only set the flag, so a batch is never half sent and θ never
    half updated. The second SIGINT sets `aborted` and gives SIGINT back to Python, so that a
    third one interrupts a loop that no longer turns.

    Example:
        >>> with StopFlag() as stop:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     (stop.requested, stop.aborted)
        (True, False)
    """

    def __init__(self) -> None:
        self.requested = False
        self.aborted = False
        self._n_interrupts = 0
        self._previous: dict[signal.Signals, signal._HANDLER] = {}

    def __call__(self) -> bool:
        """Whether a stop was requested; the flag itself serves where a function is wanted."""
        return self.requested

    def __enter__(self) -> Self:
        """Takes over SIGTERM and SIGINT; only the main thread may."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Gives both signals back to whoever had them."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.requested = True
        if number != signal.SIGINT:
            return
        self._n_interrupts += 1
        if self._n_interrupts >= 2:
            self.aborted = True
            signal.signal(signal.SIGINT, signal.default_int_handler)
