"""Studies of labelled files run, at sizes that measure nothing, and resume."""

from pathlib import Path

import numpy as np
import pytest

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
