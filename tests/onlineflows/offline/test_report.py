"""report.json, report.html and the files around them."""

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from onlineflows.offline.compression import compare_with_stored
from onlineflows.offline.curves import sic_figure
from onlineflows.offline.distance import Distance
from onlineflows.offline.inspection import History
from onlineflows.offline.likeness import LikenessConfig, likeness
from onlineflows.offline.material import Material
from onlineflows.offline.report import (
    Document,
    RunFacts,
    build_report,
    summary_rows,
    validation_figures,
    write_report,
)
from onlineflows.offline.scores import Evaluation, MethodResult, rate_score
from onlineflows.offline.searches import SnapshotSearches, StoredCurve, Yields
from onlineflows.offline.validate import Comparison, Findings, MethodLine
from onlineflows.settings import ValidateConfig
from streams.schema import EventSchema, Feature

RUN = RunFacts(
    name="demo <1>",
    created="2030-01-01 12:00 UTC",
    snapshot_nbytes=120_000,
    events_seen=1_000_000,
    event_nbytes=20,
    facts={"flow": "3 blocks"},
)
DISTANCE = Distance(nats=0.0123, error=0.0004, n_events=1000, n_outside=0)


def rated(shift: float) -> MethodResult:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 2000)
    return rate_score(rng.normal(size=2000) + shift * label, label, min_background=50)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return Comparison(
        data=rated(1.0),
        snapshot=rated(0.9),
        byte_equal=rated(0.2),
        optimum=rated(1.2),
        n_byte_equal=6000,
        n_draws=10,
        n_untrainable=0,
        n_signal=1000,
        n_background=1000,
        seconds={"data": 1.0, "snapshot": 1.0, "byte_equal": 2.0},
    )


@pytest.fixture(scope="module")
def report(comparison: Comparison) -> Document:
    return build_report(Findings(comparison), RUN, ValidateConfig(), distance=DISTANCE)


@pytest.fixture(scope="module")
def folder(
    comparison: Comparison, report: Document, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    target = tmp_path_factory.mktemp("run") / "report"
    write_report(target, report, Findings(comparison), {"sic": sic_figure(comparison.curves)})
    return target


class Links(HTMLParser):
    """Collects everything that a browser would fetch or follow."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        named = ("href", "src", "srcset", "action", "data", "poster")
        self.found += [value or "" for name, value in attrs if name in named]


def test_the_report_can_be_read_back_as_it_was(folder: Path, report: Document) -> None:
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == report


@pytest.mark.parametrize("curve", ["data", "snapshot", "byte_equal", "optimum"])
@pytest.mark.parametrize("key", ["auc", "auc_error", "max_sic", "max_sic_error"])
def test_every_curve_has_its_numbers_under_stable_names(
    report: Document, comparison: Comparison, curve: str, key: str
) -> None:
    name, _, is_error = key.partition("_error") if key.endswith("_error") else (key, "", "")
    value = getattr(comparison.curves[curve], name)
    expected = value.error if key.endswith("_error") else value.value

    assert report["cwola"][curve][key] == expected
    assert is_error == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("nats_to_truth", 0.0123),
        ("nats_to_truth_error", 0.0004),
        ("snapshot_nbytes", 120_000),
        ("events_seen", 1_000_000),
        ("event_nbytes", 20),
    ],
)
def test_the_run_s_numbers_have_stable_names(report: Document, key: str, value: float) -> None:
    assert report[key] == value


def test_settings_seeds_and_versions_are_kept(report: Document) -> None:
    assert report["settings"]["signal_region"] == [3.3, 3.7]
    assert report["seeds"] == {"validate": 1}
    assert report["versions"]["numpy"] == np.__version__


def test_what_is_not_known_is_null(comparison: Comparison) -> None:
    blind = dataclasses.replace(comparison, optimum=None)

    report = build_report(Findings(blind), RUN, ValidateConfig())

    assert report["cwola"]["optimum"] is None
    assert report["nats_to_truth"] is None
    assert [row.name for row in summary_rows(report)] == [
        "all data",
        "samples of the snapshot",
        "stored events of the snapshot's size",
    ]


def test_the_summary_shows_values_with_errors(report: Document, comparison: Comparison) -> None:
    rows = {row.name: row for row in summary_rows(report)}

    best = comparison.data.max_sic
    assert rows["all data"].max_sic == f"{best.value:.2f} ± {best.error:.2f}"
    assert len(rows) == 4


def test_the_page_fetches_and_links_nothing(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(page)

    assert links.found
    assert all(link.startswith("data:image/svg+xml;base64,") for link in links.found)
    assert not links.tags & {"script", "link", "iframe", "object", "embed"}
    assert not [word for word in ("http:", "https:", "@import", "url(") if word in page]


def test_names_are_escaped_on_the_page(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")

    assert "<h1>demo &lt;1&gt;</h1>" in page


def test_figures_are_there_as_png_and_pdf(folder: Path) -> None:
    assert {p.name for p in (folder / "figures").iterdir()} == {"sic.png", "sic.pdf"}


def few_events() -> Material:
    rng = np.random.default_rng(2)
    x = rng.uniform(3, 4, (200, 1))
    evaluation = Evaluation(x, rng.integers(0, 2, 200))
    schema = EventSchema((Feature("mjj", "TeV", 0, 14),))
    return Material(schema, x, x, x, evaluation, snapshot_nbytes=1000)


@pytest.mark.parametrize("n_entries", [0, 1, 3])
def test_the_nll_is_drawn_where_there_is_a_history(comparison: Comparison, n_entries: int) -> None:
    history = History(np.arange(n_entries), np.ones(n_entries))

    figures = validation_figures(Findings(comparison), few_events(), history, ValidateConfig())

    always = {"sic", "roc", "spectrum", "marginals", "correlations"}
    assert set(figures) == (always if n_entries < 2 else always | {"nll"})


@pytest.fixture(scope="module")
def findings(comparison: Comparison) -> Findings:
    edges = np.linspace(2.9, 6.9, 41)
    hunt = {
        "cut": 0.1,
        "edges": edges.tolist(),
        "events": np.exp(12 - edges[1:]).tolist(),
        "expected": np.exp(12 - edges[1:]).tolist(),
        "scale": 2.0,
        "observed": 5000.0,
        "background": [4000.0, 50.0],
        "z_local": 12.3,
        "window": [3.4, 3.5000000000000004],
        "z_global": 3.3,
        "is_bound": True,
        "n_toys": 2000,
        "p_fit": 0.4,
    }
    line = {
        "method": "direct",
        "efficiency": 0.01,
        "predicted": [900.0, 20.0],
        "true": [1000.0, 30.0],
        "ratio": [0.9, 0.03],
    }
    return Findings(
        comparison,
        methods=(
            MethodLine("cwola", "data", comparison.data, 5),
            MethodLine("cwola", "snapshot", comparison.snapshot, 5),
        ),
        hunts={"data": [hunt], "samples": [hunt]},
        closure=(line,),
        compression=compare_with_stored(
            StoredCurve(np.array([1000, 10_000]), (np.array([1.0, 1.2]), np.array([4.0, 5.0]))),
            SnapshotSearches(np.array([3.0, 3.2]), np.array([6.0, 6.1]), np.array([0.9, 1.0])),
            yields=Yields(0.005, 0.1),
            n_seen=10_000,
            f_store=0.01,
            rng=np.random.default_rng(1),
        ),
        not_possible={"anode_data": "no <densities>"},
    )


def test_further_studies_have_figures_and_tables(findings: Findings, tmp_path: Path) -> None:
    figures = validation_figures(findings, few_events(), History(), ValidateConfig())
    report = build_report(findings, RUN, ValidateConfig())
    page = write_report(tmp_path, report, findings, {"closure": figures["closure"]}).read_text()

    assert {"methods", "bump_data", "bump_samples", "closure", "compression"} <= set(figures)
    for text in (
        "12.3 σ",
        "3.4–3.5<",
        "&gt; 3.3 σ",
        ">10 %<",
        "0.900 ± 0.030",
        "samples of the sideband model",
        "CWoLa",
    ):
        assert text in page
    assert "no &lt;densities&gt;" in page
    assert set(json.loads((tmp_path / "curves.json").read_text())) >= {"cwola on data", "data"}


def test_without_truth_the_page_says_why_and_leaves_out_what_is_rated(
    findings: Findings, tmp_path: Path
) -> None:
    unrated = Findings(None, hunts=findings.hunts, unrated="no truth labels: <why>")
    figures = validation_figures(unrated, few_events(), History(), ValidateConfig())
    report = build_report(unrated, RUN, ValidateConfig())
    page = write_report(tmp_path, report, unrated, {}).read_text()

    assert (report["cwola"], report["evaluation"]) == (None, None)
    assert report["unrated"] == "no truth labels: <why>"
    assert summary_rows(report) == []
    assert set(figures) == {"bump_data", "bump_samples", "spectrum", "marginals", "correlations"}
    shown = page.partition("<details>")[0]
    assert "Nothing rates it here: no truth labels: &lt;why&gt;." in shown
    assert not [word for word in ("max SIC", "evaluated on", "DeLong", "None") if word in shown]
    assert json.loads((tmp_path / "curves.json").read_text()) == {}


def test_tables_scroll_by_themselves(findings: Findings, tmp_path: Path) -> None:
    page = write_report(tmp_path, build_report(findings, RUN, ValidateConfig()), findings, {})
    text = page.read_text()

    assert text.count("<table>") == text.count('<div class="scroll"><table>') > 4
    assert ".scroll { overflow-x: auto; }" in text


def test_two_sample_tests_are_in_the_report(findings: Findings, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    config = LikenessConfig(n_events=400, n_sliced=200, n_null=5, n_directions=2, kernel_events=99)
    found = likeness(rng.random((400, 2)), rng.random((400, 2)), ("a", "b"), config=config, rng=rng)
    with_tests = dataclasses.replace(findings, likeness=found.document())

    report = build_report(with_tests, RUN, ValidateConfig())
    page = write_report(tmp_path, report, with_tests, {})

    assert report["likeness"]["kpd"]["value"] == found.kpd.value
    assert "Samples against data" in page.read_text()
    assert "a: shift of the mean" in page.read_text()


def test_the_equivalent_fraction_is_in_the_report(findings: Findings) -> None:
    report = build_report(findings, RUN, ValidateConfig())

    assert 0.1 < report["compression"]["equivalent_significance"]["f"] <= 1
    assert report["methods"][0]["title"] == "CWoLa"


def test_the_points_of_the_curves_are_kept(folder: Path, comparison: Comparison) -> None:
    points = json.loads((folder / "curves.json").read_text(encoding="utf-8"))

    np.testing.assert_array_equal(points["data"]["sic"], comparison.data.curve.sic)


def test_numbers_that_json_cannot_hold_are_refused(
    comparison: Comparison, report: Document, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_report(tmp_path, {**report, "nats_to_truth": float("nan")}, Findings(comparison), {})

    assert not (tmp_path / "report.json").exists()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"nats_to_truth_outside": 7}, "7 held-out events have no density"),
        ({"nats_to_truth": None}, "nats per event"),
    ],
)
def test_the_page_says_what_is_unusual(
    comparison: Comparison, report: Document, tmp_path: Path, changes: Document, text: str
) -> None:
    page = write_report(tmp_path, {**report, **changes}, Findings(comparison), {}).read_text(
        "utf-8"
    )

    assert (text in page) is (changes.get("nats_to_truth", 0) is not None)
