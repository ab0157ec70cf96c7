"""The dijet observables of the LHC Olympics from two jets: one place, numpy only."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streams import Status, why_not_finite

TAU_EPSILON = 1e-5
"""Added to tau1 before dividing by it, as in the CATHODE recipe (2109.00546)."""

MASS_ROUNDING_GEV = 1.0
"""Masses down to minus this are rounding and become 0. A massless jet of E ~ 1 TeV has
m^2 = E^2 - p^2 of the order of E^2 eps: the published float64 features hold masses down to
-2.2e-5 GeV, float32 files (NanoAOD) can reach some -0.5 GeV. Anything below isn't a mass."""

GEV_PER_TEV = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class Jets:
    """One jet per event; each array has shape (n,).

    Args:
        px, py, pz: momentum in GeV.
        mass: mass in GeV.
        tau1, tau2: N-subjettiness (1011.2268).
    """

    px: NDArray[np.float64]
    py: NDArray[np.float64]
    pz: NDArray[np.float64]
    mass: NDArray[np.float64]
    tau1: NDArray[np.float64]
    tau2: NDArray[np.float64]

    @classmethod
    def from_table(cls, columns: NDArray[np.floating[Any]]) -> Self:
        """Returns the jets whose (px, py, pz, mass, tau1, tau2) are the columns of a table.

        Args:
            columns: shape (n, 6), in GeV where it applies.
        """
        return cls(*np.asarray(columns, dtype=np.float64).T)

    @classmethod
    def from_cylindrical(cls, columns: NDArray[np.floating[Any]]) -> Self:
        """Returns the jets whose (pT, eta, phi, mass, tau1, tau2) are the columns of a table.

        Args:
            columns: shape (n, 6), in GeV and radians where it applies.
        """
        pt, eta, phi, mass, tau1, tau2 = np.asarray(columns, dtype=np.float64).T
        with np.errstate(over="ignore", invalid="ignore"):
            return cls(pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), mass, tau1, tau2)


@dataclass(frozen=True, slots=True, eq=False)
class Dijets:
    """The five observables of `streams.LHCO` and whether they can be used.

    Args:
        x: shape (n, 5): mjj, mJ1, dmJ in TeV, tau21J1, tau21J2.
        status: `Status.GOOD`, or why the event can't be used, shape (n,), uint8.
    """

    x: NDArray[np.float32]
    status: NDArray[np.uint8]


def dijet_observables(first: Jets, second: Jets) -> Dijets:
    """Returns the observables of pairs of jets; the order of the two is irrelevant.

    J1 is the lighter jet, dmJ = mJ2 - mJ1, tau21 = tau2 / (1e-5 + tau1), all masses in TeV:
    the recipe of CATHODE (2109.00546, section 2). Values that aren't finite and masses below
    -`MASS_ROUNDING_GEV` make an event bad.

    Args:
        first: one of the two leading jets of each event.
        second: the other one.

    Example:
        >>> one = Jets.from_table(np.array([[1750.0, 0.0, 0.0, 0.0, 0.2, 0.1]]))
        >>> two = Jets.from_table(np.array([[-1750.0, 0.0, 0.0, 0.0, 0.0, 0.0]]))
        >>> [float(value.round(3)) for value in dijet_observables(one, two).x[0]]
        [3.5, 0.0, 0.0, 0.5, 0.0]
    """
    with np.errstate(all="ignore"):
        mass_a, mass_b = np.maximum(first.mass, 0.0), np.maximum(second.mass, 0.0)
        second_is_lighter = mass_b < mass_a
        tau21_a = first.tau2 / (TAU_EPSILON + first.tau1)
        tau21_b = second.tau2 / (TAU_EPSILON + second.tau1)
        lighter, heavier = np.minimum(mass_a, mass_b), np.maximum(mass_a, mass_b)
        x = np.stack(
            [
                invariant_mass(first, second) / GEV_PER_TEV,
                lighter / GEV_PER_TEV,
                (heavier - lighter) / GEV_PER_TEV,
                np.where(second_is_lighter, tau21_b, tau21_a),
                np.where(second_is_lighter, tau21_a, tau21_b),
            ],
            axis=1,
        ).astype(np.float32)
        usable = (first.mass > -MASS_ROUNDING_GEV) & (second.mass > -MASS_ROUNDING_GEV)
    usable &= np.isfinite(x).all(axis=1)
    status = np.zeros(len(x), dtype=np.uint8)
    if not usable.all():
        bad = np.flatnonzero(~usable)
        status[bad] = _why_not_usable(first, second, bad)
    return Dijets(x, status)


def _why_not_usable(first: Jets, second: Jets, bad: NDArray[np.intp]) -> NDArray[np.uint8]:
    values = [(j.px, j.py, j.pz, j.mass, j.tau1, j.tau2) for j in (first, second)]
    reasons = why_not_finite(np.stack([v[bad] for v in (*values[0], *values[1])], axis=1))
    mass = np.minimum(first.mass[bad], second.mass[bad])
    is_finite = reasons == Status.TOO_LARGE
    reasons[is_finite & (mass <= -MASS_ROUNDING_GEV)] = Status.NEGATIVE
    return reasons


def invariant_mass(first: Jets, second: Jets) -> NDArray[np.float64]:
    """Returns the invariant mass of pairs of jets in GeV, shape (n,)."""
    energy = _energy(first) + _energy(second)
    momentum2 = (
        (first.px + second.px) ** 2 + (first.py + second.py) ** 2 + (first.pz + second.pz) ** 2
    )
    mass: NDArray[np.float64] = np.sqrt(np.maximum(energy**2 - momentum2, 0.0))
    return mass


def _energy(jets: Jets) -> NDArray[np.float64]:
    energy: NDArray[np.float64] = np.sqrt(
        jets.px**2 + jets.py**2 + jets.pz**2 + np.maximum(jets.mass, 0.0) ** 2
    )
    return energy
