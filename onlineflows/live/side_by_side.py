"""The part of the page that lays two snapshots side by side."""

import asyncio

from nicegui import ui

from onlineflows.live import figures
from onlineflows.live.boxes import Grid
from onlineflows.live.comparison import FeatureChange, changes
from onlineflows.live.draws import Draw
from onlineflows.live.folder import SnapshotEntry
from onlineflows.live.watcher import Watcher

MEASURES = "moved on average by so many standard deviations; largest distance of the integrals (KS)"


class SideBySide:
    """Two snapshots side by side: what changed between them.

    Args:
        watcher: draws from them.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._entries: dict[str, SnapshotEntry] = {}
        self._shown: tuple[object, ...] = ()
        with ui.element("div").classes("of-heading"):
            ui.label("What changed between two snapshots")
            self._before = self._select("from", "before")
            self._after = self._select("to", "after")
            self._said = ui.label().classes("of-more")
        self._grid = Grid("comparison")

    def _select(self, label: str, what: str) -> ui.select:
        chosen = ui.select([], label=label, on_change=self._compare).props("dense outlined")
        return chosen.props(f"data-what={what}").style("min-width: 130px")

    def offer(self, entries: dict[str, SnapshotEntry]) -> None:
        """Lets the two be chosen among these; at first they are the oldest and the newest."""
        if list(entries) != list(self._entries):
            names = list(entries)
            followed = not self._entries or self._after.value == list(self._entries)[-1]
            self._entries = entries
            before = self._before.value if self._before.value in entries else None
            after = self._after.value if self._after.value in entries and not followed else None
            self._before.set_options(names, value=before or next(iter(names), None))
            self._after.set_options(names, value=after or next(reversed(names), None))
        self._entries = entries

    async def _compare(self) -> None:
        a, b = (self._entries.get(s.value or "") for s in (self._before, self._after))
        if a is None or b is None or self._shown == (a.key, b.key):
            return
        self._shown = wanted = (a.key, b.key)
        self._said.set_text("drawing events from both …")
        drawn = [await self._watcher.drawn(entry) for entry in (a, b)]
        found = await asyncio.to_thread(changes, *drawn)
        if self._shown == wanted and not self._grid.is_deleted:
            self._show(found, drawn, (f"{self._before.value}", f"{self._after.value}"))

    def _show(
        self, found: tuple[FeatureChange, ...], drawn: list[Draw], names: tuple[str, str]
    ) -> None:
        problem = next((d.problem for d in drawn if d.problem), "")
        self._said.set_text(problem or f"{names[0]} (grey), {names[1]} (red); {MEASURES}")
        for change in found:
            unit = f" [{change.unit}]" if change.unit else ""
            plot = self._grid.plot(change.name, "", f"change-{change.name}")
            plot.rename(
                f"{change.name}{unit}: {change.shift_in_widths:.3f} σ, KS {change.kolmogorov:.3f}"
            )
            plot.show(figures.change(change, *names))
