"""A study measures each cell once, whatever happens between."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from onlineflows.bench.study import read_record, run_study
from onlineflows.errors import DataError

HEAD = {"date": "2026-01-01"}
KEYS = [{"seed": seed, "fraction": 0.01} for seed in (1, 2, 3)]


def double(key: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"twice": 2 * key["seed"], "third": key["seed"] / 3}]


def run(path: Path, keys: list[dict[str, Any]] = KEYS, jobs: int = 1) -> list[str]:
    return list(run_study(keys, double, head=HEAD, output=path, jobs=jobs))


def test_every_cell_becomes_a_line_below_the_head(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in run(tmp_path / "x.jsonl")]

    assert lines[0] == {"head": HEAD}
    assert [line["cell"] for line in lines[1:]] == KEYS


def test_a_record_gives_each_row_its_key(tmp_path: Path) -> None:
    run(tmp_path / "x.jsonl")

    record = read_record(tmp_path / "x.jsonl")

    assert record.heads == (HEAD,)
    assert record.rows[0] == {"seed": 1, "fraction": 0.01, "twice": 2, "third": 0.33333}


def test_a_recorded_cell_is_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    run(path, KEYS[:2])

    lines = [json.loads(line) for line in run(path)]

    assert [line["cell"] for line in lines[1:]] == KEYS[2:]
    assert len(read_record(path).cells) == 3


def test_a_complete_record_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    run(path)
    before = path.read_bytes()

    assert run(path) == []
    assert path.read_bytes() == before


def test_a_line_that_was_cut_off_is_measured_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    run(path)
    path.write_bytes(path.read_bytes()[:-20])

    run(path)

    assert list(read_record(path).cells) == KEYS


@pytest.mark.slow
def test_several_processes_measure_the_same(tmp_path: Path) -> None:
    run(tmp_path / "one.jsonl")
    run(tmp_path / "two.jsonl", jobs=2)

    one, two = (read_record(tmp_path / f"{name}.jsonl").rows for name in ("one", "two"))
    assert sorted(one, key=lambda r: r["seed"]) == sorted(two, key=lambda r: r["seed"])


@pytest.mark.parametrize("line", ["[]", "{", '{"cell": {}}'])
def test_another_file_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match="line 1: expected a head or a cell"):
        read_record(path)


def test_without_an_output_nothing_is_kept() -> None:
    assert len(list(run_study(KEYS, double, head=HEAD))) == 4
