"""Keeps what is known of a run up to date: listens, looks, draws. One loop, no locks."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

from onlineflows.errors import OnlineFlowsError
from onlineflows.live.draws import Draw, Draws, draw
from onlineflows.live.folder import RunFolder, SnapshotEntry
from onlineflows.live.places import places_of
from onlineflows.live.state import RunState
from streams.console import Listener, Pulse
from streams.errors import StreamError

logger = logging.getLogger(__name__)

LISTEN_S = 0.2
"""How often the watcher takes what it has heard."""

LOOK_S = 1.0
"""How often it looks into the run directory."""


class Watcher:
    """Watches one run. A context manager; everything happens in `turn` and `watching`.

    Args:
        path: the run directory.
        clock: seconds that never go back.

    Attributes:
        state: what is known.
        draws: what was drawn from snapshots.
        n_viewers: how many browsers show the page; without any, nothing is drawn.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.state = RunState(path.resolve().name)
        self.draws = Draws()
        self.n_viewers = 0
        self.clock = clock
        self._drawing = asyncio.Lock()
        self._folder = RunFolder(path)
        self._look = Pulse(LOOK_S, clock())
        self._places = places_of(path)
        self._listener = Listener(self._places)
        self._n_malformed = 0
        self._problem = ""

    @property
    def n_malformed(self) -> int:
        """Documents that could not be understood, so far: daemons of another version speak so."""
        return self._n_malformed + self._listener.n_malformed

    def turn(self) -> None:
        """Takes in what has been said and what lies in the run directory; never waits."""
        for name, document in self._listener.listen(0.0):
            self.state.hear(name, document, self.clock())
        if self._look.is_due(self.clock()):
            self.state.look(self._folder.look())
            if (places := places_of(self.path)) != self._places:  # a lane has come
                self._listener.close()
                self._n_malformed += self._listener.n_malformed
                self._places, self._listener = places, Listener(places)

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Turns again and again while the block runs; while somebody looks, draws from the newest
        snapshots in a thread.

        What the disk refuses is logged, and looked at again. Anything else ends the turning or the
        drawing, and is logged as an error.
        """
        tasks = [asyncio.create_task(each) for each in (self._turn_for_ever(), self._draw_newest())]
        for task in tasks:
            task.add_done_callback(_log_failure)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _turn_for_ever(self) -> None:
        while True:
            try:
                self.turn()
            except (OSError, OnlineFlowsError, StreamError) as error:
                if str(error) != self._problem:  # not once a second
                    logger.warning("the run can't be looked at", extra={"problem": str(error)})
                self._problem = str(error)
            await asyncio.sleep(LISTEN_S)

    async def _draw_newest(self) -> None:
        while True:
            lanes = self.state.record.lanes.values() if self.n_viewers else ()
            for newest in [lane.snapshots[-1] for lane in lanes if lane.snapshots]:
                await self.drawn(newest)
            await asyncio.sleep(LOOK_S)

    async def drawn(self, snapshot: SnapshotEntry) -> Draw:
        """Returns events of a snapshot, drawn now if they never were."""
        async with self._drawing:  # one at a time: two would draw the same
            known = self.draws.get(snapshot.key)
            if known is None:
                known = await asyncio.to_thread(draw, snapshot.path)
                if known.problem:
                    logger.warning("no events of a snapshot", extra={"problem": known.problem})
                self.draws.keep(snapshot.key, known)
            return known

    def close(self) -> None:
        """Stops listening."""
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _log_failure(task: asyncio.Task[Any]) -> None:
    """Nobody waits for these tasks, so that nobody else would say how one of them failed."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        logger.error("the page stands still", exc_info=error)
