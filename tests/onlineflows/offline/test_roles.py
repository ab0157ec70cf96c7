"""Which model a search takes."""

from onlineflows.offline.regions import Regions
from onlineflows.offline.roles import models_by_role
from onlineflows.region import Region

REGIONS = Regions((3.3, 3.7), ((3.1, 3.3), (3.7, 3.9)))


def test_the_narrowest_window_that_holds_all_regions_is_the_data() -> None:
    models = {
        "joint": Region(),
        "too narrow": Region(inside=(3.2, 3.9)),
        "wide": Region(inside=(2.5, 4.5)),
        "narrow": Region(inside=(3.1, 3.9)),
    }
    assert models_by_role(models, REGIONS) == {"data": "narrow"}


def test_without_a_window_the_model_of_everything_is_the_data() -> None:
    assert models_by_role({"joint": Region()}, REGIONS) == {"data": "joint"}


def test_the_background_has_not_seen_the_signal_region() -> None:
    models = {
        "elsewhere": Region(outside=(2.0, 2.5)),
        "part": Region(outside=(3.4, 3.7)),
        "wide": Region(outside=(3.0, 4.0)),
        "close": Region(outside=(3.3, 3.7)),
    }
    assert models_by_role(models, REGIONS) == {"background": "close"}
