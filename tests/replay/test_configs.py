"""The shipped configurations fit the files that they are for."""

from pathlib import Path

import numpy as np
import pytest

from onlineflows.cli.config import load_config
from replay.profiles import profile_of
from replay.sources import open_source
from streams import Status

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = {
    "lhco": "lhco/events_anomalydetection_v2.features.80k.h5",
    "lhco_models": "lhco/events_anomalydetection_v2.features.80k.h5",
    "lhco_particles": "lhco/events_anomalydetection_tiny.h5",
    "nano_fatjet": "pythia/lhco_like_nano.root",
    "scouting_fatjet": "root/scouting_nano.root",
    "nano_tt": "root/nano_tt_v12.root",
    "muons_rntuple": "root/nano_dy_rntuple.root",
    "razor": "root/cms2010_multijet_razor.root",
}


@pytest.mark.parametrize("name", FILES)
def test_a_configuration_is_complete(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.toml")
    assert config.run.name == name


def test_the_fill_lasts_for_one_fill() -> None:
    config = load_config(CONFIGS / "fill.toml")
    pacing = config.pacing
    expected = profile_of(pacing).expected(np.array([pacing.fill.stable_s]))[0]
    assert config.source.type == "standin"
    assert 0.99 * expected < config.source.n_events < expected
    assert [(p.name, p.keep) for p in config.prescales] == [("light", 10), ("heavy", 1)]


@pytest.mark.parametrize("name", FILES)
def test_a_configuration_reads_good_events(name: str, test_data) -> None:
    path = test_data(FILES[name])
    config = load_config(CONFIGS / f"{name}.toml", [f"source.paths={path}"])
    source = open_source(config.source)
    events = source.read(200)
    good = events.status == Status.GOOD
    assert good.any()
    assert source.schema.in_support(events.x[good]).all()
    source.close()
