"""Small densities with random weights over every kind of support."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from onlineflows.density import Density
from onlineflows.flows import build_spec, flow_over
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import FlowConfig
from streams import EventSchema, Feature

SCHEMA = EventSchema(
    (
        Feature("m", "TeV", 0.0, 10.0),
        Feature("above", "GeV", 0.0, math.inf),
        Feature("below", "", -math.inf, 3.0),
        Feature("free", "", -math.inf, math.inf),
    )
)


def drawn_events(n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    m = rng.gamma(9.0, 0.3, n).clip(0.01, 9.9)
    # A twentieth of the second feature are exact zeros, as a detector gives them.
    above = rng.gamma(2 + m, 20.0, n) * (rng.random(n) > 0.05)
    columns = [m, above, 3.0 - rng.gamma(2.0, 0.5, n), rng.normal(0, 2, n) + m]
    return np.stack(columns, axis=1).astype(np.float32)


def density_of(config: FlowConfig, seed: int = 1) -> Density:
    spec = build_spec(config, SCHEMA.n_features)
    generator = torch.Generator().manual_seed(seed)
    theta = 0.3 * torch.randn(spec.n_parameters, generator=generator)
    preprocessing = Preprocessing.fit(SCHEMA, drawn_events(4000), knots=9)
    return Density(SCHEMA, preprocessing, flow_over(spec, theta))


@pytest.fixture(scope="session")
def density() -> Callable[..., Density]:
    """Makes a density from a flow's configuration and a seed."""
    return density_of


@pytest.fixture(scope="session")
def trying_events() -> np.ndarray:
    """Events, the edges of every support, outliers, and what is outside or no number."""
    x = drawn_events(500, seed=2).astype(np.float64)
    edges, outside = x[:8].copy(), x[:8].copy()
    edges[0, 0], edges[1, 0], edges[2, 1], edges[3, 2] = 0.0, 10.0, 0.0, 3.0
    edges[4, 0], edges[5, 1], edges[6, 2], edges[7, 3] = 1e-7, 1e6, -1e6, 1e6
    outside[0, 0], outside[1, 0], outside[2, 1], outside[3, 2] = -1e-9, 10.0001, -1e-9, 3.0001
    outside[4, 0], outside[5, 1], outside[6, 2], outside[7, 3] = np.nan, np.inf, -np.inf, np.nan
    return np.concatenate([x, edges, outside])
