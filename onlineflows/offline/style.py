"""How figures look, how they are made without global state, and how they are saved."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import mplhep
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from onlineflows.errors import ConfigError
from streams.schema import Feature

MODEL = "#e42536"
REFERENCE = "#5790fc"
BAND = "#9c9ca1"
CURVES = {
    "data": ("CWoLa on all data", "#5790fc", "-"),
    "snapshot": ("CWoLa on the snapshot", "#e42536", "-"),
    "byte_equal": ("CWoLa on stored events of equal size", "#f89c20", "-"),
    "optimum": ("optimum (likelihood ratio)", "#31313a", (0, (5, 2))),
}
"""Legend, colour and line of each curve; the colours are Petroff's (2107.02270)."""

_SYMBOLS = {
    "mjj": r"$m_{jj}$",
    "mJ1": r"$m_{J_1}$",
    "mJ2": r"$m_{J_2}$",
    "dmJ": r"$\Delta m_J$",
    "tau21J1": r"$\tau_{21}^{J_1}$",
    "tau21J2": r"$\tau_{21}^{J_2}$",
    "tau32J1": r"$\tau_{32}^{J_1}$",
    "tau32J2": r"$\tau_{32}^{J_2}$",
    "dRJJ": r"$\Delta R_{JJ}$",
}

_RC: dict[Any, Any] = {
    **mplhep.style.CMS,
    "font.size": 13.0,
    "axes.unicode_minus": True,
    "axes.linewidth": 1.1,
    "axes.labelsize": "medium",
    "legend.fontsize": 11.0,
    "legend.handlelength": 1.8,
    "mathtext.fallback": "stixsans",
    "xtick.major.size": 6.0,
    "xtick.minor.size": 3.0,
    "ytick.major.size": 6.0,
    "ytick.minor.size": 3.0,
    "xtick.major.pad": 4.0,
    "figure.dpi": 100.0,
    "savefig.dpi": 200.0,
    "svg.fonttype": "path",
    "svg.hashsalt": "onlineflows",
    "pdf.fonttype": 42,
}


@contextmanager
def styled() -> Iterator[None]:
    """Applies the style while figures are drawn or saved, and restores what was there."""
    with mpl.rc_context(_RC):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of this size in inches, unknown to pyplot."""
    engine = ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.06, hspace=0.01, wspace=0.02)
    figure = Figure(figsize=(width, height), layout=engine)
    FigureCanvasAgg(figure)
    return figure


def axis_label(feature: Feature) -> str:
    """Returns the symbol of a feature with its unit."""
    symbol = symbol_of(feature)
    return f"{symbol} [{feature.unit}]" if feature.unit else symbol


def symbol_of(feature: Feature) -> str:
    """Returns the symbol of a feature, its name where none is known."""
    return _SYMBOLS.get(feature.name, feature.name.replace("$", r"\$"))


def title(axes: Axes, right: str) -> None:
    """Writes the program's name and what is shown above a panel."""
    axes.set_title("OnlineFlows", loc="left", fontweight="bold", fontsize="medium")
    axes.set_title(right, loc="right", fontsize="small")


def save_figure(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Writes NAME.png and NAME.pdf into a folder, which is made, and returns both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    png, pdf = folder / f"{name}.png", folder / f"{name}.pdf"
    with styled():
        _freeze_layout(figure)
        figure.savefig(png, format="png")
        # Without a date the same figure gives the same bytes.
        figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
    return png, pdf


def save_page(figure: Figure, path: Path) -> None:
    """Writes a figure into one file; the suffix chooses the format.

    Raises:
        ConfigError: the file can't be written.
    """
    try:
        with styled():
            figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"{path}: expected a file to draw into; got {error}") from error


def as_data_uri(figure: Figure) -> str:
    """Returns the figure as an SVG in a data URI, to be embedded in a page."""
    stream = io.BytesIO()
    with styled():
        _freeze_layout(figure)
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _freeze_layout(figure: Figure) -> None:
    """Lays the figure out once; matplotlib would do it again for every format."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
