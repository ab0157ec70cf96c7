"""Every kind of file through both daemons: each event that is selected is trained on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pandas as pd
import pytest
import uproot

from onlineflows.online.snapshot import read_snapshot
from replay.sources.hdf5 import JET_COLUMNS

CONFIGS = Path(__file__).parents[2] / "configs"
N = 400
"""Events in a file that a test writes."""

REAL = {
    # configuration: file, good events in it, condition of a run with a map of 2,000 events
    "lhco": ("lhco/events_anomalydetection_v2.features.80k.h5", 55_207, "GOOD"),
    "lhco_particles": ("lhco/events_anomalydetection_tiny.h5", 1_000, "TAINTED"),
    "nano_fatjet": ("pythia/lhco_like_nano.root", 20_000, "GOOD"),
    "nano_tt": ("root/nano_tt_v12.root", 33, "TAINTED"),
    "scouting_fatjet": ("root/scouting_nano.root", 40, "TAINTED"),
    "muons_rntuple": ("root/nano_dy_rntuple.root", 6, "TAINTED"),
    "razor": ("root/cms2010_multijet_razor.root", 68_247, "GOOD"),
}


def replay_and_train(
    start: Callable[..., Any], name: str, path: Path, settings: Mapping[str, object]
) -> dict[str, Any]:
    """Runs both daemons to their end; returns the producer's account."""
    config = CONFIGS / f"{name}.toml"
    train = start("train", config, "--json", **settings)
    replay = start("replay", config, "--json", **settings, **{"source.paths": path})
    train.finish()
    account: dict[str, Any] = replay.result()
    return account


def require_learned(
    folder: Path, account: Mapping[str, Any], ledger: Mapping[str, Any], n: int
) -> None:
    """Both accounts agree, all good events were trained on, and a density came of it."""
    assert account["is_acknowledged"]
    same = ("epoch", "generated", "sent", "not_selected", "bad", "busy")
    assert [ledger[name] for name in same] == [account[name] for name in same]
    assert ledger["trained"] == ledger["sent"] == n
    snapshot = read_snapshot(folder)
    assert (snapshot.manifest.n_trained, snapshot.manifest.final) == (n, True)
    density = snapshot.density()
    assert np.isfinite(density.log_prob(density.sample(100, seed=1))).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_a_real_file_is_learned_as_a_whole(
    name: str, start, small, ledger_of, test_data, tmp_path: Path
) -> None:
    file, n_good, condition = REAL[name]
    account = replay_and_train(start, name, test_data(file), small)
    ledger = ledger_of(name)
    require_learned(tmp_path / "runs" / name, account, ledger, n_good)
    assert ledger["condition"] == condition


def write_features(path: Path, rng: np.random.Generator) -> int:
    pd.DataFrame(jets(rng).reshape(N, 14), columns=list(JET_COLUMNS)).to_hdf(path, key="df")
    return N


def jets(rng: np.random.Generator) -> np.ndarray:
    """Two back-to-back jets per event: px, py, pz, m, τ1, τ2, τ3 each. Shape (N, 2, 7)."""
    pt = np.sort(rng.uniform(1300, 2500, (N, 2)))[:, ::-1]
    phi = rng.uniform(-3, 3, N)[:, None] + np.array([0.0, np.pi])
    eta = rng.normal(0, 0.7, (N, 2))
    tau = np.sort(rng.uniform(0.01, 1.0, (N, 2, 3)))[:, :, ::-1]
    momenta = (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), rng.uniform(1, 500, (N, 2)))
    return np.concatenate([np.stack(momenta, axis=2), tau], axis=2)


def write_particles(path: Path, rng: np.random.Generator) -> int:
    pytest.importorskip("fastjet")
    events = np.zeros((N, 700, 3))
    side = rng.integers(0, 2, (N, 60))
    events[:, :60, 0] = 4000 * rng.dirichlet(np.ones(60), N)
    events[:, :60, 1] = rng.normal(0.5 * side, 0.1)
    events[:, :60, 2] = rng.normal(np.pi * side - np.pi / 2, 0.1)
    label = np.arange(N) % 2
    pd.DataFrame(np.column_stack([events.reshape(N, 2100), label])).to_hdf(path, key="df")
    leading = np.where(side == 0, events[:, :60, 0], 0.0).sum(axis=1)
    return int((np.maximum(leading, 4000 - leading) > 1250).sum())


def write_jagged(path: Path, rng: np.random.Generator) -> int:
    px, py, pz, mass, tau1, tau2, _ = np.moveaxis(jets(rng), 2, 0)
    pt = np.hypot(px, py)
    collection = {
        "pt": pt,
        "eta": np.arcsinh(pz / pt),
        "phi": np.arctan2(py, px),
        "mass": mass,
        "tau1": tau1,
        "tau2": tau2,
    }
    n_jets = np.arange(N) % 3  # none, one or both of the jets
    kept = {
        name: ak.unflatten(values[np.arange(2) < n_jets[:, None]], n_jets)
        for name, values in collection.items()
    }
    with uproot.recreate(path) as file:
        tree = {"FatJet": ak.zip(kept), "genIsSignal": np.zeros(N, bool)}
        types = {"FatJet": ak.type(tree["FatJet"]).content, "genIsSignal": np.dtype(bool)}
        file.mktree("Events", types).extend(tree)
    return int((n_jets == 2).sum())


def write_muons(path: Path, rng: np.random.Generator) -> int:
    content = {
        "Muon_pt": rng.uniform(20, 100, (N, 2)),
        "Muon_eta": rng.normal(0, 1, (N, 2)),
        "Muon_phi": rng.uniform(-3, 3, (N, 2)),
        "Muon_mass": np.full((N, 2), 0.1057),
        "Muon_charge": rng.choice([-1, 1], (N, 2)),
    }
    events = {name: ak.from_regular(ak.Array(values)) for name, values in content.items()}
    with uproot.recreate(path) as file:
        file.mkrntuple("Events", {"nMuon": np.full(N, 2), **events})
    return int((content["Muon_charge"].prod(axis=1) < 0).sum())


def write_flat(path: Path, rng: np.random.Generator) -> int:
    branches = {name: rng.uniform(100, 900, N) for name in ("MR", "HT", "MET")}
    with uproot.recreate(path) as file:
        file["razorTree"] = {**branches, "Rsq": rng.uniform(0, 1.5, N)}
    return N


WRITTEN = {
    "lhco": ("features.h5", write_features),
    "lhco_particles": ("particles.h5", write_particles),
    "nano_fatjet": ("tree.root", write_jagged),
    "muons_rntuple": ("rntuple.root", write_muons),
    "razor": ("flat.root", write_flat),
}


@pytest.mark.parametrize(
    "name", ["lhco", *(pytest.param(n, marks=pytest.mark.slow) for n in list(WRITTEN)[1:])]
)
def test_a_file_of_every_format_is_learned_as_a_whole(
    name: str, start, small, ledger_of, tmp_path: Path
) -> None:
    file, write = WRITTEN[name]
    n_good = write(tmp_path / file, np.random.default_rng(1))
    if name == "lhco":  # no labels to thin by, and fewer rows than are published
        config = (CONFIGS / "lhco.toml").read_text()
        for line in ("end_row = 60_000", "signal_fraction = 0.01"):
            assert line in config
            config = config.replace(line, "")
        (tmp_path / "lhco.toml").write_text(config)
        name = str(tmp_path / "lhco")
    account = replay_and_train(start, name, tmp_path / file, small | {"run.name": "mine"})
    ledger = ledger_of("mine")
    require_learned(tmp_path / "runs" / "mine", account, ledger, n_good)
    assert account["generated"] == N
    assert ledger["condition"] == "TAINTED"
