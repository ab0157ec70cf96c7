"""Bump hunts after cuts on events and samples, and their figure."""

import dataclasses
import json

import numpy as np
import pytest

from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.material import Material
from onlineflows.offline.scores import Evaluation
from onlineflows.offline.spectra import Document, hunt_after_cuts, hunts, spectra_figure
from onlineflows.settings import ValidateConfig
from streams.schema import EventSchema, Feature

SETTINGS = ValidateConfig()


def schema(unit: str) -> EventSchema:
    return EventSchema((Feature("mjj", unit, 0.0, 14_000.0), Feature("x", "", -9.0, 9.0)))


def events(n: int, n_signal: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = np.column_stack([2.8 + rng.exponential(0.6, n), rng.normal(0, 1, n)])
    signal = np.column_stack([rng.normal(3.5, 0.08, n_signal), rng.normal(2.5, 0.4, n_signal)])
    return np.concatenate([x, signal])


def column(x: np.ndarray) -> np.ndarray:
    return np.asarray(x[:, 1], dtype=np.float64)


@pytest.fixture(scope="module")
def found() -> list[Document]:
    return hunt_after_cuts(events(40_000, 300, 1), column, schema("TeV"), SETTINGS)


def test_a_cut_that_leaves_too_few_events_is_left_out(found: list[Document]) -> None:
    assert [document["cut"] for document in found] == [1.0, 0.1, 0.01]


def test_a_signal_stands_out_after_a_cut(found: list[Document]) -> None:
    z = [document["z_local"] for document in found]

    assert z[0] < 4 < z[1] < z[2]
    assert found[2]["excess"][0] == pytest.approx(250, abs=60)
    assert found[2]["is_bound"]


def test_documents_are_plain(found: list[Document]) -> None:
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_samples_say_less_than_the_events_that_they_stand_for(found: list[Document]) -> None:
    drawn = events(40_000, 300, 2)
    samples = hunt_after_cuts(drawn, column, schema("TeV"), SETTINGS, n_seen=len(drawn))

    assert samples[1]["scale"] == 2.0
    assert samples[1]["z_local"] == pytest.approx(found[1]["z_local"] / np.sqrt(2), rel=0.25)


def test_samples_of_a_share_of_the_data_count_as_so_many_events_as_it_had() -> None:
    x = events(20_000, 0, 1)
    evaluation = Evaluation(x[:10], np.zeros(10, np.uint8))
    whole = Material(schema("TeV"), x, x, events(20_000, 0, 2), evaluation, snapshot_nbytes=1000)
    share = dataclasses.replace(whole, n_learned=5000)
    (all_events, quarter) = (hunts(m, SETTINGS, column)["samples"] for m in (whole, share))

    assert sum(all_events[0]["events"]) == pytest.approx(4 * sum(quarter[0]["events"]))
    assert (all_events[0]["scale"], quarter[0]["scale"]) == (2.0, 1.25)


def test_a_resonant_feature_that_is_no_mass_is_refused() -> None:
    with pytest.raises(ConfigError, match="in GeV or TeV"):
        hunt_after_cuts(events(1000, 0, 1), column, schema("rad"), SETTINGS)


def test_events_outside_the_range_of_the_fit_are_refused() -> None:
    with pytest.raises(DataError, match="expected events in the range of the fit"):
        hunt_after_cuts(events(1000, 0, 1) - 2.8, column, schema("TeV"), SETTINGS)


def test_the_figure_has_a_panel_of_pulls_for_each_cut(found: list[Document]) -> None:
    figure = spectra_figure(found, schema("TeV").resonant, (3.3, 3.7), caption="data")
    labels = [axes.get_ylabel() for axes in figure.axes]

    assert labels == ["events / 0.1 TeV", "pull", "pull", "pull"]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 3
    low, high = found[2]["window"]
    assert f"global in {low:g} to {high:g}" in legend.get_texts()[2].get_text()
