"""What a snapshot says of itself, made up."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from onlineflows.online.manifest import Manifest, ModelEntry
from onlineflows.settings import FlowConfig
from streams import LHCO

ENTRY = ModelEntry(
    name="joint", inside=None, outside=None, replicas=0, bootstrap=True,
    flow=FlowConfig(blocks=1, hidden=8, bins=4), knots=9, is_fitted=True, n_taken=10, n_trained=10,
    n_uses=40, n_steps=1,
)  # fmt: skip
MANIFEST = Manifest(
    run_name="test", run=1, created_utc="2026-01-01T00:00:00+00:00", code_version="0",
    schema=LHCO.to_dict(), models=(ENTRY,), n_seen=10, n_trained=10, n_uses=40, n_steps=1,
    train_seconds=0.1, final=False, tainted=(), ledger={}, history={}, drift={}, stream={},
    config={},
)  # fmt: skip


@pytest.fixture(scope="session")
def model_entry() -> Callable[..., ModelEntry]:
    """What a manifest says of a small model, some of it changed."""
    return lambda **changed: replace(ENTRY, **changed)


@pytest.fixture(scope="session")
def manifest() -> Callable[..., Manifest]:
    """A manifest of that model, some of it changed."""
    return lambda **changed: replace(MANIFEST, **changed)
