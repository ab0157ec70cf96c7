"""Regions of the resonant feature."""

import math

import numpy as np
import pytest

from onlineflows.errors import ConfigError
from onlineflows.region import Region
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 14.0), Feature("t", "", 0.0, 1.0)))
M = np.array([0.0, 3.0, 3.1, 3.5, 3.9, 4.0, 14.0])


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        (Region(), [True] * 7),
        (Region(inside=(3.1, 3.9)), [False, False, True, True, True, False, False]),
        (Region(outside=(3.1, 3.9)), [True, True, False, False, False, True, True]),
        (Region(inside=(3.5, math.inf)), [False, False, False, True, True, True, True]),
    ],
)
def test_a_region_contains_its_events(region, expected):
    assert region.contains(M).tolist() == expected


def test_inside_and_outside_are_complements():
    m = np.random.default_rng(1).uniform(0, 14, 1000).astype(np.float32)
    inside, outside = Region(inside=(3.1, 3.9)), Region(outside=(3.1, 3.9))
    assert np.array_equal(inside.contains(m), ~outside.contains(m))


@pytest.mark.parametrize(
    ("region", "low", "high"),
    [
        (Region(), 0.0, 14.0),
        (Region(inside=(3.1, 3.9)), 3.1, 3.9),
        (Region(inside=(-1.0, 3.9)), 0.0, 3.9),
        (Region(inside=(3.1, math.inf)), 3.1, 14.0),
        (Region(outside=(3.1, 3.9)), 0.0, 14.0),
    ],
)
def test_a_window_narrows_the_support_and_a_sideband_does_not(region, low, high):
    schema = region.schema_of(SCHEMA, model="a")
    assert (schema.resonant.low, schema.resonant.high) == (low, high)
    assert schema.features[1:] == SCHEMA.features[1:]


@pytest.mark.parametrize("region", [Region(inside=(14.0, 15.0)), Region(outside=(-1.0, 14.0))])
def test_a_region_without_events_is_refused(region):
    with pytest.raises(ConfigError, match=r"models: 'a': .*support of m \[TeV\], \[0, 14\]"):
        region.schema_of(SCHEMA, model="a")
