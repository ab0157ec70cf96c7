"""LHC Olympics particle files: 700 x (pT, eta, phi) per event, clustered while they are read.

Clustering costs about half a millisecond per event and core: for rates of a trigger, reconstruct
once (`replay.conversion`) and replay the feature file.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from replay.observables import Jets, dijet_observables
from replay.reconstruct import N_COLUMNS, Particles, dijet_features, load_fastjet
from replay.settings import LhcoParticlesConfig
from replay.sources.files import FileSource, open_files
from replay.sources.hdf5 import PandasFixed
from replay.sources.reader import Rows, labels_from
from streams import LHCO, EventSchema, InputError, Status, why_not_finite

MAX_PARTICLES = 700
N_VALUES = 3 * MAX_PARTICLES


@dataclass(frozen=True, slots=True, eq=False)
class JetRows:
    """Some rows of a particle file after clustering.

    Args:
        table: the 14 columns of a feature file, shape (n, 14), GeV; NaN where there is no jet.
        x: features, shape (n, d), in the schema's units.
        status: one `streams.Status` per row, shape (n,), uint8.
        label: truth, shape (n,), uint8; None where the file has none.
    """

    table: NDArray[np.float64]
    x: NDArray[np.float32]
    status: NDArray[np.uint8]
    label: NDArray[np.uint8] | None


class ParticleReader:
    """One particle file as a `replay.sources.reader.Reader`.

    An event without particles, or with values that aren't finite or a negative pT, is
    bad; one without two jets, or whose leading jet is too soft, isn't selected.

    Args:
        path: the file.
        config: key, jet radius and threshold.

    Raises:
        InputError: the file isn't one, or fastjet isn't installed.
    """

    schema: EventSchema = LHCO
    block_rows = 256
    """4 MB of particles, some 0.1 s of clustering."""
    shuffle_rows = 1024

    def __init__(self, path: Path, config: LhcoParticlesConfig) -> None:
        load_fastjet()
        self._jet_radius = config.jet_radius
        self._min_pt_gev = config.min_leading_pt_gev
        self._frame = PandasFixed(path, config.key)
        columns = self._frame.columns
        if len(columns) not in (N_VALUES, N_VALUES + 1):
            self.close()
            raise InputError(
                f"expected {N_VALUES} columns (700 x pT, eta, phi), or {N_VALUES + 1} with the "
                f"label last; got {len(columns)}; at {path}, key {config.key!r}"
                + ("; is it a feature file (type 'lhco_features')?" if len(columns) < 20 else "")
            )
        self._particles = columns[:N_VALUES]
        self._label = columns[N_VALUES] if len(columns) > N_VALUES else None

    @property
    def path(self) -> Path:
        """The file."""
        return self._frame.path

    @property
    def n_rows(self) -> int:
        """Rows in the file."""
        return self._frame.n_rows

    @property
    def has_label(self) -> bool:
        """Whether the file holds truth labels."""
        return self._label is not None

    def read_rows(self, start: int, stop: int, keep: NDArray[np.bool_] | None = None) -> Rows:
        """Returns rows start to stop, or those that a mask keeps; only these are clustered."""
        rows = self.read_jets(start, stop, keep)
        return Rows(rows.x, rows.status, rows.label)

    def read_jets(self, start: int, stop: int, keep: NDArray[np.bool_] | None = None) -> JetRows:
        """Returns the jets of rows start to stop, or of those that a mask keeps."""
        names = self._particles if self._label is None else [*self._particles, self._label]
        table = self._frame.read(names, start, stop)
        if keep is not None:
            table = table[keep]
        label = None if self._label is None else self._labels(table[:, N_VALUES])
        return self._reconstruct(table[:, :N_VALUES].reshape(-1, MAX_PARTICLES, 3), label)

    def read_labels(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Returns the truth labels alone, shape (stop - start,)."""
        if self._label is None:
            raise InputError(f"expected a label column; got none; at {self.path}")
        return self._labels(self._frame.read([self._label], start, stop)[:, 0])

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        self._frame.close()

    def _reconstruct(self, events: NDArray[np.float64], label: NDArray[np.uint8] | None) -> JetRows:
        """Returns the jets of zero-padded events, shape (n, 700, 3)."""
        particles, reasons = unpad(events)
        table = dijet_features(particles, jet_radius=self._jet_radius)
        dijets = dijet_observables(
            Jets.from_table(table[:, :6]), Jets.from_table(table[:, N_COLUMNS : N_COLUMNS + 6])
        )
        # Without a jet the pT is NaN, which is below any threshold.
        has_two = np.isfinite(table[:, N_COLUMNS])
        selected = has_two & (np.hypot(table[:, 0], table[:, 1]) > self._min_pt_gev)
        status = np.where(selected, dijets.status, np.uint8(Status.NOT_SELECTED))
        status = np.where(reasons == Status.GOOD, status, reasons)
        return JetRows(table, dijets.x, status.astype(np.uint8), label)

    def _labels(self, values: NDArray[np.float64]) -> NDArray[np.uint8]:
        return labels_from(values, f"column {self._label!r} of {self.path}")


def unpad(events: NDArray[np.float64]) -> tuple[Particles, NDArray[np.uint8]]:
    """Returns the particles of zero-padded events, and why events can't be used (or GOOD).

    Events that can't (no particle, a value that isn't finite, a negative pT) get no particles.

    Args:
        events: pT in GeV, eta, phi of up to 700 particles, shape (n, 700, 3).
    """
    pt = events[:, :, 0]
    is_particle: NDArray[np.bool_] = pt > 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        # The energy is the largest number that clustering sees.
        is_sane = np.isfinite(pt * np.cosh(events[:, :, 1])) & np.isfinite(events[:, :, 2])
    usable: NDArray[np.bool_] = np.asarray(
        is_particle.any(axis=1) & is_sane.all(axis=1) & (pt >= 0.0).all(axis=1)
    )
    is_particle &= usable[:, None]
    flat = events[is_particle]
    counts = is_particle.sum(axis=1)
    reasons = np.zeros(len(events), dtype=np.uint8)
    if not usable.all():
        reasons[~usable] = _why_not_usable(events[~usable])
    return Particles(flat[:, 0], flat[:, 1], flat[:, 2], counts), reasons


def _why_not_usable(events: NDArray[np.float64]) -> NDArray[np.uint8]:
    reasons = why_not_finite(events.reshape(-1, N_VALUES))
    is_finite = reasons == Status.TOO_LARGE
    pt = events[:, :, 0]
    reasons[is_finite & (pt < 0.0).any(axis=1)] = Status.NEGATIVE
    reasons[is_finite & (pt == 0.0).all(axis=1)] = Status.NO_PARTICLES
    return reasons


def open_particles(config: LhcoParticlesConfig) -> FileSource:
    """Returns the stream over LHC Olympics particle files.

    Raises:
        InputError: a file is missing or isn't one, or fastjet isn't installed.
    """
    return open_files(config.paths, lambda path: ParticleReader(path, config), config.selection)
