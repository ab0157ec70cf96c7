"""Stopping a daemon: SIGTERM or SIGINT ends a run cleanly, a second SIGINT aborts it.

SIGHUP ends a run cleanly where it means that the terminal has gone. A daemon without a terminal
ignores it: there is nothing to reload, because the allow-list is read again whenever it changes and
logs go to standard error. Under nohup it stays ignored.
"""

import signal
import sys
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

    def __init__(self, *, has_terminal: bool | None = None) -> None:
        """Looks whether there is a terminal, unless it is told."""
        self._has_terminal = _has_terminal() if has_terminal is None else has_terminal
        self.requested = False
        self.aborted = False
        self._n_interrupts = 0
        self._previous: dict[signal.Signals, signal._HANDLER] = {}

    def __call__(self) -> bool:
        """Whether a stop was requested; the flag itself serves where a function is wanted."""
        return self.requested

    def __enter__(self) -> Self:
        """Takes over SIGTERM, SIGINT and SIGHUP; only the main thread may."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._handle)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self._previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hang_up)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Gives the signals back to whoever had them."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        if self._has_terminal:
            self.requested = True

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.requested = True
        if number != signal.SIGINT:
            return
        self._n_interrupts += 1
        if self._n_interrupts >= 2:
            self.aborted = True
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _has_terminal() -> bool:
    try:
        return sys.stdin is not None and sys.stdin.isatty()
    except ValueError:  # closed
        return False
