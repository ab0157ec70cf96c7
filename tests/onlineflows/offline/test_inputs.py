"""What a method is given and how it is set."""

import numpy as np
import pytest

from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.classifier import TreesConfig
from onlineflows.offline.inputs import MethodConfig, MethodInputs
from onlineflows.offline.regions import Regions
from onlineflows.settings import ValidateConfig


def test_the_settings_of_validation_reach_the_method() -> None:
    settings = ValidateConfig(
        signal_region=(1.0, 2.0), sidebands=((2.0, 3.0),), folds=7, min_background=9, threads=2
    )

    config = MethodConfig.from_settings(settings)

    assert config.regions == Regions((1.0, 2.0), ((2.0, 3.0),))
    assert config.trees == TreesConfig(folds=7, threads=2)
    assert config.min_background == 9


@pytest.mark.parametrize("setting", [{"oversample": 0.0}, {"nodes": 0}, {"fiducial": 0.5}])
def test_settings_that_make_no_sense_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected oversample > 0"):
        MethodConfig(**setting)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(100,), (100, 1)])
def test_events_without_a_feature_beside_the_resonant_one_are_refused(
    shape: tuple[int, ...],
) -> None:
    with pytest.raises(DataError, match="at least two features"):
        MethodInputs(events={"data": np.zeros(shape)})
