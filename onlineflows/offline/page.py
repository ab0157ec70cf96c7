"""The page of a report: one HTML file that needs no other and fetches nothing."""

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from matplotlib.figure import Figure

from onlineflows.offline.closure import ESTIMATES
from onlineflows.offline.style import as_data_uri

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
    "marginals": "Every feature, snapshot against data. Ratio: points with the samples' "
    "statistical error, band with that of the data.",
    "correlations": "Spearman's rank correlations and their difference.",
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
    source = resources.files("onlineflows.offline").joinpath("templates/report.html.j2")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["size"] = readable_size
    shown = [
        {"name": name, "uri": as_data_uri(figure), "caption": _CAPTIONS.get(name, "")}
        for name, figure in figures.items()
    ]
    template = environment.from_string(source.read_text(encoding="utf-8"))
    return template.render(report=report, rows=rows, figures=shown, estimates=ESTIMATES)


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
