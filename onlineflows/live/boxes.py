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


class Grid:
    """Small boxes with figures, which share their rows as evenly as they can.

    Args:
        what: names it to programs.
    """

    def __init__(self, what: str) -> None:
        self._plots: dict[str, Plot] = {}
        self._element = ui.element("div").classes("of-small").props(f"data-what={what}")

    @property
    def is_deleted(self) -> bool:
        """Whether the browser that it was in has gone."""
        return self._element.is_deleted

    def plot(self, name: str, label: str, what: str) -> Plot:
        """Returns the figure of a name, a new one where there is none yet.

        Args:
            name: of the figure.
            label: above it at first.
            what: names it to programs.
        """
        if name not in self._plots:
            with self._element:
                self._plots[name] = Plot(label, what)
            n = len(self._plots)
            # How many fit depends on the window: page.css chooses among these.
            self._element.style("".join(f"--at-most-{m}: {n_columns(n, m)};" for m in (2, 4, 6)))
        return self._plots[name]


def n_columns(n: int, most: int) -> int:
    """Returns in how many columns boxes leave the fewest empty places: the most, or one less.

    Args:
        n: boxes.
        most: how many have room beside each other.

    Example:
        >>> [n_columns(n, 4) for n in (3, 4, 5, 6, 7, 9, 12)]
        [3, 4, 3, 3, 4, 3, 4]
    """
    if n <= most or most < 3:
        return max(min(n, most), 1)
    return min((most, most - 1), key=lambda columns: -n % columns)


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
