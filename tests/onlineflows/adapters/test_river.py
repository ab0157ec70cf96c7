"""The river detector: river's own checks, and the densities behind the scores."""

import copy
import math
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import river
from river import anomaly, base, checks, compose, evaluate, metrics, preprocessing
from sklearn.metrics import roc_auc_score

from onlineflows.adapters.online_density import CAPACITY
from onlineflows.adapters.river import IMPOSSIBLE_NATS, DensityDetector
from onlineflows.density import Density
from onlineflows.errors import ConfigError, DataError
from onlineflows.online.snapshot import read_snapshot
from streams import EventSchema, Feature

SMALL = {"fit_events": 200, "batch_size": 64, "blocks": 1, "hidden": 8, "bins": 4, "seed": 1}

DOWNLOADS = {
    "check_learn_one",
    "check_pickling",
    "check_shuffle_features_no_impact",
    "check_emerging_features",
    "check_disappearing_features",
    "check_radically_disappearing_features",
    "check_predict_one_pure",
    "check_predict_one_before_any_learn",
    "check_no_state_aliasing_with_input",
    "check_clone_is_independent",
    "check_roc_auc",
    "check_bounded_memory_growth",
}
"""River's checks of a detector that download credit card transactions (150 MB): left out as they
are, and done on events of our own instead."""


class Transactions:
    """What river's data set is in short: numbers, labels, and few anomalies, in another shape."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __iter__(self) -> Iterator[tuple[dict[str, float], int]]:
        rng = random.Random(7)
        for number in range(self._n):
            is_anomaly = rng.random() < 0.02
            common = rng.gauss(4.0 if is_anomaly else 0.0, 1.0)
            event = {f"V{k}": common + rng.gauss(0, 0.5) for k in range(1, 6)}
            yield event | {"Time": float(number), "Amount": rng.expovariate(0.01)}, int(is_anomaly)


class SmallDetector(DensityDetector):
    """One that has a density after few events: the checks would otherwise look at zeros."""

    def _unit_test_skips(self) -> set[str]:
        return DOWNLOADS


def small(**changes: object) -> DensityDetector:
    return DensityDetector(**(SMALL | changes))


def detector_of_density() -> DensityDetector:
    return DensityDetector.from_density(trained(events(600))._online.finished())


def trained(rows: list[dict[str, float]], **changes: object) -> DensityDetector:
    detector = small(**changes)
    for row in rows:
        detector.learn_one(row)
    return detector


def events(n: int, seed: int = 1) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    m = rng.gamma(9, 0.3, n)
    t = rng.normal(m, 0.5)
    return [{"m": float(a), "t": float(b)} for a, b in zip(m, t, strict=True)]


def checks_of(model: base.Estimator, *, downloading: bool) -> dict[str, list[Callable[..., None]]]:
    found: dict[str, list[Callable[..., None]]] = {}
    for check in checks.yield_checks(model):
        if ("dataset" in getattr(check, "keywords", {})) == downloading:
            found.setdefault(check.__name__, []).append(check)
    return found


def test_rivers_check_estimator_passes():
    checks.check_estimator(SmallDetector(**SMALL))


def test_a_detector_of_a_density_passes_it_too():
    detector = detector_of_density()
    checks.check_estimator(SmallDetector(density=detector.density, seed=1))


def test_the_checks_that_are_left_out_are_all_that_download_a_data_set():
    assert set(checks_of(small(), downloading=True)) == DOWNLOADS


@pytest.mark.parametrize("name", sorted(DOWNLOADS))
def test_what_is_left_out_passes_on_events_of_our_own(name):
    for check in checks_of(small(), downloading=True)[name]:
        check.func(small(), dataset=Transactions(1000))


def test_seeds_are_found_where_none_is_given():
    check = river.checks.common.check_seeding_is_idempotent
    check(small(seed=None), Transactions(600))
