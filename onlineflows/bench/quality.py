"""`quality`: how near to a stream's density one pass comes, and whether zuko comes nearer."""

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from onlineflows.bench.cases import Case
from onlineflows.bench.learning import STREAM_SEED, Truth, held_out, learn
from onlineflows.bench.local import Way
from onlineflows.bench.peers import peer_version
from onlineflows.bench.rows import NOT_INSTALLED, PeerRate, Row, Subject, make_row
from onlineflows.bench.speed import ways
from onlineflows.bench.timing import Rate
from onlineflows.engine import EngineFlow, info
from onlineflows.flows import Flow, Gradient, TorchFlow, initial_theta
from onlineflows.offline.distance import nats_to_truth
from onlineflows.online.optimiser import ScheduleFreeAdamW
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import LearnerConfig

EVALUATED_AT_ONCE = 8192


class HasGradient(Protocol):
    """What an optimiser needs to train."""

    theta: Tensor

    def gradient(self, x: Tensor) -> Gradient:
        """Returns the NLL of each event and the gradient of its mean."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over the events.

    Args:
        theta: the published parameters.
        wall_s: what it took.
        cpu_s: CPU time of it.
    """

    theta: Tensor
    wall_s: float
    cpu_s: float


def measure_quality(
    truth: Truth, *, marks: tuple[int, ...], n_test: int, n_equal: int
) -> Iterator[Row]:
    """Yields the rows of both parts.

    Args:
        truth: the stream.
        marks: numbers of events at which to look at the density.
        n_test: held-out events.
        n_equal: events of the comparison with zuko.
    """
    torch.set_num_threads(1)
    uses = {1, LearnerConfig().buffer.uses}
    for way in (
        w for w in ways("train") if w.implementation == "engine" or len(ways("train")) == 1
    ):
        for n in sorted(uses):
            yield from single_pass(truth, way, n, marks, n_test)
    yield from equal_quality(truth, n_equal, n_test)


def single_pass(
    truth: Truth, way: Way, uses: int, marks: tuple[int, ...], n_test: int
) -> Iterator[Row]:
    """Yields the default learner's distance to the truth after so many events."""
    config = LearnerConfig()
    buffer = dataclasses.replace(config.buffer, uses=uses)
    trainer = dataclasses.replace(config.trainer, precision=way.dtype)
    config = dataclasses.replace(config, buffer=buffer, trainer=trainer)
    test = held_out(truth, n_test)
    log_p = truth.log_prob(test)
    for mark in learn(truth, config, marks):
        distance = nats_to_truth(log_p, mark.density.log_prob(test))
        yield make_row(
            "quality",
            _subject(_case(truth), way),
            _rate(mark.n_seen, mark.wall_s, mark.cpu_s),
            ceilings={},
            what="Distance to the truth",
            detail={
                "n_seen": mark.n_seen,
                "uses": uses,
                "nats": distance.nats,
                "nats_error": distance.error,
                "cpu_s": mark.cpu_s,
            },
        )


def equal_quality(truth: Truth, n_events: int, n_test: int) -> Iterator[Row]:
    """Yields the NLL of flows that zuko and we trained alike.

    The same preprocessed events, θ to begin with, order, batch and optimiser; only forward and
    backward passes differ. Both θ are evaluated by one flow in float64.
    """
    config, case = LearnerConfig(), _case(truth)
    train, test = _coordinates(truth, config, n_events, n_test)
    start = initial_theta(case.spec(), torch.Generator().manual_seed(1))
    reference = _zuko(case, start)
    peer = None if reference is None else one_pass(reference, train, config)
    peer_nll = None if peer is None else mean_nll(case, peer.theta, test)
    for way in ways("train"):
        ours = one_pass(_flow(case, way, start.clone()), train, config)
        nll = mean_nll(case, ours.theta, test)
        yield make_row(
            "quality",
            _subject(case, way),
            _rate(len(train), ours.wall_s, ours.cpu_s),
            ceilings={},
            peers={"zuko": None if peer is None else _peer_rate(len(train), peer)},
            what="Same training by zuko",
            detail={
                "n_seen": len(train),
                "uses": 1,
                "nll": nll,
                "peer_nll": NOT_INSTALLED if peer_nll is None else peer_nll,
                "nll_difference": None if peer_nll is None else nll - peer_nll,
                "cpu_s": ours.cpu_s,
            },
        )


def one_pass(flow: HasGradient, train: Tensor, config: LearnerConfig) -> Pass:
    """Trains once on each event by schedule-free AdamW; moves the flow's θ."""
    optimiser = ScheduleFreeAdamW(config.optimiser, flow.theta)
    wall, cpu = time.perf_counter(), time.process_time()
    for batch in torch.split(train, config.trainer.batch_size):
        optimiser.step(flow.gradient(batch).theta)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Pass(optimiser.averaged(), wall, cpu)


def mean_nll(case: Case, theta: Tensor, test: Tensor) -> float:
    """Returns the mean NLL of events in nats, in the flow's coordinates and in float64."""
    flow = TorchFlow(case.spec(), theta.double())
    parts = [flow.log_prob(x.double()) for x in torch.split(test, EVALUATED_AT_ONCE)]
    return -float(torch.cat(parts).mean())


def _coordinates(
    truth: Truth, config: LearnerConfig, n_train: int, n_test: int
) -> tuple[Tensor, Tensor]:
    """Returns training and test events in the flow's coordinates."""
    read = truth.open(STREAM_SEED)
    x = np.concatenate([read(min(10_000, n_train - i)) for i in range(0, n_train, 10_000)])
    fit = x[: config.preprocess.fit_events]
    preprocessing = Preprocessing.fit(truth.schema, fit, knots=config.preprocess.knots)
    train, test = (
        torch.from_numpy(preprocessing.forward(events)[0].astype(np.float32))
        for events in (x, held_out(truth, n_test))
    )
    return train, test


def _zuko(case: Case, theta: Tensor) -> HasGradient | None:
    """Returns zuko's flow at θ; None where it isn't installed."""
    if peer_version("zuko") is None:
        return None
    from onlineflows.bench.zuko_peer import ZukoGradient

    flow = ZukoGradient(case)
    flow.theta.copy_(theta)
    return flow


def _flow(case: Case, way: Way, theta: Tensor) -> Flow:
    if way.implementation == "torch":
        return TorchFlow(case.spec(), theta)
    return EngineFlow(case.spec(), theta, precision=way.dtype)


def _case(truth: Truth) -> Case:
    return Case("default", n_features=truth.schema.n_features, n_context=0)


def _subject(case: Case, way: Way) -> Subject:
    isa = info().isa if way.implementation == "engine" else ""
    batch = LearnerConfig().trainer.batch_size
    return Subject(case, "train", batch, 1, way.implementation, way.dtype, isa)


def _rate(n: int, wall_s: float, cpu_s: float) -> Rate:
    return Rate(n / wall_s, 0.0, n / max(cpu_s, 1e-9), n / wall_s)


def _peer_rate(n: int, done: Pass) -> PeerRate:
    version = str(peer_version("zuko"))
    return PeerRate(version, 1, n / done.wall_s, 0.0, n / max(done.cpu_s, 1e-9))
