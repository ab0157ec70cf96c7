"""The closure study: on a tiny stream, and what its rows become."""

import pytest

from onlineflows.bench import closure
from onlineflows.bench.closure import QUICK, Setting, closure_tables, summarise
from onlineflows.cli.bench_studies import labelled_standin

ROW = {
    "signal_fraction": 0.01,
    "score": "anode",
    "method": "direct",
    "efficiency": 0.1,
    "ratio": 0.9,
}


def test_a_stream_is_a_cell() -> None:
    setting = Setting(seeds=(1, 2), signal_fractions=(0.0, 0.01))

    assert len(closure.keys(setting)) == 4


@pytest.mark.slow
def test_every_estimate_is_there_for_both_scores_and_every_cut() -> None:
    (key,) = closure.keys(QUICK)
    rows = closure.measure(labelled_standin, QUICK, key)

    assert len(rows) == 2 * 5 * 3
    assert len({(row["score"], row["method"], row["efficiency"]) for row in rows}) == len(rows)
    coarse = [row["ratio"] for row in rows if row["efficiency"] == 0.1]
    assert all(0.4 < ratio < 2.0 for ratio in coarse)


def test_rows_of_several_seeds_become_a_mean_with_its_spread() -> None:
    (found,) = summarise([ROW, {**ROW, "ratio": 1.1}])

    assert found["ratio"] == pytest.approx(1.0)
    assert found["spread"] == pytest.approx(0.1414, abs=1e-4)
    assert found["n_seeds"] == 2


def test_a_table_says_what_was_not_measured() -> None:
    (table,) = closure_tables([ROW])
    lines = {line[0]: line[1:] for line in table.lines}

    assert lines["samples of the sideband model"] == ("0.900", "–", "–")
    assert lines["sum of 1 / R over data"] == ("–", "–", "–")
    assert "1 % signal" in table.title
