"""`onlineflows bench search` runs, at sizes that measure nothing, and resumes."""

import json
from pathlib import Path

import pytest

from onlineflows.bench.search import VARIANTS
from onlineflows.bench.search_table import search_tables
from onlineflows.bench.study import read_record
from onlineflows.cli.bench_search import search_setting
from onlineflows.cli.config import load_config
from onlineflows.cli.main import main

CONFIG = Path(__file__).parents[3] / "configs" / "search.toml"
LHCO_FILE = "lhco/events_anomalydetection_v2.features.80k.h5"


def run(record: Path, *options: str, name: str = "search") -> int:
    arguments = ["bench", name, "--quick", "--quiet", "--config", str(CONFIG)]
    return main([*arguments, "--output", str(record), *options])


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search") / "search.jsonl"
    assert run(path) == 0
    return path


@pytest.mark.slow
def test_every_method_is_searched_with_in_every_place(record: Path) -> None:
    rows = read_record(record).rows
    found = {
        place: {r["method"] for r in rows if r["on"] == place} for place in {r["on"] for r in rows}
    }
    everywhere = {n for n in VARIANTS if n not in ("idealised", "supervised")}

    assert found["data"] == everywhere
    assert found["snapshot"] == everywhere | {"cathode_stored"}
    assert found["byte_equal"] == everywhere - {"cathode_input", "cathode_removed"}
    assert found["truth"] == {"optimum", "idealised", "supervised"}


@pytest.mark.slow
def test_stored_events_fit_into_the_snapshot(record: Path) -> None:
    rows = read_record(record).rows
    nbytes = {r["nbytes"] for r in rows if r["on"] == "snapshot"}
    kept = {r["n_events"] for r in rows if r["on"] == "byte_equal"}

    assert len(nbytes) == len(kept) == 1
    assert kept.pop() == min(nbytes.pop() // 20, 8000)


@pytest.mark.slow
def test_a_complete_study_measures_nothing_anew(
    record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = record.read_bytes()

    assert run(record, "--json") == 0

    assert record.read_bytes() == before
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("override", "is_same"), [("flow.hidden=32", False), ("run.name=x", True)])
def test_a_cell_names_the_settings_that_it_was_measured_with(override: str, is_same: bool) -> None:
    digests = [
        search_setting(load_config(CONFIG, overrides), "standin", quick=False).digest("data")
        for overrides in ((), (override,))
    ]
    assert (digests[0] == digests[1]) is is_same


@pytest.mark.slow
def test_its_rows_make_tables(record: Path) -> None:
    table, sizes = search_tables(read_record(record).rows)

    assert (table.title, len(sizes.lines)) == ("standin, 10 % signal", 1)
    assert {"CWoLa", "ANODE", "CATHODE", "optimum"} <= {line[0] for line in table.lines}


@pytest.mark.slow
def test_a_file_is_split_into_stream_and_test(test_data: object, tmp_path: Path) -> None:
    path = test_data(LHCO_FILE)  # type: ignore[operator]

    assert run(tmp_path / "x.jsonl", "--dataset", str(path)) == 0

    lines = (tmp_path / "x.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["cell"]["dataset"] == "events_anomalydetection_v2"


@pytest.mark.slow
def test_searches_run_on_shifted_masses_and_on_others(tmp_path: Path) -> None:
    assert run(tmp_path / "x.jsonl", name="decorrelation") == 0

    rows = read_record(tmp_path / "x.jsonl").rows
    assert {(r["on"], r["shifted"]) for r in rows} >= {
        (on, shifted) for on in ("data", "snapshot") for shifted in (False, True)
    }


def test_a_missing_configuration_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", "search", "--config", str(tmp_path / "none.toml")]
    assert main(arguments) == 2
    assert "none.toml" in capsys.readouterr().err
