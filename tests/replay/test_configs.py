"""The shipped configurations fit the files that they are for."""

from pathlib import Path

import pytest

from onlineflows.cli.config import load_config
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
