"""The equivalent trigger fraction against closed forms."""

import numpy as np
import pytest

from onlineflows.errors import DataError
from onlineflows.offline.compression import compare_with_stored, equivalent_events
from onlineflows.offline.searches import SnapshotSearches, StoredCurve, Yields

RNG = np.random.default_rng(1)
N_EVENTS = np.array([100, 1000, 10_000])
ROOT_LAW = tuple(np.sqrt(n) * np.ones(5) for n in N_EVENTS)


@pytest.mark.parametrize("n", [100.0, 1000.0, 10_000.0])
def test_the_equivalent_number_is_exact_on_the_grid(n: float) -> None:
    found = equivalent_events(N_EVENTS, ROOT_LAW, np.array([np.sqrt(n)]), rng=RNG)

    assert found.n_events == pytest.approx(n)
    assert [found.low, found.high] == pytest.approx([n, n])
    assert not found.bound


@pytest.mark.parametrize(("value", "n", "bound"), [(200.0, 1e4, "at_least"), (1.0, 1e2, "at_most")])
def test_beyond_the_grid_the_end_is_a_bound(value: float, n: float, bound: str) -> None:
    found = equivalent_events(N_EVENTS, ROOT_LAW, np.array([value]), rng=RNG)

    assert found.n_events == pytest.approx(n)
    assert found.bound == bound


def test_a_dip_of_the_medians_is_made_monotone() -> None:
    dipped = tuple(np.full(3, v) for v in (1.0, 4.0, 2.0, 6.0))

    found = equivalent_events(
        np.array([1, 10, 100, 1000]), dipped, np.array([4.5]), rng=RNG, n_bootstrap=10
    )

    # The two in the middle become 3: 4.5 is half way from 100 to 1000 in log n.
    assert found.n_events == pytest.approx(10**2.5)


def test_the_band_is_the_scatter_of_the_draws() -> None:
    rng = np.random.default_rng(2)
    draws = tuple(np.log(n) + 0.3 * rng.normal(size=9) for n in N_EVENTS)

    found = equivalent_events(N_EVENTS, draws, np.array([np.log(1000.0)] * 5), rng=rng)

    assert 0.05 < np.log(found.high / found.low) < 1.0
    assert found.low <= found.n_events <= found.high


def test_the_gain_is_the_equivalent_fraction_over_the_stored_one() -> None:
    stored = StoredCurve(N_EVENTS, tuple(np.full(3, v) for v in (2.0, 4.0, 8.0)))
    snapshot = SnapshotSearches(np.array([4.0]), np.array([40.0]), np.array([0.9]))

    result = compare_with_stored(
        stored, snapshot, yields=Yields(0.1, 0.01), n_seen=10_000, f_store=0.01, rng=RNG
    )
    document = result.document()

    assert document["equivalent_sic"]["f"] == pytest.approx(0.1)
    assert document["equivalent_sic"]["gain"] == pytest.approx(10)
    # 4 sqrt(n) at n = 1000 is 126: the snapshot's 40 lies between the first two.
    z = np.array([2 * 10, 4 * np.sqrt(1000)])
    share = (40 - z[0]) / (z[1] - z[0])
    assert document["equivalent_significance"]["f"] == pytest.approx(0.01 * 10**share)


def test_without_a_known_share_of_signal_only_classifiers_are_compared() -> None:
    stored = StoredCurve(N_EVENTS, tuple(np.full(3, v) for v in (2.0, 4.0, 8.0)))
    snapshot = SnapshotSearches(np.array([4.0]), np.array([np.nan]), np.array([np.nan]))

    result = compare_with_stored(
        stored, snapshot, yields=Yields(0.0, 0.1), n_seen=10_000, f_store=0.01, rng=RNG
    )

    assert set(result.equivalent) == {"sic"}


def test_nothing_to_compare_with_is_refused() -> None:
    with pytest.raises(DataError, match="at least two numbers"):
        equivalent_events(N_EVENTS[:1], ROOT_LAW[:1], np.ones(1), rng=RNG)
