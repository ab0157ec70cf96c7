"""The shift of the masses along with the resonant mass."""

import numpy as np
import pytest

from onlineflows.errors import ConfigError
from onlineflows.offline.shift import shift
from streams import LHCO

X = np.array([[3.5, 0.1, 0.4, 0.3, 0.2], [2.5, 0.0, 0.0, 0.5, 0.6]], dtype=np.float32)


def test_the_masses_rise_by_a_tenth_of_mjj() -> None:
    np.testing.assert_allclose(
        shift(X, LHCO), [[3.5, 0.45, 0.75, 0.3, 0.2], [2.5, 0.25, 0.25, 0.5, 0.6]], rtol=1e-6
    )


def test_the_events_given_stay_as_they_are() -> None:
    before = X.copy()
    shift(X, LHCO)

    np.testing.assert_array_equal(X, before)


def test_a_shift_can_be_undone() -> None:
    np.testing.assert_allclose(shift(shift(X, LHCO), LHCO, strength=-0.1), X, atol=1e-7)


def test_shifted_events_stay_in_the_support() -> None:
    assert LHCO.in_support(shift(X, LHCO)).all()


def test_features_that_do_not_depend_on_m_do_afterwards() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(0.1, 1.0, (5000, 5))
    x[:, 0] = rng.uniform(2, 6, 5000)

    before, after = (np.corrcoef(e, rowvar=False)[0, 1] for e in (x, shift(x, LHCO)))
    assert abs(before) < 0.05
    assert after > 0.3


@pytest.mark.parametrize("name", ["mjj", "mJ3"])
def test_features_that_cannot_be_shifted_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="beside the resonant one"):
        shift(X, LHCO, names=(name,))
