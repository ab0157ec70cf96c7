"""Pages of reports and snapshots: each one HTML file that needs no other and fetches nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import jinja2
from matplotlib.figure import Figure

from onlineflows.offline.changes import newest_nll
from onlineflows.offline.closure import ESTIMATES
from onlineflows.offline.style import as_data_uri
from onlineflows.online.snapshot import Snapshot

WIDE = 1.4
"""Figures that are wider than so many heights have a line of the page to themselves."""

_CAPTIONS = {
    "sic": "Significance improvement against signal efficiency. A line begins where the floor of "
    "background events is reached; bands are one standard deviation: binomial, or the spread of "
    "the draws for the stored events.",
    "roc": "Background rejection against signal efficiency.",
    "methods": "The largest significance improvement of each method. Errors: standard deviation "
    "over trainings, or that of the evaluation set where there is one training.",
    "bump_data": "The data before and after cuts that keep a fraction of the events outside the "
    "signal region, with dijet fits to the events outside it. Pull: (events - fit) / standard "
    "deviation of the events.",
    "bump_samples": "The same in samples that nothing was trained on, scaled to the events seen. "
    "Their errors are those of the events that the density was learned from and of the draw.",
    "closure": "Background predicted after a cut over the true one. The band is 10 %.",
    "compression": "What a search finds with stored events, and with the snapshot: they are equal "
    "at f*; the snapshot takes as many bytes as the fraction f_store of the events.",
    "spectrum": "The resonant feature with signal region and sidebands.",
    "marginals": "Every feature of the snapshot's samples, beside data where there are any. Ratio: "
    "points with the samples' statistical error, band with that of the data.",
    "correlations": "Spearman's rank correlations, and their difference where there are data.",
    "models": "What each model says of the resonant feature: densities of their own regions.",
    "nll": "Negative log-likelihood of new events before they were trained on.",
}


def render_page(
    report: Mapping[str, Any], rows: Sequence[Any], figures: Mapping[str, Figure]
) -> str:
    """Returns the report as one HTML page with its figures inside.

    Args:
        report: the content of report.json.
        rows: lines of the comparison with name, max_sic, auc, trained_on.
        figures: figures by name, in the order they are shown.
    """
    content = {"report": report, "rows": rows, "estimates": ESTIMATES}
    return _rendered("report.html.j2", str(report["run"]), content, figures)


def render_snapshot_page(
    snapshot: Snapshot, facts: Mapping[str, str], figures: Mapping[str, Figure], *, nbytes: int
) -> str:
    """Returns what a snapshot holds as one HTML page with its figures inside.

    Args:
        snapshot: what is shown.
        facts: name and value of what is worth knowing, in the order they are shown.
        figures: figures by name, in the order they are shown.
        nbytes: size of the snapshot's files in bytes.
    """
    manifest = snapshot.manifest
    content = {
        "manifest": manifest,
        "document": asdict(manifest),
        "schema": snapshot.schema,
        "n_parameters": snapshot.n_parameters,
        "nbytes": nbytes,
        "nll": newest_nll(manifest),
        "facts": facts,
    }
    return _rendered("snapshot.html.j2", manifest.run_name, content, figures)


def _rendered(
    template: str, title: str, content: Mapping[str, Any], figures: Mapping[str, Figure]
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("onlineflows.offline"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["size"] = readable_size
    shown = [
        {
            "name": name,
            "uri": as_data_uri(figure),
            "caption": _CAPTIONS.get(name, ""),
            "is_wide": figure.get_figwidth() > WIDE * figure.get_figheight(),
        }
        for name, figure in figures.items()
    ]
    return environment.get_template(template).render(title=title, figures=shown, **content)


def readable_size(nbytes: float) -> str:
    """Returns a size in bytes with a decimal prefix.

    Example:
        >>> readable_size(114_688), readable_size(20e6)
        ('114.7 kB', '20.0 MB')
    """
    size = float(nbytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
