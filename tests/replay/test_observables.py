"""The LHCO observables against closed forms and the published features."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.observables import Jets, dijet_observables, invariant_mass
from streams import LHCO, Status


def jet(px=1000.0, py=0.0, pz=0.0, mass=0.0, tau1=0.2, tau2=0.1) -> Jets:
    return Jets.from_table(np.array([[px, py, pz, mass, tau1, tau2]]))


def test_back_to_back_massless_jets_have_twice_their_momentum_as_mass() -> None:
    assert dijet_observables(jet(px=1750), jet(px=-1750)).x[0, 0] == pytest.approx(3.5)


def test_a_heavy_jet_at_rest_adds_its_mass() -> None:
    assert invariant_mass(jet(px=0, mass=300), jet(px=0, mass=200))[0] == pytest.approx(500)


@given(
    pt=st.floats(100, 3000),
    eta=st.floats(-2.5, 2.5),
    phi=st.floats(-3, 3),
)
def test_the_mass_of_massless_jets_agrees_with_the_angular_formula(pt, eta, phi) -> None:
    # m^2 = 2 pT1 pT2 (cosh(d eta) - cos(d phi)); cancellation limits its accuracy.
    first = Jets.from_cylindrical(np.array([[1200.0, 0.0, 0.0, 0.0, 1.0, 1.0]]))
    second = Jets.from_cylindrical(np.array([[pt, eta, phi, 0.0, 1.0, 1.0]]))
    expected2 = 2 * 1200 * pt * (np.cosh(eta) - np.cos(phi))
    assert invariant_mass(first, second)[0] ** 2 == pytest.approx(expected2, rel=1e-6, abs=1e-6)


def test_the_lighter_jet_comes_first_whatever_the_order() -> None:
    light, heavy = jet(mass=100, tau2=0.05), jet(px=-1000, mass=500, tau2=0.15)
    one, other = dijet_observables(light, heavy), dijet_observables(heavy, light)
    np.testing.assert_allclose(one.x[0, 1:3], [0.1, 0.4], rtol=1e-6)
    np.testing.assert_array_equal(one.x, other.x)


def test_each_ratio_stays_with_its_jet() -> None:
    light, heavy = jet(mass=100, tau1=0.5, tau2=0.05), jet(px=-1000, mass=500, tau1=0.5, tau2=0.45)
    np.testing.assert_allclose(dijet_observables(heavy, light).x[0, 3:], [0.1, 0.9], rtol=1e-4)


def test_a_vanishing_tau1_gives_a_finite_ratio() -> None:
    dijets = dijet_observables(jet(tau1=0.0, tau2=0.0), jet(px=-1000))
    assert dijets.x[0, 3] == 0.0
    assert dijets.status[0] == Status.GOOD


def test_slightly_negative_masses_become_zero() -> None:
    dijets = dijet_observables(jet(mass=-2e-5), jet(px=-1000, mass=-1e-5))
    assert dijets.x[0, 1:3].tolist() == [0.0, 0.0]
    assert dijets.status[0] == Status.GOOD


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"mass": -5.0}, Status.NEGATIVE),
        ({"px": np.nan}, Status.NOT_A_NUMBER),
        ({"tau2": np.inf}, Status.INFINITE),
        ({"pz": 1e200}, Status.TOO_LARGE),
        ({"mass": np.nan}, Status.NOT_A_NUMBER),
    ],
)
def test_a_jet_that_makes_no_sense_makes_the_event_bad(
    wrong: dict[str, float], reason: Status
) -> None:
    assert dijet_observables(jet(), jet(**wrong)).status[0] == reason
    assert dijet_observables(jet(**wrong), jet()).status[0] == reason


def test_good_events_of_a_simple_kind_are_in_the_support(jet_events) -> None:
    table = jet_events(1000).table
    dijets = dijet_observables(Jets.from_table(table[:, :6]), Jets.from_table(table[:, 7:13]))
    assert LHCO.in_support(dijets.x).all()
