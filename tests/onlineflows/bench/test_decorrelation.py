"""The study of correlated features: which cells it has, what is shifted, its tables."""

import numpy as np

from onlineflows.bench import decorrelation
from onlineflows.bench.decorrelation import decorrelation_tables, shifted_data
from onlineflows.bench.search import SearchData
from onlineflows.cli.bench_search import search_setting
from onlineflows.cli.config import load_config
from onlineflows.cli.search_data import STANDIN
from onlineflows.offline.scores import Evaluation
from streams import LHCO

ROW = {
    "dataset": "standin",
    "signal_fraction": 0.01,
    "method": "cwola",
    "on": "data",
    "max_sic": 9.0,
    "auc": 0.9,
    "shifted": False,
}


def test_a_stream_is_searched_shifted_and_not() -> None:
    setting = search_setting(load_config(None), STANDIN, quick=False)
    keys = decorrelation.keys(setting)

    assert {key["place"] for key in keys} == {"truth", "data", "snapshot"}
    assert {key["signal_fraction"] for key in keys} == {max(setting.signal_fractions)}
    assert sum(key["shifted"] for key in keys) == len(keys) / 2


def test_everything_is_shifted_and_the_optimum_forgotten() -> None:
    x = np.full((3, 5), 0.5, dtype=np.float32)
    tested = Evaluation(x, np.array([0, 1, 0]), np.zeros(3))
    moved = shifted_data(SearchData(LHCO, x, tested, x, x))

    for events in (moved.x, moved.evaluation.x, moved.background, moved.signal):
        np.testing.assert_allclose(events[0], [0.5, 0.55, 0.55, 0.5, 0.5])
    assert moved.evaluation.optimum is None


def test_a_table_has_both_beside_each_other() -> None:
    lost = {**ROW, "max_sic": 1.0, "auc": 0.6, "shifted": True}
    (table,) = decorrelation_tables([ROW, lost, {**lost, "max_sic": 1.2}])

    assert table.lines == (("CWoLa", "data", "9.00", "1.10 ± 0.14", "0.900", "0.600 ± 0.000"),)
    assert "1 % signal" in table.title


def test_places_follow_each_other_and_variants_have_titles() -> None:
    rows = [{**ROW, "on": on, "method": "cathode_input"} for on in ("snapshot", "data")]
    (table,) = decorrelation_tables(rows)

    assert [line[:2] for line in table.lines] == [
        ("CATHODE, m as input", "data"),
        ("CATHODE, m as input", "snapshot"),
    ]
