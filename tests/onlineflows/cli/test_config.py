"""The events that a user names on a command line."""

from pathlib import Path

import pytest

from onlineflows.cli.config import load_data_config
from onlineflows.errors import ConfigError
from replay.settings import LhcoFeaturesConfig, RootConfig, StandinConfig


def test_a_data_files_name_tells_its_source() -> None:
    source = load_data_config(Path("a/events.h5")).source
    assert source == LhcoFeaturesConfig("lhco_features", ("a/events.h5",))


def test_what_a_name_does_not_tell_comes_by_overrides() -> None:
    source = load_data_config(Path("a.root"), ["source.dijet=FatJet"]).source
    assert source == RootConfig("root", ("a.root",), dijet="FatJet")


def test_a_configuration_describes_its_events(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[source]\ntype = 'standin'\nseed = 9\n")
    assert load_data_config(path).source == StandinConfig(seed=9)


@pytest.mark.parametrize("name", ["events.csv", "events"])
def test_a_file_that_no_source_reads_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a file of events \(\.h5"):
        load_data_config(Path(name))
