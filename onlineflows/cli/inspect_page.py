"""The pages of `onlineflows inspect`: one as PNG or PDF, one as HTML."""

import tempfile
import webbrowser
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from onlineflows.cli.events import collected, open_events
from onlineflows.cli.inspect import Drawn, history_of
from onlineflows.cli.output import require_figure, require_folder
from onlineflows.cli.progress import progress
from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.distributions import TwoSamples, correlations_figure, marginals_figure
from onlineflows.offline.inspection import (
    Spectrum,
    inspect_figure,
    nll_figure,
    spectra_figure,
)
from onlineflows.offline.page import render_snapshot_page
from onlineflows.offline.style import save_page
from onlineflows.online.durable import write_file
from onlineflows.online.snapshot import Snapshot, snapshot_nbytes

FIGURE_EVENTS = 500_000
"""Events drawn for a figure; of a reference as many are read at most."""
SPECTRUM_POINTS = 400
QUANTILES = (1e-4, 1 - 1e-4)
"""Of the samples: where spectra of the resonant feature end."""


def draw(
    path: Path, snapshot: Snapshot, facts: Mapping[str, str], drawn: Drawn, *, quiet: bool
) -> dict[str, Path | None]:
    """Draws a snapshot and opens the page if asked to; returns the files by what they are.

    Raises:
        ConfigError: a file has the wrong ending or there is no folder for it.
        DataError: a page can't be written.
        InputError, SchemaError: there are no events of this schema to draw beside.
    """
    if drawn.figure is not None:
        require_figure(drawn.figure)
    page = _page_of(path, snapshot, drawn)
    reference = None
    if drawn.data is not None:
        source = open_events(drawn.data, snapshot.schema, drawn.overrides)
        reference = collected(source, FIGURE_EVENTS).x
    with progress("drawing", quiet=quiet):
        drawn_events = snapshot.density().sample(FIGURE_EVENTS, seed=1)
        samples = TwoSamples(snapshot.schema_of(), drawn_events, reference)
        spectra = spectra_of(snapshot, samples)
        history = history_of(snapshot.manifest)
        if drawn.figure is not None:
            save_page(inspect_figure(facts, samples, history, spectra), drawn.figure)
        if page is not None:
            figures = {"marginals": marginals_figure(samples), "nll": nll_figure(history)}
            if len(spectra) > 1:
                figures["models"] = spectra_figure(snapshot.schema.resonant, spectra)
            figures["correlations"] = correlations_figure(samples)
            _write_page(path, snapshot, facts, figures, page)
    if page is not None and drawn.opens:
        webbrowser.open(page.resolve().as_uri())
    return {"figure": drawn.figure, "page": page}


def spectra_of(snapshot: Snapshot, samples: TwoSamples) -> list[Spectrum]:
    """Returns p(m) of every model that has a density, in its own support."""
    ends = np.quantile(samples.model[:, 0], QUANTILES)
    spectra = []
    for entry in snapshot.manifest.models:
        if not entry.is_fitted:
            continue
        support = snapshot.schema_of(entry.name).resonant
        low, high = max(float(ends[0]), support.low), min(float(ends[1]), support.high)
        if not low < high:  # a window beyond everything that is drawn
            low, high = support.low, support.high
        # Middles of cells: on an edge of a support log p is that of a point, not of its neighbours.
        steps = np.arange(SPECTRUM_POINTS) + 0.5
        m = np.asarray(low + steps * (high - low) / SPECTRUM_POINTS, dtype=np.float64)
        density = np.exp(snapshot.density(entry.name).log_prob_resonant(m))
        spectra.append(Spectrum(entry.name, m, density))
    return spectra


def _page_of(path: Path, snapshot: Snapshot, drawn: Drawn) -> Path | None:
    """Returns where the HTML page goes: a folder for temporary files where it is only opened."""
    if drawn.page is not None:
        if drawn.page.suffix not in (".html", ".htm"):
            raise ConfigError(f"--html: expected a name ending in .html; got {drawn.page.name}")
        require_folder(drawn.page, "--html")
        return drawn.page
    if not drawn.opens:
        return None
    name = f"{snapshot.manifest.run_name}-{path.name}.html".replace("/", "-")
    return Path(tempfile.mkdtemp(prefix="onlineflows-")) / name


def _write_page(
    path: Path,
    snapshot: Snapshot,
    facts: Mapping[str, str],
    figures: Mapping[str, Figure],
    page: Path,
) -> None:
    content = render_snapshot_page(snapshot, facts, figures, nbytes=snapshot_nbytes(path))
    try:
        write_file(page, content.encode())
    except OSError as error:
        raise DataError(f"{page}: expected a page to write; got {error}") from error
