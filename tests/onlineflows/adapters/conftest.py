"""A small trained snapshot of two models, and the closed form of what it has learned."""

from pathlib import Path

import numpy as np
import pytest

from onlineflows.model_settings import ModelConfig
from onlineflows.online.learned import LearnedModel
from onlineflows.online.manifest import Manifest, ModelEntry
from onlineflows.online.model_learner import ModelLearner
from onlineflows.online.snapshot import Snapshot, write_snapshot
from onlineflows.settings import FlowConfig, LearnerConfig, PreprocessConfig
from streams import EventSchema, Feature

SCHEMA = EventSchema((Feature("m", "TeV", 0.0, 10.0), Feature("t", "", -5.0, 15.0)))
CONFIG = LearnerConfig(
    models=(ModelConfig("joint"), ModelConfig("window", inside=(2.0, 4.0), replicas=1)),
    preprocess=PreprocessConfig(fit_events=1000, knots=9),
    flow=FlowConfig(blocks=1, hidden=8, bins=4),
)


def sample(n: int, seed: int) -> np.ndarray:
    """Events: m is Gamma(9, 0.3) in TeV, t is normal around m with width 0.5."""
    rng = np.random.default_rng(seed)
    m = rng.gamma(9, 0.3, n)
    return np.stack([m, rng.normal(m, 0.5)], axis=1).astype(np.float32)


@pytest.fixture(scope="session")
def snapshot_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of snapshots with the models "joint" and "window"; not to be changed."""
    entries, learned = [], {}
    x = sample(6000, seed=1)
    for model in CONFIG.models:
        learner = ModelLearner(SCHEMA, CONFIG, model)
        inside = SCHEMA.in_support(x) & learner.region.contains(x[:, 0])
        learner.take(x[inside], np.flatnonzero(inside))
        learner.finish()
        learned[model.name] = LearnedModel(learner.thetas(), learner.map_arrays())
        entries.append(
            ModelEntry(
                name=model.name,
                inside=model.inside,
                outside=model.outside,
                replicas=model.replicas,
                bootstrap=model.bootstrap,
                flow=CONFIG.flow,
                knots=CONFIG.preprocess.knots,
                is_fitted=True,
                n_taken=learner.n_taken,
                n_trained=learner.n_trained,
                n_uses=learner.n_uses,
                n_steps=learner.n_steps,
            )
        )
    manifest = Manifest(
        run_name="adapters",
        run=1,
        created_utc="2026-01-01T00:00:00Z",
        code_version="0",
        schema=SCHEMA.to_dict(),
        models=tuple(entries),
        n_seen=len(x),
        n_trained=len(x),
        n_uses=4 * len(x),
        n_steps=1,
        train_seconds=0.1,
        final=True,
        tainted=(),
        ledger={},
        history={"stretch_events": 10, "points": []},
        drift={},
        stream={},
        config={},
    )
    folder = tmp_path_factory.mktemp("snapshots")
    write_snapshot(folder, Snapshot(manifest, learned), manifest_nbytes=16_384)
    return folder
