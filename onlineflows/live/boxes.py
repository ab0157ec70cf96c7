"""Boxes of the page: a figure, a table. What is in them is sent when it changes, and only then."""

from typing import Any

from nicegui import ui

from onlineflows.live.echarts import Options


class Plot:
    """A box with a figure; sent to the browser only when it changes."""

    def __init__(self, name: str, what: str) -> None:
        with ui.element("div").classes("of-box").props(f"data-what={what}"):
            self._name = ui.label(name).classes("of-name")
            with ui.element("div").classes("of-plot"):
                self._chart = ui.echart({}, renderer="svg")

    def rename(self, name: str) -> None:
        """Puts another name above the figure."""
        self._name.set_text(name)

    def show(self, options: Options) -> None:
        """Draws the figure if it isn't the one that is there."""
        if self._chart.options != options:
            self._chart.options.clear()
            self._chart.options.update(options)
            self._chart.update()


class Table:
    """A box with a table; sent to the browser only when it changes."""

    def __init__(self, name: str, columns: dict[str, str], what: str) -> None:
        named = [
            {"name": key, "label": label, "field": key, "align": "left" if i == 0 else "right"}
            for i, (key, label) in enumerate(columns.items())
        ]
        with ui.element("div").classes("of-box").props(f"data-what={what}") as self._box:
            ui.label(name).classes("of-name")
            self._table = ui.table(rows=[], columns=named, row_key="key")
            self._table.props('dense flat hide-pagination :rows-per-page-options="[0]"')
            self._table.props('no-data-label="none yet"').style("width: 100%")

    def show(self, rows: list[dict[str, Any]], *, is_shown: bool = True) -> None:
        """Shows other rows if they aren't those that are there."""
        self._box.set_visibility(is_shown)
        if self._table.rows != rows:
            self._table.rows = rows
