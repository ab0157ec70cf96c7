"""Small files of every format, written by the tests themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import pytest
import uproot
from numpy.typing import NDArray

JET = ["px", "py", "pz", "m", "tau1", "tau2", "tau3"]
COLUMNS = [f"{name}j{jet}" for jet in (1, 2) for name in JET]


@dataclass(frozen=True)
class JetEvents:
    """Dijet events: the 14 columns of a feature file, and labels."""

    table: NDArray[np.float64]
    label: NDArray[np.int64]

    def frame(self) -> pd.DataFrame:
        frame = pd.DataFrame(self.table, columns=COLUMNS)
        frame["label"] = self.label.astype(np.float64)
        return frame

    def jagged(self) -> dict[str, ak.Array]:
        """Pairs of jets as a NanoAOD collection, softer jet first in every third event."""
        jets = self.table.reshape(-1, 2, 7).copy()
        jets[::3] = jets[::3, ::-1]
        px, py, pz, mass, tau1, tau2, _ = np.moveaxis(jets, 2, 0)
        pt = np.hypot(px, py)
        columns = {
            "pt": pt,
            "eta": np.arcsinh(pz / pt),
            "phi": np.arctan2(py, px),
            "mass": mass,
            "tau1": tau1,
            "tau2": tau2,
        }
        return {name: ak.from_regular(ak.Array(values)) for name, values in columns.items()}


@pytest.fixture(scope="session")
def jet_events() -> Callable[..., JetEvents]:
    def make(n: int, seed: int = 1) -> JetEvents:
        rng = np.random.default_rng(seed)
        pt = np.sort(rng.uniform(1200, 2500, (n, 2)), axis=1)[:, ::-1]
        phi = rng.uniform(-np.pi, np.pi, n)[:, None] + np.array([0.0, np.pi])
        tau = np.sort(rng.uniform(0.01, 1.0, (n, 2, 3)), axis=2)[:, :, ::-1]
        mass, eta = rng.uniform(0, 500, (n, 2)), rng.normal(0, 0.7, (n, 2))
        jets = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), mass], axis=2)
        table = np.concatenate([jets, tau], axis=2).reshape(n, 14)
        return JetEvents(table, (rng.random(n) < 0.2).astype(np.int64))

    return make


@pytest.fixture(scope="session")
def particle_table() -> Callable[..., NDArray[np.float64]]:
    """Makes (n, 2101) particle-level events: two back-to-back sprays, zero-padded, unsorted."""

    def make(n: int, seed: int = 1) -> NDArray[np.float64]:
        rng = np.random.default_rng(seed)
        events = np.zeros((n, 700, 3))
        for event in events:
            n_particles = int(rng.integers(40, 120))
            side = rng.integers(0, 2, n_particles)
            fractions = rng.dirichlet(np.ones(n_particles))
            event[:n_particles, 0] = 4000 * fractions
            event[:n_particles, 1] = rng.normal(0.5 * side, 0.2)
            event[:n_particles, 2] = rng.normal(np.pi * side - np.pi / 2, 0.2)
        label = (rng.random(n) < 0.3).astype(np.float64)
        return np.column_stack([events.reshape(n, 2100), label])

    return make


@pytest.fixture(scope="session")
def write_blosc() -> Callable[[Path, NDArray[np.float64]], Path]:
    """Writes a frame with numbered columns in the published layout, without pandas."""

    def write(path: Path, table: NDArray[np.float64], key: str = "df") -> Path:
        n_columns = table.shape[1]
        with h5py.File(path, "w") as file:
            group = file.create_group(key)
            group.attrs.update({"pandas_type": np.bytes_(b"frame"), "nblocks": 1, "ndim": 2})
            group["axis0"] = np.arange(n_columns)
            group["axis1"] = np.arange(len(table))
            group["block0_items"] = np.arange(n_columns)
            group.create_dataset(
                "block0_values",
                data=table,
                chunks=(min(15, len(table)), n_columns),
                **hdf5plugin.Blosc(),
            )
        return path

    return write


@pytest.fixture(scope="session")
def write_tree() -> Callable[..., Path]:
    """Writes jets as NanoAOD does (flat names and counters), in baskets of 50 events."""

    def write(path: Path, events: JetEvents, prefix: str = "FatJet") -> Path:
        content = {
            prefix: ak.zip(events.jagged()),
            "isSignal": events.label.astype(bool),
            "met": np.arange(len(events.label), dtype=np.float32),
        }
        types = {
            name: values.dtype if isinstance(values, np.ndarray) else ak.type(values).content
            for name, values in content.items()
        }
        with uproot.recreate(path) as file:
            tree = file.mktree("Events", types)
            for start in range(0, len(events.label), 50):
                tree.extend({name: values[start : start + 50] for name, values in content.items()})
        return path

    return write


@pytest.fixture(scope="session")
def write_rntuple() -> Callable[..., Path]:
    """Writes the same jets as an RNTuple with one nested collection."""

    def write(path: Path, events: JetEvents, prefix: str = "FatJet") -> Path:
        with uproot.recreate(path) as file:
            file.mkrntuple(
                "Events",
                {
                    prefix: ak.zip(events.jagged()),
                    "isSignal": events.label.astype(bool),
                    "met": np.arange(len(events.label), dtype=np.float32),
                },
            )
        return path

    return write
