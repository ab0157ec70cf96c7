"""The drift alarm."""

import numpy as np
import pytest

from onlineflows.errors import CheckpointError
from onlineflows.online.drift import DriftMonitor, scatter_of_means
from onlineflows.settings import DriftConfig

CONFIG = DriftConfig(delta=1e-5, warmup_events=1000)


def feed(monitor: DriftMonitor, values, first: int = 1000):
    alarms = [
        monitor.update(float(v), n_seen=first + 100 * i, lumisection=1 + i // 100)
        for i, v in enumerate(values)
    ]
    return [a for a in alarms if a is not None]


def test_a_constant_stream_raises_no_alarm():
    # ADWIN bounds the false-alarm rate at each step by delta = 1e-5.
    assert feed(DriftMonitor(CONFIG), np.random.default_rng(1).normal(5, 0.3, 10_000)) == []


def test_a_rise_by_three_sigma_raises_one_alarm_soon():
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(5, 0.3, 2000), rng.normal(5.9, 0.3, 500)])
    first, *_ = feed(DriftMonitor(CONFIG), values)
    assert 1000 + 100 * 2000 < first.n_seen < 1000 + 100 * 2100
    assert first.nll_after > first.nll_before


def skewed_means(n: int, seed: int) -> np.ndarray:
    """Means of 256 NLLs of a five-dimensional normal."""
    return np.random.default_rng(seed).chisquare(5 * 256, n) / (2 * 256)


def monitor_of_five() -> DriftMonitor:
    return DriftMonitor(CONFIG, scatter_nats=scatter_of_means(5, 256))


def test_the_scatter_of_means_is_that_of_a_normal():
    assert skewed_means(20_000, seed=5).std() == pytest.approx(scatter_of_means(5, 256), rel=0.02)


def test_a_rise_by_two_scatters_is_seen_within_32_batches():
    # Without the scale it is not seen in 98, after which the frozen model is renewed.
    values = np.concatenate([skewed_means(400, 6), skewed_means(98, 7) + 0.2])
    first, *_ = feed(monitor_of_five(), values)
    assert first.n_seen - 1000 <= 100 * (400 + 32)
    assert first.nll_before == pytest.approx(2.5, abs=0.05)
    assert first.nll_after == pytest.approx(2.7, abs=0.1)


def test_a_scaled_monitor_raises_no_false_alarm():
    # The measured rate is below 1 in 60,000 means.
    assert feed(monitor_of_five(), skewed_means(20_000, seed=8)) == []


def test_a_falling_nll_raises_no_alarm():
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(5, 0.3, 2000), rng.normal(4, 0.3, 2000)])
    assert feed(DriftMonitor(CONFIG), values) == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_one_number_that_is_not_finite_does_not_disable_the_alarm(bad):
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(5, 0.3, 1000), [bad], rng.normal(7, 0.3, 500)])
    assert feed(DriftMonitor(CONFIG), values)


def test_nothing_is_raised_before_the_warm_up_ends():
    values = np.concatenate([np.full(50, 1.0), np.full(50, 90.0)])
    assert feed(DriftMonitor(DriftConfig(warmup_events=10**6)), values) == []


def test_the_alarms_survive_a_restart():
    monitor, restored = DriftMonitor(CONFIG), DriftMonitor(CONFIG)
    feed(monitor, np.repeat([1.0, 9.0], 500))
    restored.load(monitor.to_dict())
    assert restored.alarms == monitor.alarms
    assert restored.n_alarms == monitor.n_alarms >= 1


def test_a_state_that_is_not_one_is_refused():
    with pytest.raises(CheckpointError, match="drift"):
        DriftMonitor(CONFIG).load({"n_alarms": 1})
