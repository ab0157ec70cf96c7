"""Hadrons to jets to the columns of a feature file, with fastjet (an optional extra)."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from streams import InputError

MIN_JET_PT_GEV = 20.0
"""Softer jets aren't kept, as in the example that came with the LHC Olympics data."""

SUBJETTINESS_RADIUS = 1.0
"""R0 in the normalisation of tau_N, whatever the jets' radius."""

N_COLUMNS = 7
"""Columns per jet: px, py, pz, m, tau1, tau2, tau3."""


@dataclass(frozen=True, slots=True, eq=False)
class Particles:
    """Massless particles of n events, one after the other.

    Args:
        pt: transverse momenta in GeV, shape (total,).
        eta: pseudorapidities, shape (total,).
        phi: azimuths in radians, shape (total,).
        counts: particles of each event, shape (n,).
    """

    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    counts: NDArray[np.int64]


def load_fastjet() -> ModuleType:
    """Returns the fastjet module, with its banner on standard output switched off.

    Users of the reconstruction should cite FastJet (1111.6097) and N-subjettiness (1011.2268).

    Raises:
        InputError: fastjet isn't installed.
    """
    try:
        import fastjet
        import fastjet._pyjet
    except ImportError as error:
        raise InputError(
            "expected fastjet, which turns particles into jets; it isn't installed; "
            'pip install "onlineflows[particles]"'
        ) from error
    # The public wrapper lacks this method, and a banner would spoil JSON on standard output.
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)  # noqa: SLF001
    module: ModuleType = fastjet
    return module


def dijet_features(particles: Particles, *, jet_radius: float) -> NDArray[np.float64]:
    """Returns the 14 columns of a feature file: px, py, pz, m, tau1..3 of the two leading jets.

    Anti-kT jets (0802.1189), recombined by adding four-momenta; jet 1 has the highest pT.
    tau_N = sum_i pT_i min_k dR(i, k) / (R0 sum_i pT_i), with the N exclusive kT subjets as axes,
    beta = 1, R0 = 1 (1011.2268); 0 for a jet of N particles or fewer.

    Args:
        particles: what to cluster; all values finite and pT > 0.
        jet_radius: radius R.

    Returns:
        Shape (n, 14), in GeV; NaN where there is no such jet. A massless jet may have a slightly
        negative mass: the sign of E^2 - p^2 is kept, as in the published files.
    """
    n = len(particles.counts)
    table = np.full((n, 2, N_COLUMNS), np.nan)
    if len(particles.pt) == 0:
        return table.reshape(n, 2 * N_COLUMNS)
    fastjet = load_fastjet()
    offsets = np.concatenate([[0], np.cumsum(particles.counts)])
    momenta = np.stack(
        [
            particles.pt * np.cos(particles.phi),
            particles.pt * np.sin(particles.phi),
            particles.pt * np.sinh(particles.eta),
            particles.pt * np.cosh(particles.eta),
        ]
    )
    clustering = fastjet.ClusterSequence(
        _jagged(offsets, momenta),
        fastjet.JetDefinition(fastjet.antikt_algorithm, jet_radius),
    )
    jets = clustering.inclusive_jets(min_pt=MIN_JET_PT_GEV)
    members = clustering.constituent_index(min_pt=MIN_JET_PT_GEV)
    order = ak.argsort(jets.px**2 + jets.py**2, ascending=False, stable=True)[:, :2]
    jets, members = jets[order], members[order]
    found = ak.to_numpy(ak.num(order)).astype(np.int64)
    exists = np.arange(2) < found[:, None]
    table[exists, :4] = _four_columns(jets)
    table[exists, 4:] = _subjettiness(fastjet, offsets, momenta, members)
    return table.reshape(n, 2 * N_COLUMNS)


def _four_columns(jets: Any) -> NDArray[np.float64]:
    """Returns px, py, pz and the signed mass of jets, shape (total, 4)."""
    flat = ak.flatten(jets)
    px, py, pz, energy = (ak.to_numpy(flat[name]) for name in ("px", "py", "pz", "E"))
    mass2 = energy**2 - px**2 - py**2 - pz**2
    return np.stack([px, py, pz, np.sign(mass2) * np.sqrt(np.abs(mass2))], axis=1)


def _subjettiness(
    fastjet: ModuleType, offsets: NDArray[np.int64], momenta: NDArray[np.float64], members: Any
) -> NDArray[np.float64]:
    """Returns tau1, tau2, tau3 of jets, shape (total, 3).

    Args:
        fastjet: the module.
        offsets: where each event's particles begin, shape (n + 1,).
        momenta: px, py, pz, E of all particles, shape (4, total particles).
        members: for each event and jet the particles' numbers within the event.
    """
    counts = ak.to_numpy(ak.flatten(ak.num(members, axis=2))).astype(np.int64)
    if len(counts) == 0:
        return np.empty((0, 3))
    index = ak.to_numpy(ak.flatten(members + ak.Array(offsets[:-1]), axis=None))
    jet_offsets = np.concatenate([[0], np.cumsum(counts)])
    # The jets' particles are clustered once more, each jet as an event of its own.
    clustering = fastjet.ClusterSequence(
        _jagged(jet_offsets, momenta[:, index]),
        fastjet.JetDefinition(fastjet.kt_algorithm, SUBJETTINESS_RADIUS),
    )
    tau = clustering.njettiness(
        "NormalizedMeasure", "KT_Axes", [1, 2, 3], beta=1.0, R0=SUBJETTINESS_RADIUS
    )
    table: NDArray[np.float64] = ak.to_numpy(tau).reshape(-1, 3)
    table[counts[:, None] <= np.array([1, 2, 3])] = 0.0
    return table


def _jagged(offsets: NDArray[np.int64], momenta: NDArray[np.float64]) -> Any:
    """Returns lists of four-momenta from flat arrays, without a copy."""
    fields = ["px", "py", "pz", "E"]
    columns = [ak.contents.NumpyArray(np.ascontiguousarray(column)) for column in momenta]
    return ak.Array(
        ak.contents.ListOffsetArray(
            ak.index.Index64(offsets.astype(np.int64)), ak.contents.RecordArray(columns, fields)
        )
    )
