"""Schemas: what is one, when two are the same, and what lies inside."""

import json

import numpy as np
import pytest

from streams import LHCO, EventSchema, Feature, SchemaError

MASS = Feature("m", "TeV", 0.0, 10.0)
FREE = Feature("y", "", -np.inf, np.inf)


def test_a_schema_survives_json() -> None:
    schema = EventSchema((MASS, FREE))
    assert EventSchema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_the_first_feature_is_the_resonant_one() -> None:
    assert LHCO.resonant.name == "mjj"


@pytest.mark.parametrize(
    "other",
    [
        EventSchema((FREE, MASS)),
        EventSchema((MASS,)),
        EventSchema((MASS, Feature("y", "GeV", -np.inf, np.inf))),
        EventSchema((MASS, Feature("y", "", 0.0, np.inf))),
    ],
)
def test_any_difference_changes_the_fingerprint_and_is_named(other: EventSchema) -> None:
    schema = EventSchema((MASS, FREE))
    assert schema.fingerprint() != other.fingerprint()
    with pytest.raises(SchemaError, match="here: the schemas differ"):
        schema.require_equal(other, where="here")


@pytest.mark.parametrize(
    "features",
    [(), (MASS, MASS)],
)
def test_a_schema_needs_distinct_features(features: tuple[Feature, ...]) -> None:
    with pytest.raises(SchemaError, match="expected"):
        EventSchema(features)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (np.nan, 1.0)])
def test_an_empty_support_is_refused(low: float, high: float) -> None:
    with pytest.raises(SchemaError, match="expected low < high"):
        Feature("m", "TeV", low, high)


@pytest.mark.parametrize("document", [{}, {"features": [{"name": "m"}]}, {"features": 3}])
def test_a_malformed_document_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(SchemaError, match="expected a schema document"):
        EventSchema.from_dict(document)


def test_the_support_is_closed_and_finite() -> None:
    x = np.array(
        [[0, 0], [10, 0], [10.001, 0], [-1e-3, 0], [np.nan, 0], [5, np.inf], [5, -1e30]],
        dtype=np.float32,
    )
    inside = EventSchema((MASS, FREE)).in_support(x)
    assert inside.tolist() == [True, True, False, False, False, False, True]


def test_a_schema_of_many_features_is_checked_in_no_time() -> None:
    """A begin of run may claim thousands of features; comparing each with each took minutes."""
    features = [{"name": str(i), "unit": "", "low": 0, "high": 1} for i in range(20_000)]
    assert EventSchema.from_dict({"features": features}).n_features == 20_000
    with pytest.raises(SchemaError, match="repeated"):
        EventSchema.from_dict({"features": [*features, features[0]]})
