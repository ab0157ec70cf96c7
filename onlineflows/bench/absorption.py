"""`absorption`: how much of a signal a snapshot holds, by its share and by when it came."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.bench.labelled import LabelledTruth
from onlineflows.bench.learning import BLOCK_EVENTS, feed
from onlineflows.bench.study import Key, Row
from onlineflows.errors import DataError
from onlineflows.offline.metrics import Value
from onlineflows.offline.strength import fit_fraction
from onlineflows.online.learner import Learner
from onlineflows.settings import LearnerConfig

LogRatio = Callable[[NDArray[np.floating[Any]]], NDArray[np.float64]]

POSITIONS = {"uniform": (0.0, 1.0), "early": (0.0, 0.1), "late": (0.9, 1.0)}
"""Part of the stream that all signal is in."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured.

    Args:
        fractions: shares of signal, spread evenly over the stream.
        moved: shares of signal that also come all early or all late, and with a reservoir.
        n_seen: events of a stream.
        seeds: streams.
        n_samples: samples of each snapshot.
    """

    fractions: tuple[float, ...] = (0.0, 0.001, 0.003, 0.01, 0.02, 0.05)
    moved: tuple[float, ...] = (0.003, 0.01)
    n_seen: int = 1_000_000
    seeds: int = 3
    n_samples: int = 2_000_000


QUICK = Setting(fractions=(0.0, 0.05), moved=(0.05,), n_seen=24_576, seeds=1, n_samples=20_000)


def keys(setting: Setting) -> list[Key]:
    """Returns the cells of the study: one run for each share, position, buffer and seed."""
    cases = [(fraction, "uniform", "window") for fraction in setting.fractions]
    cases += [(f, p, "window") for f in setting.moved for p in ("early", "late")]
    cases += [(f, p, "reservoir") for f in setting.moved for p in POSITIONS]
    return [
        {"fraction": fraction, "position": position, "buffer": buffer, "seed": seed}
        for fraction, position, buffer in cases
        for seed in range(1, 1 + setting.seeds)
    ]


def measure(
    truth: Callable[[], LabelledTruth], log_ratio: LogRatio, setting: Setting, key: Key
) -> list[Row]:
    """Returns the share of signal in the data and in the snapshot's samples, fitted alike.

    Args:
        truth: makes the stream; called in the process that needs it.
        log_ratio: log p_s / p_b of events on all features, shape (n,).
        setting: what is measured.
        key: one of `keys`.
    """
    torch.set_num_threads(1)
    made, fraction, seed = truth(), key["fraction"], key["seed"]
    read = made.open(seed, fraction)
    parts = [
        read(min(BLOCK_EVENTS, setting.n_seen - start))
        for start in range(0, setting.n_seen, BLOCK_EVENTS)
    ]
    x = np.concatenate([part[0] for part in parts])
    label = np.concatenate([part[1] for part in parts])
    x = x[moved(label, key["position"], np.random.default_rng((seed, 1)))]
    config = LearnerConfig()
    buffer = dataclasses.replace(config.buffer, kind=key["buffer"])
    learner = Learner(made.schema, dataclasses.replace(config, buffer=buffer))
    for start in range(0, len(x), BLOCK_EVENTS):
        feed(learner, x[start : start + BLOCK_EVENTS])
    learner.finish()
    density = learner.density()
    if density is None:
        raise DataError(f"expected enough events for a density; got {len(x)}")
    drawn = density.sample(setting.n_samples, seed=seed)
    in_data, in_samples = (_fitted(made, log_ratio, events) for events in (x, drawn))
    row = {
        "injected": int(np.count_nonzero(label)) / len(label),
        "data": in_data.value,
        "data_error": in_data.error,
        "learned": in_samples.value,
        "learned_error": in_samples.error,
        "n_seen": len(x),
    }
    return [row]


def moved(
    label: NDArray[np.integer[Any]], position: str, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Returns an order of the events in which all signal is in one part of the stream.

    Background keeps its order; signal comes at random times of that part.

    Args:
        label: 1 for signal, shape (n,), in the order of the stream.
        position: of `POSITIONS`.
        rng: draws the times.
    """
    n = len(label)
    when = (np.arange(n) + 0.5) / n
    signal = np.flatnonzero(label)
    when[signal] = rng.uniform(*POSITIONS[position], size=len(signal))
    return np.argsort(when, kind="stable")


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Returns the learned share of signal for each injected one and position."""
    groups: dict[tuple[str, str, float], list[Row]] = {}
    for row in rows:
        key = row["buffer"], row["position"], row["fraction"]
        groups.setdefault(key, []).append(row)
    found: list[Row] = []
    for (buffer, position, fraction), group in sorted(groups.items()):
        learned = np.array([row["learned"] for row in group])
        data = np.array([row["data"] for row in group])
        # The share that data of this stream show, not the nominal one: both saw the same events.
        lost = learned - data
        n = len(group)
        document: Row = {
            "what": "signal absorption",
            "buffer": buffer,
            "position": position,
            "fraction": fraction,
            "injected": float(np.mean([row["injected"] for row in group])),
            "data": float(data.mean()),
            "data_error": float(np.mean([row["data_error"] for row in group])),
            "learned": float(learned.mean()),
            "learned_std": float(learned.std(ddof=1)) if n > 1 else 0.0,
            "difference": float(lost.mean()),
            "difference_error": float(lost.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0,
            "kept": float((learned / data).mean()) if fraction else None,
            "kept_error": float((learned / data).std(ddof=1) / np.sqrt(n))
            if fraction and n > 1
            else None,
            "n_seen": group[0]["n_seen"],
            "n_seeds": n,
        }
        found.append(document)
    return found


def _fitted(truth: LabelledTruth, log_ratio: LogRatio, x: NDArray[np.float32]) -> Value:
    # The templates live inside the support; a model may put events exactly on its edges.
    inside = (x > truth.schema.low).all(axis=1) & (x < truth.schema.high).all(axis=1)
    return fit_fraction(log_ratio(x[inside]))
