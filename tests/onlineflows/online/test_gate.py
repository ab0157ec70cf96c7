"""The gate: right densities pass, wrong ones don't, and it costs no more than it says."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from onlineflows.density import Density
from onlineflows.errors import CheckpointError
from onlineflows.flows import make_flow
from onlineflows.online.gate import LEAST_EVENTS, Gate, Verdict, ks_to_normal
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import FlowConfig, GateConfig
from streams import EventSchema
from streams.schema import Feature

SCHEMA = EventSchema((Feature("a", "", -9.0, 9.0), Feature("b", "", -9.0, 9.0)))
CONFIG = GateConfig(events=1024, directions=8, false_alarms=0.01)


def normals(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (n, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def density() -> Density:
    """Nearly that of two independent normals: its map is fitted, its flow is the identity."""
    generator = torch.Generator().manual_seed(1)
    flow = make_flow(FlowConfig(blocks=1, hidden=8), 2, generator=generator)
    return Density(SCHEMA, Preprocessing.fit(SCHEMA, normals(400_000, 1), knots=25), flow)


def judged(density: Density, x: np.ndarray, config: GateConfig = CONFIG) -> Verdict:
    gate = Gate(config, 2)
    gate.remember(x)
    verdict = gate.judge(density)
    assert verdict is not None
    return verdict


def test_events_of_the_density_pass_as_often_as_configured(density: Density) -> None:
    failed = [not judged(density, normals(1024, seed)).passed for seed in range(2, 202)]

    # Bonferroni is cautious: at most 1 % of 200, and more than 7 has a probability below 1e-3.
    assert sum(failed) <= 7


@pytest.mark.parametrize("direction", [0, 1])
def test_a_shifted_feature_fails_and_is_named(density: Density, direction: int) -> None:
    x = normals(1024, 2)
    x[:, direction] += 0.25

    verdict = judged(density, x, GateConfig(events=1024, directions=0))

    assert not verdict.passed
    assert verdict.statistic > verdict.threshold
    assert verdict.direction == direction


def test_a_correlation_fails_though_no_feature_differs(density: Density) -> None:
    mix = np.linalg.cholesky([[1, 0.5], [0.5, 1]]).T
    x = (normals(1024, 3) @ mix).astype(np.float32)

    verdict = judged(density, x)

    assert not verdict.passed
    assert verdict.direction == -1


def test_only_the_newest_events_count(density: Density) -> None:
    gate = Gate(CONFIG, 2)
    gate.remember(normals(5000, 4, shift=2.0))
    gate.remember(normals(700, 5))
    gate.remember(normals(324, 6))

    verdict = gate.judge(density)

    assert verdict is not None
    assert verdict.passed


def test_the_verdict_does_not_depend_on_the_sizes_of_the_batches(density: Density) -> None:
    x = normals(3000, 7)
    whole, pieces = Gate(CONFIG, 2), Gate(CONFIG, 2)
    whole.remember(x)
    for part in np.split(x, [1, 500, 501, 1700]):
        pieces.remember(part)

    assert whole.judge(density) == pieces.judge(density)


def test_few_events_are_not_judged(density: Density) -> None:
    gate = Gate(CONFIG, 2)
    gate.remember(normals(LEAST_EVENTS - 1, 8))
    assert gate.judge(density) is None
    gate.remember(normals(1, 9))
    assert gate.judge(density) is not None


def test_no_events_are_kept_where_none_are_wanted(density: Density) -> None:
    gate = Gate(GateConfig(events=0), 2)
    gate.remember(normals(1000, 9))

    assert gate.nbytes == 0
    assert gate.judge(density) is None


def test_a_restart_judges_alike(density: Density) -> None:
    gate, restarted = Gate(CONFIG, 2), Gate(CONFIG, 2)
    gate.remember(normals(1500, 10))
    restarted.load(gate.state())
    for one in (gate, restarted):
        one.remember(normals(100, 11))

    assert gate.judge(density) == restarted.judge(density)


def test_the_state_of_another_configuration_is_refused() -> None:
    with pytest.raises(CheckpointError, match="gate: expected"):
        Gate(CONFIG, 2).load(Gate(GateConfig(events=512), 2).state())


def test_the_distance_is_that_of_scipy() -> None:
    values = np.random.default_rng(12).normal(0.1, 1.2, (300, 3))

    expected = [kstest(column, "norm").statistic for column in values.T]

    assert ks_to_normal(values) == pytest.approx(expected)


def test_what_is_no_number_is_as_far_as_can_be() -> None:
    assert ks_to_normal(np.array([[0.0], [np.nan]])).tolist() == [1.0]
