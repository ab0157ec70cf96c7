"""Preprocessing: exact Jacobians, exact inverses, and real data's traps."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlineflows.errors import DataError, SnapshotError
from onlineflows.marginal import MarginalMap
from onlineflows.preprocess import Preprocessing
from onlineflows.support import support_map
from streams import EventSchema, Feature
from streams.schema import LHCO

SCHEMA = EventSchema(
    (
        Feature("bounded", "", -1.0, 3.0),
        Feature("above", "GeV", 2.0, math.inf),
        Feature("below", "GeV", -math.inf, 5.0),
        Feature("free", "", -math.inf, math.inf),
    )
)


def events(n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    columns = (
        4 * rng.beta(2, 5, n) - 1,
        2 + rng.gamma(2.0, 30.0, n),
        5 - rng.gamma(0.5, 3.0, n),
        rng.standard_t(3, n),
    )
    return np.stack(columns, axis=1)


@pytest.fixture(scope="module")
def fitted() -> Preprocessing:
    return Preprocessing.fit(SCHEMA, events(5000), knots=17)


def test_the_inverse_undoes_forward(fitted):
    x = events(10_000, seed=2)
    z, _ = fitted.forward(x)
    np.testing.assert_allclose(fitted.inverse(z), x, rtol=1e-9, atol=1e-9)


def test_forward_undoes_the_inverse(fitted):
    # Farther out, x is so close to an edge that it has too few digits for this comparison.
    z = np.random.default_rng(3).normal(size=(10_000, 4)).clip(-3, 3)
    np.testing.assert_allclose(fitted.forward(fitted.inverse(z))[0], z, rtol=1e-8, atol=1e-8)


def test_the_log_slopes_are_numerical_derivatives(fitted):
    x = events(2000, seed=2)
    step = 1e-6 * np.minimum(1, np.abs(x - [-1, 2, 5, -100]))
    rise = fitted.forward(x + step)[0] - fitted.forward(x - step)[0]
    _, log_abs_det = fitted.forward(x)
    # At a knot the second derivative jumps: the difference quotient is a little off there.
    np.testing.assert_allclose(np.log(rise / (2 * step)), log_abs_det, rtol=0, atol=1e-3)


def test_marginals_become_gaussian(fitted):
    # 20,000 events; the map itself was fitted on 5,000, so quantiles are known to about 0.02.
    z, _ = fitted.forward(events(20_000, seed=2))
    levels = (0.01, 0.1, 0.5, 0.9, 0.99)
    expected = np.array([-2.326, -1.282, 0.0, 1.282, 2.326])
    got = np.quantile(z, levels, axis=0)
    assert np.abs(got - expected[:, None]).max() < 0.12


def test_chunks_leave_no_seam(fitted):
    x = events(9000)
    z, log_abs_det = fitted.forward(x)
    for rows in (slice(0, 1), slice(4090, 4100), slice(8999, 9000)):
        assert np.array_equal(fitted.forward(x[rows])[0], z[rows])
        assert np.array_equal(fitted.forward(x[rows])[1], log_abs_det[rows])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_single_precision_events_are_mapped_in_double(fitted, dtype):
    x = events(100).astype(dtype)
    z, log_abs_det = fitted.forward(x)
    assert z.dtype == log_abs_det.dtype == np.float64
    np.testing.assert_array_equal(z, fitted.forward(x.astype(np.float64))[0])


@pytest.mark.parametrize("feature", SCHEMA.features, ids=lambda f: f.name)
def test_edges_of_the_support_are_finite_and_come_back(feature):
    support = support_map(feature)
    x = np.array([edge for edge in (feature.low, feature.high) if math.isfinite(edge)])
    v = support.forward(x)
    assert np.isfinite(v).all()
    assert np.isfinite(support.log_slope(x)).all()
    np.testing.assert_array_equal(support.inverse(v), x)


@pytest.mark.parametrize("feature", SCHEMA.features, ids=lambda f: f.name)
def test_nothing_comes_back_outside_the_support(feature):
    x = support_map(feature).inverse(np.array([-600.0, -40.0, -14.0, 14.0, 40.0, 600.0]))
    assert ((x >= feature.low) & (x <= feature.high)).all()


def test_supports_are_mapped_in_ascending_order():
    for feature in SCHEMA.features:
        low, high = max(feature.low, -50.0), min(feature.high, 50.0)
        assert (np.diff(support_map(feature).forward(np.linspace(low, high, 1001))) > 0).all()


def test_arrays_come_back_to_the_same_map(fitted):
    again = Preprocessing.from_arrays(SCHEMA, fitted.to_arrays())
    x = events(500)
    for one, two in zip(fitted.forward(x), again.forward(x), strict=True):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("n", [1, 2, 30, 1000])
def test_the_size_of_the_arrays_does_not_depend_on_the_events(n):
    arrays = Preprocessing.fit(SCHEMA, events(n), knots=9).to_arrays()
    assert {a.shape for a in arrays.values()} == {(4, 9)}
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_a_fit_on_few_events_is_a_usable_map(n):
    fitted = Preprocessing.fit(SCHEMA, events(n), knots=33)
    x = events(1000, seed=2)
    z, log_abs_det = fitted.forward(x)
    assert np.isfinite(z).all()
    assert np.isfinite(log_abs_det).all()
    np.testing.assert_allclose(fitted.inverse(z), x, rtol=1e-7, atol=1e-7)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    values=st.lists(
        st.one_of(
            st.sampled_from([0.0, 0.0, 1.0, -2.5]),
            st.floats(-1e6, 1e6, allow_subnormal=False),
            st.floats(-1, 1, allow_subnormal=False),
        ),
        min_size=1,
        max_size=60,
    ),
    knots=st.integers(2, 40),
)
def test_any_values_with_any_ties_give_an_increasing_map(values, knots):
    v = np.array([values])
    fitted = MarginalMap.fit(v, knots)
    assert np.isfinite([fitted.v, fitted.z, fitted.slope]).all()
    assert (fitted.slope > 0).all()
    grid = np.unique(np.concatenate((v[0], np.linspace(v.min() - 1, v.max() + 1, 101))))[None]
    z, log_slope = fitted.forward(grid)
    assert (np.diff(z) > -1e-12).all()
    assert np.isfinite(log_slope).all()
    scale = np.abs(grid).max()
    np.testing.assert_allclose(fitted.inverse(z), grid, rtol=1e-7, atol=1e-7 * scale)


def test_a_constant_column_is_shifted_only():
    fitted = MarginalMap.fit(np.full((1, 100), 4.0), 5)
    z, log_slope = fitted.forward(np.array([[4.0, 4.0 + 1e-9]]))
    np.testing.assert_allclose(z, [[0.0, 1e-9]], atol=1e-15)
    np.testing.assert_allclose(log_slope, 0.0, atol=1e-8)


def test_an_atom_does_not_steepen_the_map_beyond_its_bound():
    rng = np.random.default_rng(1)
    v = rng.normal(size=(1, 10_000))
    v[0, :3000] = 0.25
    fitted = MarginalMap.fit(v, 33)
    # 0.2 in z over a thousandth of the central spread, twice for the atom's own width.
    assert fitted.slope.max() < 1000


@pytest.mark.parametrize("distance", [1e2, 1e4, 1e8])
def test_outliers_stay_within_reach(distance):
    fitted = MarginalMap.fit(np.random.default_rng(1).normal(size=(1, 5000)), 33)
    z, _ = fitted.forward(np.array([[-distance, distance]]))
    assert np.abs(z).max() < 4 + math.log(10 * distance)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -5.0])
def test_events_outside_the_support_cannot_be_fitted_on(bad):
    x = events(50)
    x[7, 0] = bad
    with pytest.raises(DataError, match="1 values not finite"):
        Preprocessing.fit(SCHEMA, x, knots=9)


def test_no_events_cannot_be_fitted_on():
    with pytest.raises(DataError, match="got 0 events"):
        Preprocessing.fit(SCHEMA, events(0), knots=9)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("slope"),
        lambda a: a.update(v=a["v"][:, :-1]),
        lambda a: a.update({k: v[:2] for k, v in a.items()}),
        lambda a: a.update(v=a["v"][:, ::-1]),
        lambda a: a.update(slope=0 * a["slope"]),
    ],
    ids=["missing", "lengths", "features", "descending", "flat"],
)
def test_arrays_that_are_no_map_are_refused(fitted, change):
    arrays = fitted.to_arrays()
    change(arrays)
    with pytest.raises(SnapshotError, match="expected a marginal map"):
        Preprocessing.from_arrays(SCHEMA, arrays)


def test_real_events_become_gaussian_and_stay_within_reach(test_data):
    # Signal-region events of LHCO: their first 20,000 fit the map, the rest are new to it.
    x = np.load(test_data("lhco/sr_3300_3700_train.npy"))[:, :5].astype(np.float32)
    x = x[LHCO.in_support(x)]
    fitted = Preprocessing.fit(LHCO, x[:20_000], knots=33)
    z, log_abs_det = fitted.forward(x[20_000:])
    assert np.isfinite(log_abs_det).all()
    assert np.abs(z).max() < 8
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=0.04)
    np.testing.assert_allclose(fitted.inverse(z), x[20_000:], rtol=1e-9, atol=1e-9)
