"""The density as a river anomaly detector, beside river's HalfSpaceTrees.

``python3 tests/benchmarks/river_detectors.py`` prints one JSON document. All detectors see the same
events, a stretch of them each in turn, in one process. There are three streams with 1 % anomalies:

- "mixed up": background of the stand-in, of which some events have features of several others, as
  from a detector that is out of step; each feature for itself looks as ever;
- "stand-in": background and signal of the stand-in;
- "LHCO": those of the LHC Olympics file below ONLINEFLOWS_TEST_DATA, if there is one.

Every event is scored before it is learned. Events per second are those of `learn_one` and
`score_one`, and of `learn_many` and `score_many` by a further detector. The ROC AUC is over the
second half of the stream. Where the true density is known, so is the AUC of its -log p: to be
signal and to be rare are not the same.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from river import anomaly, base, compose, preprocessing
from sklearn.metrics import roc_auc_score

from onlineflows.adapters.river import DensityDetector
from onlineflows.machine import cpu_model, load, versions
from replay.settings import LhcoFeaturesConfig, SourceConfig, StandinConfig
from replay.sources import open_source
from replay.sources.standin_density import StandinDensity
from streams import LHCO, Status

LHCO_FILE = "lhco/events_anomalydetection_v2.features.80k.h5"
STRETCH = 1000
"""Events that one detector takes before it is the other's turn."""

Events = NDArray[np.float32]


def detectors(seed: int) -> dict[str, base.AnomalyDetector]:
    """Returns what is compared: river's trees once as they are and once larger, behind the scaler
    that their documentation asks for.
    """
    small, large = (
        compose.Pipeline(preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=seed, **sizes))
        for sizes in ({}, {"n_trees": 50, "height": 10, "window_size": 1000})
    )
    return {
        "DensityDetector": DensityDetector(schema=LHCO, seed=seed),
        "MinMaxScaler | HalfSpaceTrees": small,
        "MinMaxScaler | HalfSpaceTrees(50 trees, height 10, window 1000)": large,
    }


@dataclass
class Account:
    """What one detector did: seconds, and the scores of events in their order."""

    learn_s: float = 0.0
    score_s: float = 0.0
    scores: list[float] = field(default_factory=list)

    def document(self, label: NDArray[np.uint8]) -> dict[str, float]:
        """Returns rates in events per second, and the AUC of the second half."""
        half = len(label) // 2
        return {
            "learn_per_s": round(len(label) / self.learn_s),
            "score_per_s": round(len(label) / self.score_s),
            "auc": round(float(roc_auc_score(label[half:], self.scores[half:])), 4),
        }


def one_by_one(detector: base.AnomalyDetector, events: Sequence[Any], account: Account) -> None:
    """Scores and learns a stretch, event by event."""
    for x in events:
        start = time.perf_counter()
        score = detector.score_one(x)
        middle = time.perf_counter()
        detector.learn_one(x)
        account.learn_s += time.perf_counter() - middle
        account.score_s += middle - start
        account.scores.append(score)


def in_frames(detector: DensityDetector, frame: pd.DataFrame, account: Account) -> None:
    """Scores and learns a stretch at once."""
    start = time.perf_counter()
    account.scores += detector.score_many(frame).tolist()
    middle = time.perf_counter()
    detector.learn_many(frame)
    account.learn_s += time.perf_counter() - middle
    account.score_s += middle - start


def compare(x: Events, label: NDArray[np.uint8], seed: int) -> dict[str, Any]:
    """Returns what each detector did with the same stream."""
    taking: dict[str, Callable[[pd.DataFrame], None]] = {}
    accounts: dict[str, Account] = {}
    for name, detector in detectors(seed).items():
        accounts[name] = Account()
        taking[name] = lambda frame, d=detector, a=accounts[name]: one_by_one(
            d, frame.to_dict("records"), a
        )
    frames = DensityDetector(schema=LHCO, seed=seed)
    many = accounts[f"DensityDetector, frames of {STRETCH}"] = Account()
    taking[f"DensityDetector, frames of {STRETCH}"] = lambda frame: in_frames(frames, frame, many)
    for start in range(0, len(x), STRETCH):
        frame = pd.DataFrame(x[start : start + STRETCH].astype(np.float64), columns=LHCO.names)
        for take in taking.values():
            take(frame)
    return {name: account.document(label) for name, account in accounts.items()}


def events_of(config: SourceConfig, n: int) -> tuple[Events, NDArray[np.uint8]]:
    """Returns the first good events of a source, and their labels."""
    source = open_source(config)
    parts = []
    while n > 0 and len(part := source.read(n)):
        is_good = part.status == Status.GOOD
        parts.append((part.x[is_good], part.label[is_good]))
        n -= len(part)
    source.close()
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def mixed_up(x: Events, share: float, rng: np.random.Generator) -> tuple[Events, NDArray[np.uint8]]:
    """Returns events of which some have each feature of another event, and which those are."""
    label = (rng.random(len(x)) < share).astype(np.uint8)
    chosen = np.flatnonzero(label)
    x = x.copy()
    for column in x.T:
        column[chosen] = column[rng.permutation(chosen)]
    return x, label


def thinned(
    x: Events, label: NDArray[np.uint8], share: float, rng: np.random.Generator
) -> tuple[Events, NDArray[np.uint8]]:
    """Returns the background, and as much of the signal as makes this share."""
    n_signal = round(share / (1 - share) * np.count_nonzero(label == 0))
    chosen = rng.permutation(np.flatnonzero(label))[:n_signal]
    kept = np.sort(np.concatenate([np.flatnonzero(label == 0), chosen]))
    return x[kept], label[kept]


def streams_of(n: int, share: float) -> dict[str, tuple[Events, NDArray[np.uint8]]]:
    """Returns the events of each stream, and which of them are anomalies."""
    rng = np.random.default_rng(1)
    background, _ = events_of(StandinConfig(n_events=n, signal_fraction=0.0), n)
    streams = {
        "mixed up": mixed_up(background, share, rng),
        "stand-in": events_of(StandinConfig(n_events=n, signal_fraction=share), n),
    }
    folder = os.environ.get("ONLINEFLOWS_TEST_DATA")
    if folder and (path := Path(folder) / LHCO_FILE).exists():
        x, label = thinned(
            *events_of(LhcoFeaturesConfig("lhco_features", str(path)), 80_000), share, rng
        )
        streams["LHCO"] = x[:n], label[:n]
    return streams


def truth(name: str, x: Events, label: NDArray[np.uint8], share: float) -> dict[str, Any]:
    """Returns the AUC of the true density over the second half, where it is known."""
    if name == "LHCO":
        return {}
    fraction = share if name == "stand-in" else 0.0
    half = len(x) // 2
    auc = roc_auc_score(label[half:], -StandinDensity().log_prob(x[half:], fraction))
    return {"-log p of the true density": {"auc": round(float(auc), 4)}}


def main() -> int:
    """Compares on all streams and prints the document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000, help="events of each stream")
    parser.add_argument("--share", type=float, default=0.01, help="of anomalies")
    parser.add_argument("--seed", type=int, default=1, help="seed of the detectors")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before = load()
    streams = {
        name: {
            "n_anomalies": int(label.sum()),
            **compare(x, label, arguments.seed),
            **truth(name, x, label, arguments.share),
        }
        for name, (x, label) in streams_of(arguments.events, arguments.share).items()
    }
    document = {
        "command": f"python3 tests/benchmarks/river_detectors.py --events {arguments.events}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "load_before": before},
        "n_events": arguments.events,
        "streams": streams,
        "versions": versions("onlineflows", "river", "torch", "numpy", "scikit-learn"),
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
