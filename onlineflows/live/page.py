"""The page: boxes that are filled once a second with what is known of the run.

It only shows: nothing on it changes the run. Each browser has a page of its own; one that stalls
holds up nothing but itself.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nicegui import ui

from onlineflows.live import figures
from onlineflows.live.boxes import Grid, Plot, Table
from onlineflows.live.brief import learner_rows, ledger_rows, snapshot_row, tiles_of
from onlineflows.live.draws import Draw
from onlineflows.live.folder import SnapshotEntry
from onlineflows.live.side_by_side import SideBySide
from onlineflows.live.watcher import Watcher

REFRESH_S = 1.0
STYLE = Path(__file__).with_name("page.css")

THEMES: dict[bool | None, tuple[str, str]] = {
    None: ("brightness_auto", "follows the system"),
    True: ("dark_mode", "dark"),
    False: ("light_mode", "light"),
}
NEXT_THEME: dict[bool | None, bool | None] = {None: True, True: False, False: None}

LISTED = 20
"""Snapshots in the table: the newest."""


class Page:
    """Draws the page into the current browser's, and keeps it up to date.

    Args:
        watcher: knows the run.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._chips: dict[str, ui.label] = {}
        self._tiles: dict[str, tuple[ui.element, ui.label, ui.label]] = {}
        ui.add_css(STYLE)
        ui.page_title(f"{watcher.state.name} · OnlineFlows")
        self._head()
        self._tile_row = ui.element("div").classes("of-tiles")
        with ui.element("div").classes("of-main"):
            self._rates = Plot("events per second", "rates")
            self._nll = Plot("NLL of new events, before they are trained on [nats]", "nll")
            self._spectrum = Plot("spectrum of the resonant feature", "spectrum")
        with ui.element("div").classes("of-heading"):
            ui.label("Newest events against the model")
            self._window = ui.label().classes("of-more")
            self._lane = ui.toggle([]).props("dense no-caps outline")
        self._marginals = Grid("marginals")
        with ui.element("div").classes("of-tables"):
            self._ledger = Table("Ledger", {"name": "", "n": "events"}, "ledger")
            with ui.element("div").classes("of-stack"):
                self._learners = Table("Learners", LEARNER_COLUMNS, "learners")
                self._snapshots = Table("Snapshots", SNAPSHOT_COLUMNS, "snapshots")
        self._comparison = SideBySide(watcher)
        self.refresh()
        ui.timer(REFRESH_S, self.refresh)
        watcher.n_viewers += 1
        ui.context.client.on_delete(self._leave)

    def _leave(self) -> None:
        self._watcher.n_viewers -= 1

    def _head(self) -> None:
        with ui.element("div").classes("of-head"):
            ui.label(self._watcher.state.name).classes("of-title")
            self._daemons = ui.element("div").classes("of-head").props("data-what=daemons")
            with ui.element("div").classes("of-push"):
                dark = ui.dark_mode(None)
                button = ui.button(icon=THEMES[None][0]).props("flat round dense color=grey")
                button.props('aria-label="light or dark" data-what=theme')
                with button:
                    said = ui.tooltip(THEMES[None][1])

                def switch() -> None:
                    dark.value = NEXT_THEME[dark.value]
                    icon, text = THEMES[dark.value]
                    button.props(f"icon={icon}")
                    said.set_text(text)

                button.on_click(switch)

    def refresh(self) -> None:
        """Shows what is known now."""
        state, now = self._watcher.state, self._watcher.clock()
        self._show_daemons(now)
        self._show_tiles(now)
        learners = state.heard_learners
        self._rates.show(
            figures.rates(
                state.producer.pace.history if state.producer else (),
                {name: daemon.pace.history for name, daemon in state.learners.items()},
            )
        )
        named = "events per second"
        self._rates.rename(named if state.producer or state.learners else f"{named}: nobody heard")
        snapshots = {name: lane.snapshots for name, lane in state.record.lanes.items()}
        self._nll.show(figures.nll(learners, snapshots))
        self._show_window(list(learners))
        self._ledger.show([{"name": name, "n": f"{n:,}"} for name, n in ledger_rows(state)])
        self._learners.show(learner_rows(state, now), is_shown=len(learners) > 1)
        self._snapshots.show(self._listed())
        self._comparison.offer({label: entry for label, (_, entry) in self._entries().items()})

    def _show_daemons(self, now: float) -> None:
        standings = self._watcher.state.standings(now)
        if not standings and "nobody" not in self._chips:
            with self._daemons:
                self._chips["nobody"] = ui.label("no daemon heard yet").classes("of-chip of-wait")
        if standings and "nobody" in self._chips:
            self._chips.pop("nobody").delete()
        for name, standing in standings.items():
            if name not in self._chips:
                with self._daemons:
                    self._chips[name] = ui.label().classes("of-chip")
            mark = "of-bad" if not standing.is_well else ""
            if standing.state in ("waiting", "paused", "ending"):
                mark = "of-wait"
            chip = self._chips[name]
            chip.set_text(f"{name}: {standing.text}")
            chip.classes(add=mark, remove=" ".join({"of-bad", "of-wait"} - {mark}))
        if n := self._watcher.n_malformed:
            if "malformed" not in self._chips:
                with self._daemons:
                    self._chips["malformed"] = ui.label().classes("of-chip of-bad")
            self._chips["malformed"].set_text(f"documents of another version: {n:,}")

    def _show_tiles(self, now: float) -> None:
        for tile in tiles_of(self._watcher.state, now):
            if tile.key not in self._tiles:
                with self._tile_row, ui.element("div").classes("of-tile") as box:
                    box.props(f"data-what=tile-{tile.key}")
                    ui.label(tile.name).classes("of-name")
                    self._tiles[tile.key] = (
                        box,
                        ui.label().classes("of-value"),
                        ui.label().classes("of-more"),
                    )
            box, value, more = self._tiles[tile.key]
            value.set_text(tile.value)
            more.set_text(tile.more)
            box.classes(**{"add" if tile.is_bad else "remove": "of-bad"})

    def _show_window(self, learners: list[str]) -> None:
        """The marginals and the spectrum of the chosen learner."""
        if list(self._lane.options) != learners:
            self._lane.set_options(
                {name: figures.short_name(name) for name in learners},
                value=self._lane.value
                if self._lane.value in learners
                else next(iter(learners), None),
            )
        self._lane.set_visibility(len(learners) > 1)
        state, name = self._watcher.state, self._lane.value
        newest = self._newest_draw(name)
        drawn = newest[1] if newest else None
        model = "no snapshot drawn yet" if newest is None else f"snapshot {newest[0]} (red)"
        if drawn and drawn.problem:
            model += f": {drawn.problem}"
        daemon = state.learners.get(name)
        if daemon is None or not daemon.newest.marginals:
            self._show_model_alone(drawn, model)
            return
        seen = daemon.newest.marginals
        self._window.set_text(f"{seen[0].n:,} newest events (blue), {model}")
        for marginal in seen:
            plot = self._marginal(marginal.name, marginal.unit)
            plot.show(figures.marginal(marginal, drawn))
        if name in state.spectra:
            spectrum = state.spectra[name]
            unit = f" [{seen[0].unit}]" if seen[0].unit else ""
            self._spectrum.rename(f"{seen[0].name}{unit} of {spectrum.n:,} events heard")
            self._spectrum.show(figures.spectrum(spectrum, drawn, state.record))

    def _show_model_alone(self, drawn: Draw | None, model: str) -> None:
        """What a snapshot holds, of a run whose events were never heard."""
        self._window.set_text(f"no events heard, {model}")
        if drawn is None or not len(drawn.x):
            return
        for feature in drawn.features:
            self._marginal(feature.name, feature.unit).show(figures.density(feature.name, drawn))
        resonant = drawn.features[0]
        self._spectrum.rename(f"{resonant.label} of {len(drawn.x):,} events drawn from the model")
        self._spectrum.show(figures.density(resonant.name, drawn, self._watcher.state.record))

    def _marginal(self, name: str, unit: str) -> Plot:
        label = f"{name} [{unit}]" if unit else name
        return self._marginals.plot(name, label, f"marginal-{name}")

    def _newest_draw(self, learner: str | None) -> tuple[str, Draw] | None:
        """The newest snapshot of a learner that was drawn from, and what was drawn."""
        lane = self._watcher.state.record.lanes.get(learner or "")
        if lane is None:
            return None
        # While the newest is being drawn from, one before it is shown.
        for entry in reversed(lane.snapshots):
            if (drawn := self._watcher.draws.get(entry.key)) is not None:
                return entry.name, drawn
        return None

    def _entries(self) -> dict[str, tuple[str, SnapshotEntry]]:
        """Learner and snapshot by what that is called on the page."""
        lanes = self._watcher.state.record.lanes
        several = len(lanes) > 1
        return {
            f"{figures.short_name(name)} {entry.name}" if several else entry.name: (name, entry)
            for name, lane in lanes.items()
            for entry in lane.snapshots
        }

    def _listed(self) -> list[dict[str, Any]]:
        state = self._watcher.state
        rows = [
            (entry.stamp, snapshot_row(label, entry, state.lumisections.get((name, entry.name))))
            for label, (name, entry) in self._entries().items()
        ]
        return [row for _, row in sorted(rows, key=lambda r: r[0], reverse=True)[:LISTED]]


LEARNER_COLUMNS = {
    "learner": "learner", "trained": "trained", "speed": "speed", "buffer": "buffer", "nll": "NLL",
    "alarms": "alarms", "snapshot": "snapshot",
}  # fmt: skip
SNAPSHOT_COLUMNS = {
    "name": "snapshot", "gate": "gate: of at most", "nll": "NLL", "n_seen": "events seen",
    "lumisection": "lumisection", "created": "created, UTC", "nbytes": "size",
}  # fmt: skip


def page_of(watcher: Watcher) -> Callable[[], None]:
    """Returns what draws the page for each browser that comes."""

    def draw() -> None:
        Page(watcher)

    return draw
