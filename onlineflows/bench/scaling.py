"""`scaling`: threads, a busy neighbour, features, several θ at once, and the length of the run."""

import contextlib
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import torch

from onlineflows.bench.cases import CASES, MAIN_CASE, Case
from onlineflows.bench.learning import Truth, learn
from onlineflows.bench.local import LocalContender, Way, our_contender, our_flow
from onlineflows.bench.peers import TORCH_PEERS
from onlineflows.bench.rows import Row, Subject, make_row, peers_document
from onlineflows.bench.speed import Setting, run_beside_peers, ways
from onlineflows.bench.timing import Contender, Rate, interleave
from onlineflows.engine import EngineFlow, available, info
from onlineflows.settings import FlowConfig, LearnerConfig

BATCH = 1024
FEATURES = (5, 10, 20, 40)
THETAS = (1, 2, 4, 8, 16, 32)


def measure_scaling(setting: Setting, truth: Truth, *, marks: tuple[int, ...]) -> Iterator[Row]:
    """Yields the rows of all parts.

    Args:
        setting: how to measure.
        truth: the stream for the last part.
        marks: numbers of events seen at which that looks at the cost of an event.
    """
    # JAX compiles longer than all of this takes; `train` compares with it.
    setting = replace(setting, peers=[name for name in setting.peers if name in TORCH_PEERS])
    yield from beside(setting, n_busy=0)
    yield from beside(setting, n_busy=1)
    for n_features in FEATURES[:1] if setting.is_quick else FEATURES:
        yield from with_features(setting, n_features)
    if available():
        yield from with_thetas(setting)
    yield from with_events_seen(truth, LearnerConfig(), marks)


def beside(setting: Setting, *, n_busy: int) -> Iterator[Row]:
    """Yields training on one and two threads beside processes that never rest."""
    case, batch = CASES[MAIN_CASE], 32 if setting.is_quick else BATCH
    contenders: dict[str, Contender] = {}
    subjects: dict[str, Subject] = {}
    for way in (w for w in ways("train") if w.implementation == "engine" or not available()):
        for n in setting.threads:
            name = f"{way.dtype} {n}"
            contenders[name] = our_contender(case, way, "train", batch=batch, threads=n)
            subjects[name] = _subject(case, way, batch, threads=n)
    with busy(n_busy):
        rates, peers = run_beside_peers(contenders, case, "train", batch, setting)
    what = "Threads" if n_busy == 0 else "Threads beside a busy process"
    for name, subject in subjects.items():
        one = rates[f"{subject.dtype} 1"]
        detail = {
            "speedup": rates[name].events_per_s / one.events_per_s,
            "peers": peers_document(peers),
        }
        yield make_row(
            "scaling",
            subject,
            rates[name],
            ceilings=setting.ceilings,
            peers=peers,
            what=what,
            detail=detail,
        )


@contextlib.contextmanager
def busy(n_processes: int) -> Iterator[None]:
    """Keeps that many other processes busy meanwhile."""
    processes = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n_processes)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def with_features(setting: Setting, n_features: int) -> Iterator[Row]:
    """Yields training on one thread of one network over more and more features."""
    config = FlowConfig(blocks=3, hidden=128, bins=8)
    case = Case("spline AR 3 x (2 x 128)", config, n_features, n_context=0)
    batch = 32 if setting.is_quick else BATCH
    subjects = {way.dtype: _subject(case, way, batch) for way in _fast_ways()}
    contenders: dict[str, Contender] = {
        way.dtype: our_contender(case, way, "train", batch=batch, threads=1) for way in _fast_ways()
    }
    rates, peers = run_beside_peers(contenders, case, "train", batch, setting)
    for name, subject in subjects.items():
        detail = {"peers": peers_document(peers)}
        yield make_row(
            "scaling",
            subject,
            rates[name],
            ceilings=setting.ceilings,
            peers=peers,
            what="Features",
            detail=detail,
        )


def with_thetas(setting: Setting) -> Iterator[Row]:
    """Yields gradients of several θ over the same events; a rate counts each event once a θ."""
    case, batch = CASES["default"], 32 if setting.is_quick else BATCH
    counts = THETAS[:2] if setting.is_quick else THETAS
    subjects: dict[str, Subject] = {}
    contenders: dict[str, Contender] = {}
    for way in _fast_ways():
        for n in counts:
            subjects[f"{way.dtype} {n}"] = _subject(case, way, batch)
            contenders[f"{way.dtype} {n}"] = _gradients_of(case, way, batch, n)
    rates = interleave(contenders, setting.effort)
    for name, subject in subjects.items():
        n = int(name.split()[-1])
        one = rates[f"{subject.dtype} 1"]
        detail = {"thetas": n, "against_one": rates[name].events_per_s / one.events_per_s}
        yield make_row(
            "scaling",
            subject,
            rates[name],
            ceilings=setting.ceilings,
            what="Several θ at once",
            detail=detail,
        )


def _gradients_of(case: Case, way: Way, batch: int, n_thetas: int) -> LocalContender:
    flow = our_flow(case, way, threads=1)
    if not isinstance(flow, EngineFlow):
        raise TypeError("expected a flow of the engine: torch has no gradients of several θ")
    x, context = case.draw(batch)
    thetas = flow.theta.repeat(n_thetas, 1)
    weight = torch.ones(n_thetas, batch)
    return LocalContender(
        lambda: flow.gradients(thetas, x, context, weight=weight),
        n_events=batch * n_thetas,
        threads=1,
    )


def with_events_seen(truth: Truth, config: LearnerConfig, marks: tuple[int, ...]) -> Iterator[Row]:
    """Yields the cost of an event to the whole learner, over the newest tenth of each mark."""
    torch.set_num_threads(config.trainer.threads)
    case = Case("default", config.flow, truth.schema.n_features, n_context=0)
    way = Way("engine" if available() else "torch", config.trainer.precision)
    subject = _subject(case, way, config.trainer.batch_size)
    for mark in learn(truth, config, marks):
        per_event = mark.newest_cpu_s / (mark.n_seen // 10)
        # By CPU time: a single number for each mark has no rounds to take a median over.
        rate = Rate(1 / per_event, 0.0, 1 / per_event, 1 / per_event)
        yield make_row(
            "scaling",
            subject,
            rate,
            ceilings={},
            what="Events seen",
            detail={
                "n_seen": mark.n_seen,
                "us_per_event": 1e6 * per_event,
                "uses": config.buffer.uses,
            },
        )


def _fast_ways() -> list[Way]:
    found = [way for way in ways("train") if way.implementation == "engine"]
    return found or [Way("torch")]


def _subject(case: Case, way: Way, batch: int, *, threads: int = 1) -> Subject:
    isa = info().isa if way.implementation == "engine" else ""
    values = dataclasses.asdict(way)
    return Subject(case, "train", batch, threads, values["implementation"], values["dtype"], isa)
