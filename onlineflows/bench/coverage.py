"""`coverage`: whether the band of bootstrap replicas holds the truth, over independent streams."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.bench.learning import BLOCK_EVENTS, Truth, feed
from onlineflows.bench.study import Key, Row
from onlineflows.density import AnyDensity
from onlineflows.errors import DataError
from onlineflows.model_settings import ModelConfig
from onlineflows.offline.coverage import LEVELS, coverage
from onlineflows.online.learner import Learner
from onlineflows.settings import LearnerConfig

POINTS_SEED = 7000
FIRST_STREAM = 10_000
KINDS = {"log-density": "log-densities", "region": "regions"}
"""What is compared, and the plural."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured.

    Args:
        n_streams: independent streams.
        n_seen: events of each.
        replicas: bootstrap replicas beside the central model.
        uses: uses of each event.
        n_points: fixed points, drawn from the truth, at which log-densities are compared.
        windows: intervals of the resonant feature whose shares of the events are compared; of each
            also the half with the larger second feature.
        n_region: true events in each region that its share is taken over.
        per_cell: streams of one cell.
    """

    n_streams: int = 200
    n_seen: int = 100_000
    replicas: int = 8
    uses: int = 4
    n_points: int = 16
    windows: tuple[tuple[float, float], ...] = ((2.5, 3.0), (3.3, 3.7), (4.5, 5.5))
    n_region: int = 4000
    per_cell: int = 10


QUICK = Setting(
    n_streams=4, n_seen=20_480, replicas=2, uses=1, n_points=2, n_region=200, per_cell=2
)


@dataclass(frozen=True, slots=True, eq=False)
class Quantities:
    """What is compared: log-densities at points, and shares of the events in regions.

    The share of a region A is P(A) times the mean of q / p over true events in A, which is exact
    for q = p and has next to no noise for q near p.

    Args:
        points: shape (k, d).
        regions: true events of each region, by its name.
        shares: P(A) of each.
        log_p: true log-densities of the points, then of the regions' events.
    """

    points: NDArray[np.float32]
    regions: dict[str, NDArray[np.float32]]
    shares: dict[str, float]
    log_p: NDArray[np.float64]

    @classmethod
    def of(cls, truth: Truth, setting: Setting) -> Self:
        """Returns the quantities of a setting."""
        read = truth.open(POINTS_SEED)
        points = read(setting.n_points)
        x = np.concatenate([read(BLOCK_EVENTS) for _ in range(-(-60 * setting.n_region // 8192))])
        regions: dict[str, NDArray[np.float32]] = {}
        shares: dict[str, float] = {}
        for low, high in setting.windows:
            inside = (x[:, 0] >= low) & (x[:, 0] < high)
            upper = inside & (x[:, 1] >= np.median(x[inside, 1]))
            for name, mask in (("", inside), (", upper half", upper)):
                name = f"{low} to {high}{name}"
                regions[name] = x[mask][: setting.n_region]
                shares[name] = float(mask.mean())
        log_p = truth.log_prob(np.concatenate([points, *regions.values()]))
        return cls(points, regions, shares, log_p)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all quantities, points first."""
        return (*(f"point {i}" for i in range(len(self.points))), *self.regions)

    @property
    def truth(self) -> tuple[float, ...]:
        """True values: log-densities, and logarithms of the shares."""
        return (
            *(float(v) for v in self.log_p[: len(self.points)]),
            *(float(np.log(share)) for share in self.shares.values()),
        )

    def of_model(self, density: AnyDensity) -> list[float]:
        """Returns the values of a model: log-densities, and logarithms of the shares."""
        log_q = density.log_prob(np.concatenate([self.points, *self.regions.values()]))
        values = [float(v) for v in log_q[: len(self.points)]]
        start = len(self.points)
        for name, x in self.regions.items():
            rows = slice(start, start + len(x))
            ratio = float(np.exp(log_q[rows] - self.log_p[rows]).mean())
            values.append(float(np.log(self.shares[name] * ratio)))
            start += len(x)
        return values


def keys(setting: Setting) -> list[Key]:
    """Returns the cells of the study: so many streams at a time."""
    return [
        {"first": first, "n": min(setting.per_cell, setting.n_streams - first)}
        for first in range(0, setting.n_streams, setting.per_cell)
    ]


def measure(truth: Callable[[], Truth], setting: Setting, key: Key) -> list[Row]:
    """Returns the values of central models and replicas for some streams.

    Args:
        truth: makes the streams; called in the process that needs it.
        setting: what is measured.
        key: one of `keys`.
    """
    torch.set_num_threads(1)
    made = truth()
    wanted = Quantities.of(made, setting)
    streams = range(key["first"], key["first"] + key["n"])
    values = [values_of_stream(made, setting, wanted, stream) for stream in streams]
    return [{"names": wanted.names, "truth": wanted.truth, "values": values}]


def values_of_stream(
    truth: Truth, setting: Setting, wanted: Quantities, stream: int
) -> list[list[float]]:
    """Returns the values of the central model, then of each replica.

    Raises:
        DataError: the stream is too short.
    """
    default = LearnerConfig()
    config = dataclasses.replace(
        default,
        buffer=dataclasses.replace(default.buffer, uses=setting.uses),
        trainer=dataclasses.replace(default.trainer, seed=1 + stream),
        drift=dataclasses.replace(default.drift, sample_events=0),
        models=(ModelConfig("joint", replicas=setting.replicas),),
    )
    learner = Learner(truth.schema, config)
    read = truth.open(FIRST_STREAM + stream)
    while learner.n_seen < setting.n_seen:
        feed(learner, read(min(BLOCK_EVENTS, setting.n_seen - learner.n_seen)))
    learner.finish()
    found = []
    for replica in range(1 + setting.replicas):
        density = learner.density("joint", replica)
        if density is None:
            raise DataError(f"expected enough events for a density; got {setting.n_seen}")
        found.append(wanted.of_model(density))
    return found


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Returns the coverage of each quantity at each level, and means over points and regions."""
    ordered = sorted(rows, key=lambda row: int(row["first"]))
    names, truth = ordered[0]["names"], ordered[0]["truth"]
    values = np.array([stream for row in ordered for stream in row["values"]])
    found: list[Row] = [
        {
            "what": "coverage",
            "quantity": name,
            "kind": "log-density" if name.startswith("point ") else "region",
            **coverage(values[:, :, i], truth[i], level).document(),
        }
        for i, name in enumerate(names)
        for level in LEVELS
    ]
    means: list[Row] = []
    for kind in KINDS:
        for level in LEVELS:
            group = [row for row in found if row["kind"] == kind and row["level"] == level]
            means.append(_mean_of(group, kind, level))
    return [*means, *found]


def _mean_of(group: Sequence[Row], kind: str, level: float) -> Row:
    """The mean coverage, and root mean squares of bias, spread and band."""
    document: dict[str, Any] = {
        "what": "coverage",
        "quantity": f"all {KINDS[kind]}",
        "kind": f"mean {kind}",
    }
    document["level"] = level
    for name in ("covered", "covered_mean", "error", "n_streams", "n_replicas"):
        document[name] = float(np.mean([row[name] for row in group]))
    for name in ("bias", "spread", "band"):
        document[name] = float(np.sqrt(np.mean([row[name] ** 2 for row in group])))
    return document
