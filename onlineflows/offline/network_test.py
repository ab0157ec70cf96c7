"""A two-sample test by a small network: 3 x 32 ReLU units, as FETA's papers judge by."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.errors import DataError
from onlineflows.offline.metrics import auc
from onlineflows.offline.two_sample import TwoSampleResult, against_chance

Events = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The classifier and how it is trained (2212.06155).

    Args:
        hidden: units of each of the layers.
        epochs: passes.
        batch_size: events a step.
        learning_rate: at the beginning; it falls to zero as a cosine.
        folds: parts of the events, each of which is scored by a network that never saw it.
    """

    hidden: tuple[int, ...] = (32, 32, 32)
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 1e-3
    folds: int = 2


def network_test(
    a: Events, b: Events, *, config: NetworkConfig, rng: np.random.Generator
) -> TwoSampleResult:
    """Returns the AUC of a network that was trained to tell b from a, on events it never saw.

    Each fold is tested by a network that the others trained; the AUC is the mean over folds, its
    null that of a score without information on all events. Both classes have the same weight.

    Args:
        a: events, shape (n, d).
        b: events, shape (m, d).
        config: network and training.
        rng: draws folds, weights and orders.

    Raises:
        DataError: the numbers of features differ, or there are too few events.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(f"expected events of the same features; got {a.shape} and {b.shape}")
    if min(len(a), len(b)) < 2 * config.folds:
        raise DataError(
            f"expected at least {2 * config.folds} events of both; got {len(a)} and {len(b)}"
        )
    x = np.concatenate([a, b]).astype(np.float32)
    x = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    label = np.repeat((0, 1), (len(a), len(b)))
    fold = np.concatenate([rng.permutation(len(part)) % config.folds for part in (a, b)])
    found = []
    for k in range(config.folds):
        tested = fold == k
        score = _scores(x[~tested], label[~tested], x[tested], config, rng)
        found.append(auc(score, label[tested]).value)
    return against_chance(float(np.mean(found)), len(a), len(b))


def _scores(
    x: NDArray[np.float32],
    label: NDArray[np.intp],
    tested: NDArray[np.float32],
    config: NetworkConfig,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Returns the logits of tested events after training on others."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    layers = _layers((x.shape[1], *config.hidden, 1), generator)
    parameters = [tensor for layer in layers for tensor in layer]
    optimiser = torch.optim.Adam(parameters, lr=config.learning_rate)
    n_steps = config.epochs * -(-len(x) // config.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    share = np.bincount(label, minlength=2) / len(label)
    weight = torch.from_numpy((0.5 / share[label]).astype(np.float32))
    events, wanted = torch.from_numpy(x), torch.from_numpy(label.astype(np.float32))
    for _ in range(config.epochs):
        order = torch.randperm(len(x), generator=generator)
        for rows in torch.split(order, config.batch_size):
            logits = _run(layers, events[rows])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, wanted[rows], weight[rows]
            )
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        return _run(layers, torch.from_numpy(tested)).numpy().astype(np.float64)


def _layers(
    sizes: tuple[int, ...], generator: torch.Generator
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Returns weights and biases, uniform in ±1 / sqrt(fan-in)."""
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        uniform = [torch.rand(shape, generator=generator) for shape in ((n_out, n_in), (n_out,))]
        weight, bias = ((2 * u - 1) * n_in**-0.5 for u in uniform)
        layers.append((weight.requires_grad_(), bias.requires_grad_()))
    return layers


def _run(layers: list[tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor) -> torch.Tensor:
    for weight, bias in layers[:-1]:
        x = torch.relu(torch.nn.functional.linear(x, weight, bias))
    weight, bias = layers[-1]
    return torch.nn.functional.linear(x, weight, bias)[:, 0]
