"""How much one streaming pass loses against training offline, on real LHC Olympics events.

``python tests/benchmarks/lhco_offline_gap.py FILE`` prints one JSON document. FILE is a feature
file with at least 80,000 rows: the first 60,000 train, the next 20,000 test. Online, our learner
sees each event once, through a buffer of at most 8,192 events, with 1 and with 8 uses. Offline,
zuko (an independent library) trains the same flow on the same preprocessed events for many epochs:
of a few schedules the one with the best NLL on a validation part is taken, stopped at its best
epoch, then repeated on all training rows. All NLLs are in nats per event, in the units of the
schema, every Jacobian included.
"""

import argparse
import copy
import importlib.metadata
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
import zuko
from numpy.typing import NDArray
from torch import Tensor

from onlineflows.flows import FlowConfig, build_spec
from onlineflows.online.learner import Learner
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import BufferConfig, LearnerConfig
from replay.settings import LhcoFeaturesConfig
from replay.sources import open_source
from streams import LHCO

TRAIN_ROWS, TEST_ROWS = 60_000, 20_000
VALIDATION_ROWS = 6_000
BATCH_EVENTS = 1024
BUFFER_EVENTS = 8192
MAX_GRADIENT_NORM = 5.0


@dataclass(frozen=True)
class Schedule:
    """How the offline flow is trained, with AdamW.

    Args:
        learning_rate: after 100 steps of warm-up.
        batch_size: events per step.
        cosine: whether the rate falls to zero over the epochs; else it stays.
        average: decay of the exponential average of the weights; 0 for none.
        weight_decay: decoupled.
        epochs: at most.
    """

    learning_rate: float
    batch_size: int = 512
    cosine: bool = False
    average: float = 0.0
    weight_decay: float = 0.0
    epochs: int = 20


SCHEDULES = (
    Schedule(5e-3, average=0.999),
    Schedule(5e-3, average=0.999, weight_decay=0.1),
    Schedule(1e-2, batch_size=1024, cosine=True),
)
"""The best of some twenty-five that were tried on two architectures (rates 2.5e-3 to 1e-2, batches
of 256 to 2048, 8 to 40 epochs, decay 0 to 1): all good ones end within 0.003 nats."""


@dataclass(frozen=True)
class Fit:
    """An offline flow, its NLL on validation events and the epoch that it is of."""

    flow: zuko.flows.Flow
    nll_validation: float
    epoch: int


def zuko_flow(config: FlowConfig, seed: int) -> zuko.flows.Flow:
    """Returns zuko's masked autoregressive spline flow with our orders, as the identity."""
    torch.manual_seed(seed)
    d = LHCO.n_features
    spec = build_spec(config, d)
    transforms = []
    for block in spec.blocks:
        order = torch.empty(d, dtype=torch.long)
        order[list(block.targets)] = torch.arange(d)
        transform = zuko.flows.MaskedAutoregressiveTransform(
            d,
            order=order,
            univariate=lambda *phi: zuko.transforms.MonotonicRQSTransform(*phi, bound=config.bound),
            shapes=[(config.bins,), (config.bins,), (config.bins - 1,)],
            hidden_features=(config.hidden, config.hidden),
        )
        for parameter in list(transform.hyper.children())[-1].parameters():
            torch.nn.init.zeros_(parameter)
        transforms.append(transform)
    base = zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal, torch.zeros(d), torch.ones(d), buffer=True
    )
    return zuko.flows.Flow(transforms, base)


def n_live(flow: zuko.flows.Flow) -> int:
    """Returns the number of weights that no mask forbids."""
    forbidden = sum(int((~m.mask).sum()) for m in flow.modules() if hasattr(m, "mask"))
    return sum(p.numel() for p in flow.parameters()) - forbidden


@torch.no_grad()
def log_prob(flow: zuko.flows.Flow, z: Tensor) -> NDArray[np.float64]:
    """Returns log q(z) of preprocessed events, shape (n,)."""
    return torch.cat([flow().log_prob(part) for part in z.split(4096)]).double().numpy()


def train_offline(
    flow: zuko.flows.Flow, train: Tensor, schedule: Schedule, seed: int
) -> Iterator[zuko.flows.Flow]:
    """Trains and yields the flow to be used after each epoch."""
    optimiser = torch.optim.AdamW(
        flow.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    average = copy.deepcopy(flow)
    generator = torch.Generator().manual_seed(seed)
    n_steps = len(train) // schedule.batch_size
    step = 0
    for _ in range(schedule.epochs):
        order = torch.randperm(len(train), generator=generator)
        for rows in order[: n_steps * schedule.batch_size].split(schedule.batch_size):
            rate = schedule.learning_rate * min(1.0, (step + 1) / 100)
            if schedule.cosine:
                rate *= 0.5 * (1 + math.cos(math.pi * step / (n_steps * schedule.epochs)))
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad()
            (-flow().log_prob(train[rows]).mean()).backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), MAX_GRADIENT_NORM)
            optimiser.step()
            step += 1
            share = 1 - min(schedule.average, 1 - 1 / (1 + 0.1 * step))
            with torch.no_grad():
                for a, b in zip(average.parameters(), flow.parameters(), strict=True):
                    a.lerp_(b, share)
        yield average


def fit_with_early_stopping(config: FlowConfig, z: Tensor, schedule: Schedule, seed: int) -> Fit:
    """Returns the flow of the epoch with the least NLL on the last rows of z."""
    train, validation = z[:-VALIDATION_ROWS], z[-VALIDATION_ROWS:]
    flow = zuko_flow(config, seed)
    best = Fit(flow, math.inf, 0)
    for epoch, current in enumerate(train_offline(flow, train, schedule, seed), start=1):
        nll = -float(log_prob(current, validation).mean())
        if nll < best.nll_validation:
            best = Fit(copy.deepcopy(current), nll, epoch)
    return best


def offline(
    config: FlowConfig, x: NDArray[np.float32], fit_events: int, knots: int, seed: int
) -> tuple[dict[str, object], NDArray[np.float64]]:
    """Returns the record of the offline training and log q of the test events."""
    preprocessing = Preprocessing.fit(LHCO, x[:fit_events], knots=knots)
    mapped, log_abs_det = preprocessing.forward(x)
    z = torch.from_numpy(mapped.astype(np.float32))
    train, test, jacobian = z[:TRAIN_ROWS], z[TRAIN_ROWS:], log_abs_det[TRAIN_ROWS:].sum(1)
    started = time.perf_counter()
    fits = [fit_with_early_stopping(config, train, s, seed) for s in SCHEDULES]
    chosen = min(range(len(fits)), key=lambda i: fits[i].nll_validation)
    fit, schedule = fits[chosen], SCHEDULES[chosen]
    refit = zuko_flow(config, seed)
    for epoch, current in enumerate(train_offline(refit, train, schedule, seed), start=1):
        if epoch == fit.epoch:
            refit = copy.deepcopy(current)
            break
    final = log_prob(refit, test) + jacobian
    record = {
        "library": f"zuko {importlib.metadata.version('zuko')}",
        "schedule": asdict(replace(schedule, epochs=fit.epoch)),
        "n_parameters": n_live(refit),
        "nll_test_by_schedule": [
            round(-float((log_prob(f.flow, test) + jacobian).mean()), 5) for f in fits
        ],
        "nll_test_early_stopping": -float((log_prob(fit.flow, test) + jacobian).mean()),
        "nll_test": -float(final.mean()),
        "seconds": time.perf_counter() - started,
    }
    return record, final


def online(
    config: LearnerConfig, x: NDArray[np.float32]
) -> tuple[dict[str, object], NDArray[np.float64]]:
    """Returns the record of one streaming pass and log q of the test events."""
    learner = Learner(LHCO, config)
    started = time.perf_counter()
    for start in range(0, TRAIN_ROWS, BATCH_EVENTS):
        learner.learn(x[start : min(start + BATCH_EVENTS, TRAIN_ROWS)], lumisection=1)
    learner.finish()
    seconds = time.perf_counter() - started
    density = learner.density()
    if density is None or learner.n_trained != TRAIN_ROWS:
        raise SystemExit(f"expected {TRAIN_ROWS} events trained on; got {learner.n_trained}")
    values = density.log_prob(x[TRAIN_ROWS:])
    record = {
        "mean_uses": learner.n_uses / learner.n_trained,
        "steps": learner.n_steps,
        "buffer_events": config.buffer.capacity,
        "n_parameters": density.flow.spec.n_parameters,
        "nll_test": -float(values.mean()),
        "seconds": seconds,
    }
    return record, values


def main() -> int:
    """Runs both sides and prints the document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", help="LHC Olympics feature file with at least 80,000 rows")
    parser.add_argument("--uses", type=int, nargs="+", default=[1, 8], help="uses of each event")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights and shuffles")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = open_source(LhcoFeaturesConfig(type="lhco_features", paths=(arguments.file,)))
    x = np.asarray(source.read(TRAIN_ROWS + TEST_ROWS).x)
    source.close()
    config = LearnerConfig()
    config = replace(config, trainer=replace(config.trainer, seed=arguments.seed))
    reference, reference_values = offline(
        config.flow, x, config.preprocess.fit_events, config.preprocess.knots, arguments.seed
    )
    passes = {}
    for uses in arguments.uses:
        buffer = BufferConfig(kind="window", capacity=BUFFER_EVENTS, uses=uses)
        record, values = online(replace(config, buffer=buffer), x)
        difference = reference_values - values
        record["excess"] = float(difference.mean())
        record["excess_error"] = float(difference.std() / math.sqrt(len(difference)))
        passes[str(uses)] = record
    document = {
        "rows": {"train": TRAIN_ROWS, "test": TEST_ROWS},
        "seed": arguments.seed,
        "offline": reference,
        "online_by_uses": passes,
        "versions": {name: importlib.metadata.version(name) for name in ("numpy", "torch", "zuko")},
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
