"""All two-sample tests together: nothing where nothing differs, all of them where much does."""

import json

import numpy as np

from onlineflows.offline.classifier import TreesConfig
from onlineflows.offline.likeness import Likeness, LikenessConfig, likeness

FEW = LikenessConfig(
    n_events=3000,
    n_sliced=1000,
    n_null=20,
    n_directions=8,
    kernel_events=500,
    trees=TreesConfig(folds=2, max_iter=10),
)


def compared(shift: float) -> Likeness:
    rng = np.random.default_rng(1)
    data, samples = rng.normal(size=(4000, 2)), rng.normal(shift, 1, size=(5000, 2))
    return likeness(data, samples, ("a", "b"), config=FEW, rng=rng)


def test_events_of_one_density_are_alike() -> None:
    found = compared(0.0)

    assert abs(found.classifier.pull) < 4
    assert abs(found.sliced_wasserstein.pull) < 4
    assert abs(found.features[0].mean) < 4 * found.features[0].mean_error
    assert abs(found.correlations[0, 1]) < 4 * found.correlation_errors[0, 1]


def test_every_test_sees_a_shift() -> None:
    same, found = compared(0.0), compared(0.5)

    assert found.classifier.pull > 10
    assert found.sliced_wasserstein.p_value < 0.05
    assert found.fpd.value > 10 * same.fpd.value
    assert found.kpd.value > 10 * same.kpd.error
    assert found.features[1].ks_p < 1e-6


def test_the_document_is_strict_json() -> None:
    document = compared(0.0).document()

    json.dumps(document, allow_nan=False)
    assert document["n_correlations"] == 1
    assert [feature["name"] for feature in document["features"]] == ["a", "b"]
