"""A daemon's signs of life: health file, service manager, and a watchdog for a loop that hangs."""

import faulthandler
import logging
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TextIO

from onlineflows.cli.health import HealthFile
from onlineflows.cli.systemd import Notifier
from streams.settings import OperationConfig

logger = logging.getLogger(__name__)

EVERY_S = 1.0
"""How often the health file and the status line are renewed, at most."""


class Vitals:
    """Call `beat` from the loop, as often as it turns: that it is called is the sign of life.

    If it isn't for `operation.stall_s`, the stacks of all threads are written to standard error
    by a thread of the interpreter's own, which needs no lock that the loop may hold, again after
    as long; with `operation.exit_when_stalled` the process then ends itself with exit code 1.
    Once the loop turns again, that is logged and counted.

    Args:
        health: the daemon's health file; None for none.
        config: when a loop is taken to hang.
        notifier: tells the service manager.
        clock: seconds that never go back.
        stacks: where the stacks go; None for standard error. Must be a file of the system's.

    Attributes:
        n_stalls: how often the loop hung, so far.
    """

    def __init__(
        self,
        health: HealthFile | None,
        config: OperationConfig,
        *,
        notifier: Notifier | None = None,
        clock: Callable[[], float] = time.monotonic,
        stacks: TextIO | None = None,
    ) -> None:
        self.n_stalls = 0
        self._health = health
        self._config = config
        self._notifier = notifier or Notifier(environment={})
        self._clock = clock
        self._stacks = stacks
        self._last_s = clock()
        self._armed_s = self._renewed_s = -float("inf")
        self._is_ready = False
        self._state = "waiting"
        self._counters: Mapping[str, Any] = {}

    def beat(self, state: str, counters: Mapping[str, Any], status: str = "") -> None:
        """Shows life.

        Args:
            state: "waiting" or "running", or "stalled" for what waits for another in vain.
            counters: what to write into the health file; plain JSON types.
            status: one line for the service manager.
        """
        now = self._clock()
        silent_s, self._last_s = now - self._last_s, now
        stall_s = self._config.stall_s
        if stall_s and silent_s > stall_s:
            self.n_stalls += 1
            logger.warning(
                "the main loop hung and goes on",
                extra={"silent_s": round(silent_s, 1), "n_stalls": self.n_stalls},
            )
        if stall_s and now - self._armed_s >= stall_s / 10:
            self._arm(now)
        is_new = state != self._state
        self._state, self._counters = state, counters
        if now - self._renewed_s >= self._every_s or is_new:
            self._renew(now, status)

    @property
    def _every_s(self) -> float:
        watchdog_s = self._notifier.watchdog_s
        return min(EVERY_S, watchdog_s / 3) if watchdog_s else EVERY_S

    def _arm(self, now: float) -> None:
        self._armed_s = now
        if self._stacks is None and not _has_descriptor(sys.stderr):
            return
        faulthandler.dump_traceback_later(
            self._config.stall_s,
            repeat=True,
            file=self._stacks or sys.stderr,
            exit=self._config.exit_when_stalled,
        )

    def _renew(self, now: float, status: str) -> None:
        self._renewed_s = now
        if not self._is_ready:
            self._is_ready = True
            self._notifier.ready()
        self._notifier.alive()
        if status:
            self._notifier.status(status)
        self._write(self._state)

    def end(self, condition: str, error: str = "") -> None:
        """Leaves the last word in the health file, if the loop ever turned.

        Args:
            condition: how the run ended.
            error: why, where it failed.
        """
        if not self._is_ready:
            return
        named = {"INTERRUPTED": "stopped", "ABORTED": "failed"}
        state = "failed" if error else named.get(condition, "ended")
        self._write(state, {"condition": condition, **({"error": error} if error else {})})

    def _write(self, state: str, more: Mapping[str, Any] | None = None) -> None:
        if self._health is not None:
            self._health.write(state, {**self._counters, "n_stalls": self.n_stalls, **(more or {})})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._notifier.stopping()
        if self._armed_s > -float("inf"):
            faulthandler.cancel_dump_traceback_later()
        if error is not None:
            self.end("ABORTED", error=str(error) or type(error).__name__)


def _has_descriptor(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.fileno() >= 0
    except (OSError, ValueError):  # something that a test has put in its place
        return False
