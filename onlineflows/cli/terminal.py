"""A run at a glance in the terminal of a daemon: what the live page shows, in a few lines.

It hears the same telemetry as the page and is drawn in the daemon's own loop, at most four times a
second; there is no thread.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from onlineflows.cli.logs import logging_through
from onlineflows.cli.progress import Clock, Track, progress
from onlineflows.live.brief import Tile, sparkline, tiles_of
from onlineflows.live.places import places_of
from onlineflows.live.state import RunState
from streams.console import Listener, Pulse

EVERY_S = 0.25
"""How often the view is drawn at most."""

COLUMNS = (("rate", "speed", "nll"), ("dead", "buffer", "alarms"), ("credit", "snapshot"))
"""Numbers by column."""


@contextmanager
def watching(
    label: str,
    folder: Path,
    total: int | None = None,
    *,
    quiet: bool = False,
    console: Console | None = None,
    clock: Clock = time.monotonic,
) -> Iterator[Track]:
    """Shows a run on standard error while the block runs; lines where that is no terminal.

    Args:
        label: what the daemon does.
        folder: the run directory, whose daemons are listened to.
        total: how many events there are; None when that isn't known.
        quiet: show nothing.
        console: where to; None for standard error.
        clock: seconds; for tests.
    """
    console = console or Console(stderr=True)
    if quiet or not console.is_terminal:
        with progress(label, total, quiet=quiet, console=console, clock=clock) as track:
            yield track
        return
    with (
        Listener(places_of(folder)) as listener,
        Live(console=console, auto_refresh=False, transient=True) as live,
        logging_through(console),
    ):
        yield View(label, total, RunState(folder.name), listener, live, clock)


class View:
    """Draws what is known of a run; call it as often as the loop turns.

    Args:
        label: what the daemon does.
        total: how many events there are; None when that isn't known.
        state: what is known.
        listener: hears more.
        live: where to draw.
        clock: seconds.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        state: RunState,
        listener: Listener,
        live: Live,
        clock: Clock,
    ) -> None:
        self._label = label
        self._total = total
        self._state = state
        self._listener = listener
        self._live = live
        self._clock = clock
        self._pulse = Pulse(EVERY_S, clock())

    def __call__(self, done: int, total: int | None = None) -> None:
        """Draws when that is due."""
        self._total = self._total if total is None else total
        now = self._clock()
        if not self._pulse.is_due(now):
            return
        for name, document in self._listener.listen(0.0):
            self._state.hear(name, document, now)
        shown = view_of(self._state, now, self._label, done, self._total)
        self._live.update(shown, refresh=True)


def view_of(
    state: RunState, now: float, label: str, done: int, total: int | None
) -> RenderableType:
    """Returns a run at a glance.

    Args:
        state: what is known of it.
        now: seconds that never go back, as those that the state was told.
        label: what the daemon does.
        done: events that it has done.
        total: of how many; None when that isn't known.
    """
    head = Table.grid(padding=(0, 1))
    of = f"{label} {done:,}" + (f" of {total:,}" if total else "")
    head.add_row(Text(of, style="bold"), ProgressBar(total or None, done, width=30))
    tiles = {tile.key: tile for tile in tiles_of(state, now)}
    body = Table.grid(padding=(0, 3))
    for keys in zip_longest(*COLUMNS):
        body.add_row(*(_cell(tiles[key]) if key else "" for key in keys))
    lines: list[RenderableType] = [head, body]
    for name, said in state.heard_learners.items():
        line = sparkline([point.nll for point in said.history], width=48)
        if line:
            named = (
                "NLL" if len(state.heard_learners) == 1 else f"NLL {name.removeprefix('train ')}"
            )
            lines.append(Text(f"{named} {line}"))
    return Group(*lines)


def _cell(tile: Tile) -> Text:
    more = f" ({tile.more})" if tile.more else ""
    cell = Text(f"{tile.name} ")
    cell.append(tile.value, style="bold red" if tile.is_bad else "bold")
    cell.append(more, style="dim")
    return cell
