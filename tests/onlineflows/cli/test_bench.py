"""`onlineflows bench`: every benchmark runs, at sizes that measure nothing, and yields its rows."""

import json

import pytest

from onlineflows.cli.main import STUDIES as ON_THE_STANDIN
from onlineflows.cli.main import Bench, main

KEYS = {
    "flow",
    "features",
    "context",
    "batch",
    "threads",
    "dtype",
    "isa",
    "events_per_s",
    "spread",
    "peer",
    "peer_version",
    "peer_events_per_s",
    "ratio",
    "floor_fraction",
}


STUDIES = {Bench.SEARCH, Bench.DECORRELATION, Bench.TAN, Bench.FETA, *ON_THE_STANDIN}
"""What trains many models: other rows, resumable."""
TWO_PROCESSES = pytest.param(Bench.E2E, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "name", [TWO_PROCESSES, *(n for n in Bench if n not in {Bench.E2E, *STUDIES})]
)
def test_a_benchmark_yields_a_head_rows_and_a_tail(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", name, "--quick", "--json", "--quiet"]) == 0
    head, *rows, tail = map(json.loads, capsys.readouterr().out.splitlines())
    assert head["bench"] == name
    assert {"machine", "versions", "date", "ceilings"} <= set(head)
    assert rows
    assert all(set(row) >= KEYS and row["events_per_s"] > 0 for row in rows)
    assert set(tail) == {"load_after", "wall_s"}


def test_people_get_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "logprob", "--quick", "--quiet"]) == 0
    written = capsys.readouterr().out
    assert "Log densities" in written
    assert "spline AR" in written


def test_a_benchmark_cannot_be_both_quick_and_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "train", "--quick", "--full"]) == 2
    assert "choose one" in capsys.readouterr().err
