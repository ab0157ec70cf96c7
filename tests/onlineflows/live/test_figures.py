import json
import math

import numpy as np
import pytest

from onlineflows.live import figures
from onlineflows.live.draws import Draw
from onlineflows.live.echarts import Options
from onlineflows.live.folder import Record, RunFolder
from onlineflows.live.pace import Stretch
from onlineflows.live.spectrum import Spectrum
from streams.schema import Feature
from streams.telemetry import DriftAlarm, HistoryPoint, Marginal

MJJ = Feature("mjj", "TeV", 0.0, 14.0)
SEEN = Marginal("mjj", "TeV", 2.0, 6.0, [5, 20, 10, 0], 40)
RECORD = Record(signal_region=(3.3, 3.7), sidebands=((3.1, 3.3), (3.7, 3.9)))


def drawn(values: np.ndarray) -> Draw:
    return Draw((MJJ,), values.astype(np.float32)[:, None])


def series(options: Options, name: str) -> Options:
    (found,) = (s for s in options["series"] if s["name"] == name)
    return found


def stretch(unix_s: float, dead: float = 0.0) -> Stretch:
    rates = {"passed": 100.0, "sent": 90.0, "live_s": 1 - dead, "dead_s": dead, "trained": 80.0}
    return Stretch(unix_s, rates)


def test_rates_are_drawn_against_time() -> None:
    options = figures.rates([stretch(1.0), stretch(2.0)], {"train": [stretch(2.0)]})
    assert series(options, "passed")["data"] == [[1000.0, 100.0], [2000.0, 100.0]]
    assert series(options, "trained")["data"] == [[2000.0, 80.0]]


def test_dead_time_has_an_axis_only_where_there_is_some() -> None:
    without = figures.rates([stretch(1.0)], {})
    assert "dead time" not in [s["name"] for s in without["series"]]
    with_some = figures.rates([stretch(1.0, dead=0.25)], {"train": [stretch(1.0)]})
    assert series(with_some, "dead time")["data"] == [[1000.0, 0.25]]
    assert with_some["yAxis"][1]["show"]


def test_no_axis_is_named_where_the_legend_is(learner) -> None:
    rates = figures.rates([stretch(1.0, dead=0.25)], {"train": [stretch(1.0)]})
    nll = figures.nll({"train": learner()}, {})
    assert [axis["name"] for axis in (*rates["yAxis"], nll["yAxis"])] == ["", "", ""]


def test_each_lane_has_a_line_of_its_own(learner) -> None:
    lanes = {f"train lane-{k}": learner(lane=k) for k in range(20)}
    names = [s["name"] for s in figures.nll(lanes, {})["series"]]
    assert {f"lane-{k}" for k in range(20)} <= set(names)
    rates = figures.rates([], {name: [] for name in lanes})
    assert len(rates["series"]) == 2 + 20


def test_a_drift_alarm_is_a_line_where_it_was_raised(learner) -> None:
    said = learner(alarms=[DriftAlarm(850, 2, -1.5, -1.2)])
    marks = series(figures.nll({"train": said}, {}), "drift alarm")["markLine"]["data"]
    assert marks == [{"xAxis": 850, "name": "lumisection 2"}]


def test_the_nll_axis_is_not_spoilt_by_the_first_values(learner) -> None:
    history = [HistoryPoint(n, 50.0 if n < 2 else -1.5 + 0.01 * (n % 3)) for n in range(40)]
    axis = figures.nll({"train": learner(history=history)}, {})["yAxis"]
    assert axis["max"] < -1.0


def test_snapshots_are_marked_on_the_line(learner, tmp_path, snapshot) -> None:
    snapshot(tmp_path, "000001", n_seen=700)
    snapshot(tmp_path, "000002", n_seen=950, history={"points": [[950, 40.0, 256]]})
    entries = RunFolder(tmp_path).look().lanes["train"].snapshots
    options = figures.nll({"train": learner()}, {"train": entries})  # -1.5 at 500, -1.25 at 900
    assert series(options, "snapshot")["data"] == [[700, -1.375], [950, -1.25]]


def test_a_histogram_is_drawn_from_edge_to_edge() -> None:
    data = series(figures.marginal(SEEN, None), "newest events")["data"]
    assert data == [[2.0, 5], [3.0, 20], [4.0, 10], [5.0, 0], [6.0, 0]]


def test_the_model_is_scaled_to_the_events_of_the_window() -> None:
    model = series(figures.marginal(SEEN, drawn(np.array([2.5, 3.5, 3.6, 9.0]))), "model")["data"]
    assert [n for _, n in model] == [10, 20, 0, 0, 0]


def test_a_feature_that_the_model_does_not_know_is_drawn_without_it() -> None:
    other = Marginal("tau21", "", 0.0, 1.0, [1, 2], 3)
    names = [s["name"] for s in figures.marginal(other, drawn(np.ones(4)))["series"]]
    assert names == ["newest events"]


def test_the_signal_region_is_where_the_configuration_has_it() -> None:
    spectrum = Spectrum()
    spectrum.add(SEEN, 40)
    areas = series(figures.spectrum(spectrum, None, RECORD), "events")["markArea"]["data"]
    assert [(a["xAxis"], b["xAxis"]) for a, b in areas] == [(3.3, 3.7), (3.1, 3.3), (3.7, 3.9)]
    assert areas[0][0]["name"] == "signal region"


def test_a_signal_region_beyond_the_spectrum_is_left_out() -> None:
    spectrum = Spectrum()
    spectrum.add(SEEN, 40)
    record = Record(signal_region=(60.0, 120.0), sidebands=((5.0, 90.0),))
    areas = series(figures.spectrum(spectrum, None, record), "events")["markArea"]["data"]
    assert [(a["xAxis"], b["xAxis"]) for a, b in areas] == [(5.0, 6.0)]


def test_pulls_are_standard_normal_where_the_model_is_right() -> None:
    # 20,000 pulls of mean 0 and variance 1: 0.05 is more than five standard errors of both.
    rng = np.random.default_rng(4)
    share = np.array([0.1, 0.2, 0.3, 0.4])
    n, n_drawn, pulls = 5_000, 20_000, []
    for _ in range(5_000):
        counts = rng.multinomial(n, share)
        estimate = rng.multinomial(n_drawn, share) / n_drawn
        pulls.append(figures.pulls_of(counts, estimate, n, n_drawn))
    # The sum over the bins is fixed, which takes the share p of each variance away.
    scaled = np.array(pulls) / np.sqrt(1 - share)
    assert abs(scaled.mean()) < 0.05
    assert abs(scaled.std() - 1) < 0.05


def test_pulls_are_finite_where_the_model_expects_nothing() -> None:
    pulls = figures.pulls_of(np.array([0, 4]), np.array([0.0, 0.0]), 100, 1000)
    assert pulls[0] == 0
    assert 0 < pulls[1] < math.inf


@pytest.mark.parametrize("n", [0, 1, 500])
def test_figures_are_json_whatever_is_known(n: int, learner) -> None:
    spectrum = Spectrum()
    if n:
        spectrum.add(SEEN, 40)
    model = drawn(np.linspace(1, 7, n)) if n else None
    record = RECORD
    made = [
        figures.rates([], {}),
        figures.nll({}, {}),
        figures.nll({"train": learner(history=[])}, {}),
        figures.marginal(SEEN, model),
        figures.spectrum(spectrum, model, record),
        figures.density("mjj", model or Draw(), record),
    ]
    for options in made:
        json.dumps(options, allow_nan=False)
