"""`feta`: four ways to move simulated background to real one, learned in the sidebands alone.

Half of the sidebands' target events train, the other half is kept for the test; the signal region
and the outer bands are never trained on.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onlineflows.bench.study import Key, Row
from onlineflows.errors import DivergedError
from onlineflows.flows import FlowSpec, TorchFlow, build_spec, flow_over, initial_theta
from onlineflows.offline.feta import (
    Bands,
    Scaling,
    distances,
    move_by_transport,
    move_through_bases,
    transport_nll,
)
from onlineflows.offline.network_test import NetworkConfig, network_test
from onlineflows.online.optimiser import is_finite, make_optimiser
from onlineflows.settings import FlowConfig, OptimiserConfig

Events = NDArray[np.float32]

UNMOVED = "not moved"
DOUBLE_BASE = "double base"
BASE_TO_DATA = "base to data"
IDENTITY = "identity"
PENALTY = "movement penalty"
WAYS = (UNMOVED, DOUBLE_BASE, BASE_TO_DATA, IDENTITY, PENALTY)
"""In the order of the paper's columns, after the events as they are."""

DISTANCE_EDGES = np.linspace(0, 3, 61)
"""Of the histograms of how far events move, in scaled features; beyond is in the last bin."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Background of a simulation and of the data, inside the bands.

    Args:
        names: of the features, the resonant one first.
        reference: what is moved, shape (n, d).
        target: where to, shape (k, d).
    """

    names: tuple[str, ...]
    reference: Events
    target: Events


OpenSamples = Callable[[], Samples]


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured.

    Args:
        seeds: of the halves, the weights and the orders.
        bands: of m.
        flow: of all flows; its bound is a little beyond the scaled features' ends. It is small: a
            few thousand target events in two bands don't say more of how it depends on m.
        optimiser: of all flows.
        batch_size: events a step.
        epochs: passes over target events.
        base_epochs: passes over reference events, of which there are more.
        penalty: α of the movement penalty.
        network: the classifier.
    """

    seeds: tuple[int, ...] = (1, 2, 3)
    bands: Bands = field(default_factory=Bands)
    flow: FlowConfig = field(
        default_factory=lambda: FlowConfig(blocks=2, hidden=32, bins=6, bound=3.5)
    )
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(learning_rate=2e-3, weight_decay=1e-4)
    )
    batch_size: int = 256
    epochs: int = 20
    base_epochs: int = 20
    penalty: float = 1e-2
    network: NetworkConfig = field(default_factory=NetworkConfig)


QUICK = Setting(
    seeds=(1,),
    flow=FlowConfig(blocks=2, hidden=8, bins=4, bound=3.5),
    epochs=1,
    base_epochs=1,
    network=NetworkConfig(epochs=1),
)


def keys(setting: Setting) -> list[Key]:
    """Returns the cells of the study."""
    return [{"seed": seed} for seed in setting.seeds]


def measure(open_samples: OpenSamples, setting: Setting, key: Key) -> list[Row]:
    """Returns what each way does in each band.

    Args:
        open_samples: reads the events; called in the process that needs them.
        setting: what is measured.
        key: one of `keys`.
    """
    torch.set_num_threads(1)
    samples = open_samples()
    rng = np.random.default_rng(key["seed"])
    bands = setting.bands
    reference, target = samples.reference, samples.target
    is_side = [bands.in_sidebands(x[:, 0]) for x in (reference, target)]
    # The halves that train; in the other bands all events are for the test.
    learns = [side & (rng.random(len(side)) < 0.5) for side in is_side]
    scaling = Scaling.fit(np.concatenate([reference[learns[0], 1:], target[learns[1], 1:]]))
    scaled = [_Scaled(scaling.forward(x[:, 1:]), x[:, 0], bands) for x in (reference, target)]
    tested = [part.only(~learn) for part, learn in zip(scaled, learns, strict=True)]
    learned = _Learned(
        setting, scaled[0].only(learns[0]), scaled[1].only(learns[1]), seed=key["seed"]
    )
    rows: list[Row] = []
    for way in WAYS:
        began = time.perf_counter()
        moved = learned.move(way, tested[0])
        seconds = time.perf_counter() - began
        for band in bands.intervals:
            found = _judged(band, tested, moved, setting, rng)
            facts = {"way": way, "band": band, "seconds": seconds}
            rows.append({**facts, **found, "n_trained": [int(learn.sum()) for learn in learns]})
    return rows


class _Scaled:
    """Scaled features with their m."""

    def __init__(self, x: Events, m: Events, bands: Bands) -> None:
        self.x, self.m, self.bands = x, m, bands

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """Features and context."""
        return torch.from_numpy(self.x), self.bands.context(self.m)

    def only(self, kept: NDArray[np.bool_]) -> "_Scaled":
        """Returns the events that are kept."""
        return _Scaled(self.x[kept], self.m[kept], self.bands)


class _Learned:
    """Everything that is trained on a pair of samples; the reference's density is trained once."""

    def __init__(self, setting: Setting, reference: _Scaled, target: _Scaled, *, seed: int) -> None:
        self._setting, self._target, self._seed = setting, target, seed
        self._spec = build_spec(setting.flow, reference.x.shape[1], 1)
        self._reference = self._density(reference, setting.base_epochs, place=0)

    def move(self, way: str, tested: _Scaled) -> Events:
        """Returns reference events after one of the `WAYS`, scaled."""
        if way == UNMOVED:
            return tested.x
        x, context = tested.tensors
        if way == DOUBLE_BASE:
            target = self._density(self._target, self._setting.epochs, place=1)
            moved = move_through_bases(self._reference, target, x, context)
        else:
            moved = move_by_transport(self._transport(way), x, context)
        result: Events = moved.numpy()
        return result

    def _density(self, events: _Scaled, epochs: int, *, place: int) -> TorchFlow:
        """Returns the density of events given m, from a normal base."""
        theta = random_theta(self._spec, self._generator(place))
        flow = flow_over(self._spec, theta)

        def gradient(x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
            found = flow.gradient(x, context)
            return found.nll.mean(), found.theta

        self._train(theta, gradient, events, epochs, place)
        return TorchFlow(self._spec, theta)

    def _transport(self, way: str) -> TorchFlow:
        """Returns a flow from the target to the reference."""
        generator = self._generator(2 + WAYS.index(way))
        theta = (initial_theta if way == IDENTITY else random_theta)(self._spec, generator)
        penalty = self._setting.penalty if way == PENALTY else 0.0

        # The same numbers as θ, which the optimiser moves in place.
        leaf = theta.detach().requires_grad_()
        transport = TorchFlow(self._spec, leaf)

        def gradient(x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
            loss = transport_nll(transport, self._reference, x, context, penalty=penalty)
            (slope,) = torch.autograd.grad(loss, leaf)
            return loss.detach(), slope

        place = 2 + WAYS.index(way)
        self._train(theta, gradient, self._target, self._setting.epochs, place)
        return TorchFlow(self._spec, theta)

    def _train(
        self,
        theta: Tensor,
        gradient: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        events: _Scaled,
        epochs: int,
        place: int,
    ) -> None:
        """Moves θ along the gradients of mini-batches; what remains is its average."""
        optimiser = make_optimiser(self._setting.optimiser, theta)
        x, context = events.tensors
        generator = self._generator(100 + place)
        for _ in range(epochs):
            order = torch.randperm(len(x), generator=generator)
            for rows in torch.split(order, self._setting.batch_size):
                loss, slope = gradient(x[rows], context[rows])
                if not is_finite(loss, slope):
                    raise DivergedError(
                        f"expected a finite loss and gradient; got {float(loss)}: lower the "
                        "learning rate"
                    )
                optimiser.step(slope)
        theta.copy_(optimiser.averaged())

    def _generator(self, place: int) -> torch.Generator:
        return torch.Generator().manual_seed(1000 * self._seed + place)


def random_theta(spec: FlowSpec, generator: torch.Generator) -> Tensor:
    """Returns a θ whose last layers are random, too: a flow that is far from the identity."""
    theta = initial_theta(spec, generator)
    for entry in spec.layout():
        if entry.name.endswith("_out"):
            size = entry.shape[0]
            width = len(spec.blocks[0].fan_in_2) ** -0.5
            uniform = 2 * torch.rand(size, generator=generator) - 1
            theta[entry.offset : entry.offset + size] = width * uniform
    return theta


def _judged(
    band: str,
    tested: Sequence[_Scaled],
    moved: Events,
    setting: Setting,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Returns the AUC between moved reference and target in a band, and how far events moved."""
    reference, target = (setting.bands.holds(band, part.m) for part in tested)
    # As many of both: more reference events would cost more time than they tell.
    n = min(int(reference.sum()), int(target.sum()))
    drawn = (rng.permutation(np.flatnonzero(kept))[:n] for kept in (reference, target))
    compared = [x[rows] for x, rows in zip((moved, tested[1].x), drawn, strict=True)]
    found = network_test(*compared, config=setting.network, rng=rng)
    length = distances(tested[0].x[reference], moved[reference])
    counts, _ = np.histogram(np.minimum(length, DISTANCE_EDGES[-1] - 1e-9), DISTANCE_EDGES)
    return {
        "auc": found.statistic,
        "null_width": found.null_width,
        "n_compared": n,
        "distance": float(length.mean()),
        "distances": counts.tolist(),
    }


def summarise(rows: Sequence[Row]) -> Iterator[Mapping[str, Any]]:
    """Yields means and standard deviations over seeds for each way and band."""
    for way in WAYS:
        for band in Bands().intervals:
            group = [row for row in rows if row["way"] == way and row["band"] == band]
            if group:
                areas = [row["auc"] for row in group]
                spread = float(np.std(areas, ddof=1)) if len(areas) > 1 else 0.0
                yield {
                    "way": way,
                    "band": band,
                    "auc": [float(np.mean(areas)), spread],
                    "null_width": float(np.mean([row["null_width"] for row in group])),
                    "n_compared": round(np.mean([row["n_compared"] for row in group])),
                    "n_trained": group[0]["n_trained"],
                    "distance": float(np.mean([row["distance"] for row in group])),
                    "distances": np.sum([row["distances"] for row in group], axis=0).tolist(),
                    "seeds": len(group),
                }
