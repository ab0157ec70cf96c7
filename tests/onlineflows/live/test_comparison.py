from pathlib import Path

import numpy as np
import pytest

from onlineflows.live.comparison import changes
from onlineflows.live.draws import Draw
from onlineflows.offline.two_sample import feature_differences
from streams.schema import Feature

MJJ, TAU = Feature("mjj", "TeV", 0.0, 14.0), Feature("tau21", "", 0.0, 2.0)


def drawn(*columns: np.ndarray, features: tuple[Feature, ...] = (MJJ, TAU)) -> Draw:
    return Draw(features, np.stack(columns, axis=1).astype(np.float32))


def test_a_snapshot_does_not_differ_from_itself() -> None:
    rng = np.random.default_rng(1)
    same = drawn(rng.normal(3, 1, 500), rng.uniform(0, 1, 500))
    for change in changes(same, same):
        assert (change.shift, change.kolmogorov) == (0.0, 0.0)
        np.testing.assert_array_equal(change.before, change.after)


def test_a_feature_that_moved_is_named_with_how_far() -> None:
    rng = np.random.default_rng(2)
    mjj, tau = rng.normal(3, 0.5, 2000), rng.uniform(0, 1, 2000)
    found = {c.name: c for c in changes(drawn(mjj, tau), drawn(mjj + 0.25, tau))}
    assert found["mjj"].shift == pytest.approx(0.25, rel=1e-3)
    assert found["mjj"].shift_in_widths == pytest.approx(0.5, rel=0.1)
    assert found["tau21"].shift == 0.0


def test_the_page_measures_as_a_comparison_of_snapshots_does() -> None:
    rng = np.random.default_rng(4)
    a, b = (rng.normal(3 + 0.1 * i, 0.5, 20).astype(np.float32) for i in range(2))
    (change,) = changes(drawn(a, features=(MJJ,)), drawn(b, features=(MJJ,)))
    (found,) = feature_differences(a[:, None], b[:, None], ("mjj",))
    width = (b.mean(dtype=np.float64) - a.mean(dtype=np.float64)) / found.mean
    assert change.shift_in_widths == pytest.approx(change.shift / width, rel=1e-6)
    assert change.kolmogorov == found.ks


def test_histograms_hold_nearly_all_events_of_both() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(3, 0.5, 3000), rng.normal(6, 0.5, 3000)
    (change,) = changes(drawn(a, features=(MJJ,)), drawn(b, features=(MJJ,)))
    assert change.before.sum() > 0.98
    assert change.after.sum() > 0.98
    assert len(change.edges) == len(change.before) + 1


def test_a_feature_without_width_can_be_compared() -> None:
    (change,) = changes(drawn(np.ones(10), features=(MJJ,)), drawn(np.ones(10), features=(MJJ,)))
    assert (change.shift, change.shift_in_widths) == (0.0, 0.0)


def test_only_features_of_both_are_compared() -> None:
    ones = np.ones(10)
    found = changes(drawn(ones, ones), drawn(ones, features=(TAU,)))
    assert [change.name for change in found] == ["tau21"]


def test_a_snapshot_that_could_not_be_read_changes_nothing() -> None:
    ones = np.ones(10)
    assert changes(Draw(problem=f"{Path('x')}: damaged"), drawn(ones, ones)) == ()
