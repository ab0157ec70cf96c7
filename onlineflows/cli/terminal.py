"""A run at a glance in the terminal of a daemon: what the live page shows, in a few lines.

It hears the same telemetry as the page and is drawn in the daemon's own loop, at most four times a
second; there is no thread.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
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
GAP = 2
"""Between columns."""


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
    lines: list[RenderableType] = [head, Numbers(tiles)]
    for name, said in state.heard_learners.items():
        line = sparkline([point.nll for point in said.history], width=48)
        if line:
            named = (
                "NLL" if len(state.heard_learners) == 1 else f"NLL {name.removeprefix('train ')}"
            )
            lines.append(Text(f"{named} {line}"))
    return Group(*lines)


class Numbers:
    """The numbers that matter now, in three lines: as much is said of each as has room.

    Args:
        tiles: by their keys.
    """

    def __init__(self, tiles: Mapping[str, Tile]) -> None:
        self._tiles = tiles

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        cells = self._cells(options.max_width)
        table = Table.grid(padding=(0, GAP))
        for keys in zip_longest(*COLUMNS, fillvalue=""):
            table.add_row(*(cells.get(key, "") for key in keys))
        yield table

    def _cells(self, width: int) -> dict[str, Text]:
        """What is written of each; more of those that somebody should look at, then the shortest.

        Args:
            width: letters of a line.
        """
        cells = {key: _cell(self._tiles[key], "") for keys in COLUMNS for key in keys}
        widths = [max(cells[key].cell_len for key in keys) for keys in COLUMNS]
        room = width - GAP * (len(COLUMNS) - 1)
        columns = {key: i for i, keys in enumerate(COLUMNS) for key in keys}
        explained = [self._tiles[key] for key in columns if self._tiles[key].more]
        for tile in sorted(explained, key=lambda tile: (not tile.is_bad, len(tile.more))):
            cell, i = _cell(tile, f" ({tile.more})"), columns[tile.key]
            wider = [*widths[:i], max(widths[i], cell.cell_len), *widths[i + 1 :]]
            if sum(wider) <= room:
                cells[tile.key], widths = cell, wider
        return cells


def _cell(tile: Tile, more: str) -> Text:
    cell = Text(f"{tile.name} ")
    cell.append(tile.value, style="bold red" if tile.is_bad else "bold")
    cell.append(more, style="dim")
    return cell
