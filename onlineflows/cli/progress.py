"""Progress of anything that takes longer than two seconds: a bar on a terminal, else lines."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

logger = logging.getLogger(__name__)

Clock = Callable[[], float]


class Track(Protocol):
    """What a loop calls: ``track(done)`` with the number of things done so far."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Shows that `done` things are done, of `total` where that became known."""


@contextmanager
def progress(
    label: str,
    total: int | None = None,
    *,
    quiet: bool = False,
    in_bytes: bool = False,
    console: Console | None = None,
    clock: Clock = time.monotonic,
) -> Iterator[Track]:
    """Shows progress on standard error while the block runs.

    Args:
        label: what is being done.
        total: how many things there are to do; None when that isn't known.
        quiet: show nothing.
        in_bytes: the things are bytes: say how many, with a prefix, and how fast.
        console: where to; None for standard error. Lines instead of a bar where that is no
            terminal: one after two seconds, then after twice the time of the last.
        clock: seconds; for tests.
    """
    console = console or Console(stderr=True)
    if quiet:
        yield _ignore
    elif console.is_terminal:
        counts = (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(),)
        columns = (TextColumn("{task.description}"), BarColumn(), *counts)
        with Progress(
            SpinnerColumn(), *columns, TimeRemainingColumn(), console=console, transient=True
        ) as bar:
            task = bar.add_task(label, total=total)
            yield lambda done, total=None: bar.update(task, completed=done, total=total)
    else:
        yield _Lines(label, total, clock)


def _ignore(done: int, total: int | None = None) -> None:
    """Shows nothing."""


class _Lines:
    """Sparse log lines: a few for a short task, not thousands for a long one."""

    def __init__(self, label: str, total: int | None, clock: Clock) -> None:
        self._label = label
        self._total = total
        self._clock = clock
        self._start_s = clock()
        self._next_s = 2.0

    def __call__(self, done: int, total: int | None = None) -> None:
        """Writes a line when one is due."""
        self._total = self._total if total is None else total
        elapsed_s = self._clock() - self._start_s
        if elapsed_s < self._next_s:
            return
        self._next_s = max(2 * self._next_s, elapsed_s)
        fields: dict[str, float] = {"done": done, "elapsed_s": round(elapsed_s, 1)}
        if self._total:
            fields["total"] = self._total
            fields["percent"] = round(100 * done / self._total, 1)
        logger.info(self._label, extra=fields)
