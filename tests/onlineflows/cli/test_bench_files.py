"""Studies of labelled files run, at sizes that measure nothing, and resume."""

from pathlib import Path

import numpy as np
import pytest

from onlineflows.bench.feta_table import feta_tables
from onlineflows.bench.study import read_record
from onlineflows.bench.tan import AS_IT_IS
from onlineflows.bench.tan_table import tan_tables
from onlineflows.cli.bench_files import open_split
from onlineflows.cli.main import main


def test_a_split_shares_no_event_and_has_the_signal_that_is_asked_for() -> None:
    whole, split = (open_split("standin", fraction, 1) for fraction in (AS_IT_IS, 0.01))

    assert split.n_signal / len(split.x) == pytest.approx(0.01, abs=1e-4)
    assert len(whole.x) > len(split.x)
    np.testing.assert_array_equal(whole.test, split.test)
    assert not set(map(tuple, split.x)) & set(map(tuple, split.test))


@pytest.mark.slow
def test_tans_ratios_are_measured_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "tan.jsonl"
    options = ["bench", "tan", "--quick", "--quiet", "--output", str(record)]

    assert main(options) == 0

    before, tables = record.read_bytes(), capsys.readouterr().out
    (table,) = tan_tables(read_record(record).rows)
    ways = {line[0] for line in table.lines}
    assert ways == {"mass localisation", "bootstrap", "density alone"}
    assert main(options) == 0
    assert record.read_bytes() == before
    assert capsys.readouterr().out == tables


@pytest.mark.slow
def test_fetas_ways_are_measured_once_and_drawn(tmp_path: Path) -> None:
    record = tmp_path / "feta.jsonl"
    options = ["bench", "feta", "--quick", "--quiet", "--output", str(record)]
    options += ["--dataset", "standin", "--reference", "standin"]

    assert main(options) == 0

    areas, lengths = feta_tables(read_record(record).rows)
    assert [line[0] for line in areas.lines] == ["OB1", "SB1", "SR", "SB2", "OB2"]
    assert len(lengths.header) == 5
    before = record.read_bytes()
    assert main(options) == 0
    assert record.read_bytes() == before
    assert (tmp_path / "feta.png").stat().st_size > 10_000


def test_feta_without_a_reference_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "feta", "--quick", "--quiet"]) != 0

    assert "--reference" in capsys.readouterr().err
