"""Crash-only restarts: a daemon that dies is started again and goes on from its checkpoint.

The daemon is a child process and may die of anything: it leaves its last checkpoint, and nothing
else is needed to go on.
"""

import json
import logging
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from onlineflows.cli.exits import BAD_INPUT, DONE, FAILED, code_of_child

logger = logging.getLogger(__name__)

FIRST_DELAY_S = 1.0
LARGEST_DELAY_S = 60.0
WINDOW_S = 3600.0
"""Restarts are counted over so long; a daemon that has run for longer begins with a clean slate."""

TURN_S = 0.1


class Supervisor:
    """Runs a command until it ends on purpose, or has died too often.

    Args:
        command: arguments of the program for the first start.
        again: arguments for every further start.
        ledger: what the daemon leaves when a run is over, whether it went well or not.
        restarts: how often it is started again within `WINDOW_S`.
        clock: seconds that never go back.
        sleep: waits.
    """

    def __init__(
        self,
        command: Sequence[str],
        again: Sequence[str],
        *,
        ledger: Path,
        restarts: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._command = command
        self._again = again
        self._ledger = ledger
        self._restarts = restarts
        self._clock = clock
        self._sleep = sleep
        self._stopped_by: int | None = None

    def run(self) -> int:
        """Returns the exit code of the last attempt; 1 where there were too many."""
        recent: deque[float] = deque()
        command = self._command
        while True:
            before = _stamp(self._ledger)
            code = self._once(command)
            is_over = _stamp(self._ledger) != before and not _was_interrupted(self._ledger)
            if self._is_stopped() or not _has_died(code, is_over=is_over):
                return code_of_child(code)
            now = self._clock()
            while recent and now - recent[0] > WINDOW_S:
                recent.popleft()
            if len(recent) >= self._restarts:
                logger.error(
                    "the daemon died too often; see why, then start it with --continue",
                    extra={"restarts": len(recent), "within_s": WINDOW_S, "exit_code": code},
                )
                return FAILED
            delay_s = min(LARGEST_DELAY_S, FIRST_DELAY_S * 2 ** len(recent))
            recent.append(now)
            logger.warning(
                "the daemon died and is started again",
                extra={"exit_code": code, "restart": len(recent), "delay_s": delay_s},
            )
            self._wait(delay_s)
            if self._is_stopped():
                return FAILED
            command = self._again

    def _is_stopped(self) -> bool:
        return self._stopped_by is not None

    def _once(self, command: Sequence[str]) -> int:
        """Runs the command once, and hands on what the supervisor is told to do."""
        # A group of its own: Ctrl-C reaches the supervisor alone, and the child through it, once.
        child = subprocess.Popen(  # noqa: S603 (our own program, with its own arguments)
            [sys.executable, "-m", "onlineflows", *command], process_group=0
        )

        def hand_on(number: int, _frame: FrameType | None) -> None:
            self._stopped_by = number
            child.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)

        handled = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and sys.stdin.isatty():
            handled.append(signal.SIGHUP)
        previous = {number: signal.signal(number, hand_on) for number in handled}
        try:
            return child.wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _wait(self, delay_s: float) -> None:
        """Waits, unless a stop is asked for in between."""

        def stop(number: int, _frame: FrameType | None) -> None:
            self._stopped_by = number

        previous = {n: signal.signal(n, stop) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            until = self._clock() + delay_s
            while self._stopped_by is None and self._clock() < until:
                self._sleep(TURN_S)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _has_died(code: int, *, is_over: bool) -> bool:
    """Whether a start may mend it: killed, hung or crashed, but not ended, refused or diverged."""
    return code < 0 or (code not in (DONE, BAD_INPUT) and not is_over)


def _was_interrupted(ledger: Path) -> bool:
    """Whether the accounts are those of a run that was left before its end."""
    try:
        return bool(json.loads(ledger.read_text())["condition"] == "INTERRUPTED")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _stamp(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
