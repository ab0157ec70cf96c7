"""`onlineflows bench e2e`: events trained per second through ZeroMQ, against those in memory."""

import dataclasses
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from onlineflows.bench.cases import Case
from onlineflows.bench.learning import Events, feed
from onlineflows.bench.local import Way
from onlineflows.bench.rows import Row, Subject, make_row
from onlineflows.bench.speed import ways
from onlineflows.bench.timing import Effort, Slot, rate
from onlineflows.cli.config import Config
from onlineflows.cli.replay import produce
from onlineflows.cli.signals import StopFlag
from onlineflows.engine import info
from onlineflows.errors import OnlineFlowsError
from onlineflows.online.consumer import ConsumerConfig, Progress
from onlineflows.online.daemon import run_consumer
from onlineflows.online.learner import Learner
from onlineflows.online.rundir import RunDirectory
from onlineflows.settings import CheckpointConfig, SnapshotConfig
from replay.settings import StandinConfig
from replay.sources import open_source
from streams import LHCO

ANY_PORT = "tcp://127.0.0.1:*"
BEGIN_S = 60.0
CONSUMERS = {
    "default": (SnapshotConfig(), CheckpointConfig()),
    "no files until the end": (SnapshotConfig(every_events=0), CheckpointConfig(every_events=0)),
}
"""The daemon as it is, and without what it writes for the case that it is killed."""


def measure_wire(*, n_events: int, effort: Effort, is_quick: bool = False) -> Iterator[Row]:
    """Yields the rows: each way of learning in memory and through the wire, in turns.

    Args:
        n_events: events of one run.
        effort: how many runs of each.
        is_quick: one way of learning and one kind of consumer only.
    """
    config = Config(source=StandinConfig(n_events=n_events, seed=21))
    torch.set_num_threads(config.trainer.threads)
    source = open_source(config.source)
    x = source.read(n_events).x
    source.close()
    consumers = list(CONSUMERS)[:1] if is_quick else list(CONSUMERS)
    for way in _ways()[:1] if is_quick else _ways():
        for uses in [1] if is_quick else sorted({1, config.buffer.uses}):
            yield from _compare(_with(config, way, uses), way, x, effort, consumers)


def _compare(
    config: Config, way: Way, x: Events, effort: Effort, consumers: list[str]
) -> Iterator[Row]:
    memory: list[Slot] = []
    wire: dict[str, list[Slot]] = {name: [] for name in consumers}
    for _ in range(effort.rounds):
        memory.append(in_memory(config, x))
        for name in consumers:
            snapshot, checkpoint = CONSUMERS[name]
            changed = dataclasses.replace(config, snapshot=snapshot, checkpoint=checkpoint)
            wire[name].append(through_wire(changed))
    here = rate(memory, len(x))
    isa = info().isa if way.implementation == "engine" else ""
    case = Case("default", config.flow, LHCO.n_features, n_context=0)
    trainer = config.trainer
    subject = Subject(
        case, "train", trainer.batch_size, trainer.threads, way.implementation, way.dtype, isa
    )
    for name, slots in wire.items():
        there = rate(slots, len(x))
        yield make_row(
            "e2e",
            subject,
            there,
            ceilings={},
            what="Stand-in producer in another process",
            detail={
                "consumer": name,
                "uses": config.buffer.uses,
                "n_events": len(x),
                "in_memory_events_per_s": here.events_per_s,
                "in_memory_spread": here.spread,
                "fraction": there.events_per_s / here.events_per_s,
                "cpu_fraction": there.events_per_cpu_s / here.events_per_cpu_s,
            },
        )


def in_memory(config: Config, x: Events) -> Slot:
    """Learns from events in memory; returns what it took."""
    learner = Learner(LHCO, config.learner)
    wall, cpu = time.perf_counter(), time.process_time()
    feed(learner, np.asarray(x))
    learner.finish()
    return Slot(time.perf_counter() - wall, time.process_time() - cpu)


def through_wire(config: Config) -> Slot:
    """Learns from a producer in a process of its own; returns what the consumer took.

    The clock starts with the first batch, when both ends are up, and stops when the run has ended
    and all is written.
    """
    ours, theirs = multiprocessing.Pipe()
    producer = multiprocessing.get_context("spawn").Process(
        target=_produce, args=(config, theirs), name="producer"
    )
    producer.start()
    theirs.close()
    if not ours.poll(BEGIN_S):
        producer.kill()
        raise OnlineFlowsError(f"expected a producer that listens within {BEGIN_S:g} s; got none")
    address = str(ours.recv_bytes(), "utf-8")
    wire = dataclasses.replace(config.wire, address=address)
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(Path(folder) / "bench")
        directory.prepare("fresh")
        consumer = ConsumerConfig(
            name="bench",
            wire=wire,
            learner=config.learner,
            snapshot=config.snapshot,
            checkpoint=config.checkpoint,
        )
        began: list[Slot] = []

        def watch(_: Progress) -> None:
            if not began:
                began.append(Slot(time.perf_counter(), time.process_time()))

        run_consumer(consumer, directory, watch=watch, now=lambda: datetime.now(UTC))
        ended = Slot(time.perf_counter(), time.process_time())
    producer.join()
    return Slot(ended.wall_s - began[0].wall_s, ended.cpu_s - began[0].cpu_s)


def _produce(config: Config, theirs: Connection) -> None:
    """The producer's process."""
    wire = dataclasses.replace(config.wire, address=ANY_PORT)
    with StopFlag() as stop:
        produce(
            dataclasses.replace(config, wire=wire),
            stop=stop,
            on_listening=lambda address: theirs.send_bytes(address.encode()),
        )


def _with(config: Config, way: Way, uses: int) -> Config:
    engine: Literal["compiled", "torch"]
    engine = "compiled" if way.implementation == "engine" else "torch"
    return dataclasses.replace(
        config,
        buffer=dataclasses.replace(config.buffer, uses=uses),
        trainer=dataclasses.replace(config.trainer, precision=way.dtype, engine=engine),
    )


def _ways() -> list[Way]:
    engine = [way for way in ways("train") if way.implementation == "engine"]
    return engine or [Way("torch")]
