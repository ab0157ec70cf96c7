"""The studies on the stand-in run, at sizes that measure nothing, and resume."""

import functools
import pickle
from pathlib import Path

import pytest

from onlineflows.bench.study import read_record
from onlineflows.cli.bench_studies import STUDIES
from onlineflows.cli.main import STUDIES as NAMED
from onlineflows.cli.main import main


def run(name: str, record: Path, *options: str) -> int:
    return main(["bench", name, "--quick", "--quiet", "--output", str(record), *options])


def test_the_command_line_names_the_studies_that_there_are() -> None:
    assert {bench.value for bench in NAMED} == set(STUDIES)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_records_every_cell_and_measures_nothing_twice(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record.jsonl"

    assert run(name, record) == 0

    tables = capsys.readouterr().out
    assert len(read_record(record).cells) == len(STUDIES[name](True).keys)
    assert len(tables.splitlines()) > 4
    before = record.read_bytes()
    assert run(name, record) == 0
    assert record.read_bytes() == before
    assert capsys.readouterr().out == tables


@pytest.mark.parametrize("name", STUDIES)
def test_a_cell_can_be_measured_in_another_process(name: str) -> None:
    restored = pickle.loads(pickle.dumps(STUDIES[name](True).measure))

    assert isinstance(restored, functools.partial)
