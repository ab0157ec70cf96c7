"""Training speed on a GPU: every way to take a step, over batch sizes and tilings.

``PYTHONPATH=. python tests/benchmarks/gpu_training.py`` prints one JSON document. Cases: gradients
by torch and by the fused kernel, launched one by one and as a captured graph, with events that are
on the device already and with events that come from the host. Before anything is timed, gradients
are compared with torch in float64 on the same device. ``--quality N`` also trains on N stand-in
events on CPU and GPU with the same seed and batch and compares their NLL. ``--stream N`` feeds N
stand-in events from memory to the learner that `onlineflows train` runs. On a CPU the script runs,
too, without kernel and graph: that shows that it works, nothing else.
"""

import argparse
import functools
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
import torch

from onlineflows.flows import Flow, FlowConfig, TorchFlow, build_spec, initial_theta
from onlineflows.flows.gpu.fused import FusedFlow, Precision, Tiling, gradient_error, tiling_for
from onlineflows.online.device_optimiser import DeviceScheduleFreeAdamW
from onlineflows.online.graphed import GraphedTrainer
from onlineflows.online.learner import Learner
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import BufferConfig, LearnerConfig, OptimiserConfig, TrainerConfig
from replay.settings import StandinConfig
from replay.sources.standin import StandinSource
from streams import EventSchema

N_FEATURES = 5
BATCHES = (512, 2048, 8192, 32768, 131072)
TILINGS = tuple(Tiling(*sizes) for sizes in ((16, 4), (32, 4), (64, 4), (64, 8), (128, 8)))
PRECISIONS: tuple[Precision, ...] = ("ieee", "tf32x3", "tf32")
MAKERS: dict[str, Callable[..., Flow]] = {"torch": TorchFlow, "fused": FusedFlow}


@dataclass(frozen=True)
class Row:
    """One case.

    Args:
        gradient: "torch" or "fused".
        what: "gradient" alone, "eager" step, "graph" step, or graph step "from host".
        precision: of matrix products.
        tiling: events and warps of a program; empty for torch.
        batch: events of a step.
        step_us: median time of a step.
        spread_us: interquartile range of it.
        events_per_s: batch over median.
    """

    gradient: str
    what: str
    precision: str
    tiling: tuple[int, ...]
    batch: int
    step_us: float
    spread_us: float
    events_per_s: float


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--quality", type=int, default=0, metavar="EVENTS")
    parser.add_argument("--tilings", action="store_true", help="try more than the default")
    parser.add_argument("--stream", type=int, default=0, metavar="EVENTS")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    document: dict[str, Any] = {"machine": machine(device)}
    if fused_runs(device):
        document["gradient_error"] = errors(device)
    document["rows"] = [
        asdict(row)
        for batch in given.batches
        for row in cases(device, batch, given.repeats, tilings=given.tilings)
    ]
    if device == "cuda":
        document["kernels_us"] = {name: profile(name, max(given.batches)) for name in MAKERS}
    if given.quality:
        document["nll"] = quality(given.quality, device)
    if given.stream:
        document["stream"] = [
            streamed(given.stream // (1 if where == "cuda" else 10), batch, where, threads)
            for batch in given.batches
            for where, threads in machines(device)
        ]
    json.dump(document, sys.stdout, indent=1)


def machine(device: str) -> dict[str, str]:
    """Says what was measured on."""
    found = {"torch": torch.__version__, "platform": platform.platform(), "device": device}
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
        found["triton"] = importlib.metadata.version("triton")
    return found


def fused_runs(device: str) -> bool:
    """Says whether the fused kernel can run here."""
    return device == "cuda" and importlib.util.find_spec("triton") is not None


def new_flow(kind: str, device: str, **options: Any) -> Flow:
    """Returns the default flow, away from the identity."""
    spec = build_spec(FlowConfig(), N_FEATURES)
    generator = torch.Generator().manual_seed(1)
    theta = initial_theta(spec, generator)
    theta += 0.02 * torch.randn(theta.shape, generator=generator)
    return MAKERS[kind](spec, theta.to(device), **options)


def errors(device: str) -> dict[str, float]:
    """Returns the relative error of the kernel's gradient at each precision."""
    return {
        precision: gradient_error(new_flow("fused", device, precision=precision), n_events=4096)
        for precision in PRECISIONS
    }


def cases(device: str, batch: int, repeats: int, *, tilings: bool) -> list[Row]:
    """Measures all cases of one batch size."""
    found = steps_of("torch", device, batch, repeats)
    if not fused_runs(device):
        return found
    for precision in PRECISIONS[1:]:
        options = {"precision": precision, "tiling": tiling_for(batch, torch.device(device))}
        found += steps_of("fused", device, batch, repeats, **options)
    if tilings:
        for tiling in TILINGS:
            options = {"precision": "tf32x3", "tiling": tiling}
            found += steps_of("fused", device, batch, repeats, whats=("graph",), **options)
    return found


def steps_of(
    kind: str,
    device: str,
    batch: int,
    repeats: int,
    *,
    whats: tuple[str, ...] = ("gradient", "eager", "graph", "from host"),
    **options: Any,
) -> list[Row]:
    """Measures one kind of gradient in all ways to launch it."""
    flow = new_flow(kind, device, **options)
    optimiser = DeviceScheduleFreeAdamW(OptimiserConfig(), flow.theta)
    trainer = GraphedTrainer(flow, optimiser, batch_size=batch)
    rng = np.random.default_rng(2)
    pool = rng.normal(size=(8, batch, N_FEATURES)).astype(np.float32)
    events = torch.from_numpy(pool[0]).to(device)
    turn = iter(range(10**9))
    trainer.step(pool[0])
    ways: dict[str, Callable[[], object]] = {
        "gradient": lambda: flow.gradient(events),
        "eager": lambda: trainer._steps.run(events),
        "graph": trainer.replay,
        "from host": lambda: trainer.step(pool[next(turn) % len(pool)]),
    }
    return [
        Row(
            kind,
            what,
            options.get("precision", "float32"),
            astuple(options["tiling"])[:2] if "tiling" in options else (),
            batch,
            *timed(ways[what], trainer, device, batch, repeats),
        )
        for what in whats
    ]


def timed(
    way: Callable[[], object], trainer: GraphedTrainer, device: str, batch: int, repeats: int
) -> tuple[float, float, float]:
    """Returns median and spread of a step in microseconds, and events per second."""
    # Few steps at a time: the table of coefficients holds STEPS_AHEAD of them.
    per_round = 20
    seconds = []
    for number in range(repeats + 2):
        trainer._begin()
        trainer._n_started = 0
        synchronise(device)
        start = time.perf_counter()
        for _ in range(per_round):
            way()
        synchronise(device)
        if number >= 2:
            seconds.append((time.perf_counter() - start) / per_round)
    low, middle, high = (float(q) * 1e6 for q in np.quantile(seconds, [0.25, 0.5, 0.75]))
    return middle, high - low, batch / statistics.median(seconds)


def synchronise(device: str) -> None:
    """Waits for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def profile(kind: str, batch: int) -> list[tuple[str, int, float]]:
    """Returns the kernels of one eager step that take longest: name, calls, microseconds."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recording

    flow = new_flow(kind, "cuda")
    optimiser = DeviceScheduleFreeAdamW(OptimiserConfig(), flow.theta)
    trainer = GraphedTrainer(flow, optimiser, batch_size=batch)
    trainer._steps.run(trainer._events)
    torch.cuda.synchronize()
    with recording(activities=[ProfilerActivity.CUDA]) as record:
        trainer._steps.run(trainer._events)
        torch.cuda.synchronize()
    found = sorted(record.key_averages(), key=lambda e: -e.self_device_time_total)
    total = ("all", sum(e.count for e in found), sum(e.self_device_time_total for e in found))
    return [total, *((e.key[:80], e.count, e.self_device_time_total) for e in found[:12])]


def quality(n_events: int, device: str) -> dict[str, float]:
    """Returns the NLL of new stand-in events after one pass, trained on the CPU and here."""
    n_test, batch = 100_000, 512
    schema, x = standin(n_events + n_test)
    z = Preprocessing.fit(schema, x[:20_000], knots=33).forward(x)[0].astype(np.float32)
    train, test = z[:-n_test], torch.from_numpy(z[-n_test:])
    kinds: dict[str, tuple[str, str, dict[str, Any]]] = {
        "cpu": ("torch", "cpu", {}),
        "torch": ("torch", device, {}),
    }
    if fused_runs(device):
        kinds |= {
            f"fused {precision}": ("fused", device, {"precision": precision})
            for precision in PRECISIONS
        }
    found = {}
    for name, (kind, where, options) in kinds.items():
        spec = build_spec(FlowConfig(), N_FEATURES)
        theta = initial_theta(spec, torch.Generator().manual_seed(1)).to(where)
        flow = MAKERS[kind](spec, theta, **options)
        optimiser = DeviceScheduleFreeAdamW(OptimiserConfig(), theta)
        trainer = GraphedTrainer(flow, optimiser, batch_size=batch)
        for start in range(0, len(train) - batch + 1, batch):
            trainer.step(train[start : start + batch])
        published = TorchFlow(spec, trainer.averaged())
        found[name] = -float(published.log_prob(test).double().mean())
    return found


def machines(device: str) -> list[tuple[str, int]]:
    """Returns devices and threads to compare: the CPU with some of its cores and with all."""
    cores = os.cpu_count() or 1
    on_cpu = [("cpu", threads) for threads in sorted({1, min(4, cores), cores})]
    return [*on_cpu, ("cuda", 1)] if device == "cuda" else on_cpu


def streamed(n_events: int, batch: int, device: str, threads: int) -> dict[str, Any]:
    """Returns how fast the learner takes events from memory, marginal map and buffer included."""
    n_test = 20_000
    schema, events = standin(n_events + n_test)
    x, test = events[:-n_test], events[-n_test:]
    config = LearnerConfig(
        trainer=TrainerConfig(device=device, batch_size=batch, threads=threads),
        buffer=BufferConfig(capacity=max(65_536, 4 * batch)),
    )
    learner = Learner(schema, config)
    pieces = np.array_split(x, max(1, n_events // 8192))
    # The marginal map is fitted and the graph captured before the clock starts.
    warm = len(pieces) // 5
    for piece in pieces[:warm]:
        learner.learn(piece, lumisection=1)
    learner.theta()
    used, start = learner.n_uses, time.perf_counter()
    for piece in pieces[warm:]:
        learner.learn(piece, lumisection=1)
    learner.theta()
    seconds = time.perf_counter() - start
    density = learner.density()
    assert density is not None
    return {
        "device": device,
        "threads": threads,
        "batch": batch,
        "events_per_s": sum(map(len, pieces[warm:])) / seconds,
        "uses_per_s": (learner.n_uses - used) / seconds,
        "nll": -float(density.log_prob(test).mean()),
    }


@functools.cache
def standin(n_events: int) -> tuple[EventSchema, np.ndarray[Any, np.dtype[np.float32]]]:
    """Returns events of the stand-in, and what they are."""
    source = StandinSource(StandinConfig(n_events=0, seed=7))
    read = [source.read(10_000).x for _ in range(-(-n_events // 10_000))]
    return source.schema, np.concatenate(read)[:n_events]


if __name__ == "__main__":
    main()
