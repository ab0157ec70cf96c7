"""Throughput of the wire from memory, against bare ROUTER/DEALER frames in the same run.

    python tests/benchmarks/wire_throughput.py [--events 20000000] [--batch 1024] [--selected 0.05]
        [--curve]

Prints JSON; with `--curve` also the wire with keys on both sides, against the same bare frames.
Rates are in million events sent per second: by wall clock, and per core, which is one over the CPU
time of a side and hardly depends on what else the machine does. With `--selected`, only this
fraction of the source's events is good, at random; `--events` are sent.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from replay.producer import run_producer
from replay.settings import PacingConfig, ReplayConfig
from streams import (
    LHCO,
    ArraySource,
    BatchReceived,
    ConsumerLedger,
    RunEnded,
    SecurityConfig,
    Status,
    WireConfig,
)
from streams.keyfiles import allow, read_public, write_pair
from streams.security import curve_pair
from streams.transport import Receiver

WINDOW = 16
N_DISTINCT = 1 << 18
NO_KEYS = SecurityConfig()


def produce(
    pipe: Connection, n_events: int, batch: int, selected: float, security: SecurityConfig
) -> None:
    """Sends through the whole producer: source, cutting, pacing, ledger, codec, protocol."""
    rng = np.random.default_rng(1)
    x = rng.random((N_DISTINCT, 5), dtype=np.float32)
    is_good = rng.random(N_DISTINCT) < selected
    status = np.where(is_good, Status.GOOD, Status.NOT_SELECTED).astype(np.uint8)
    n_read = round(n_events * N_DISTINCT / int(is_good.sum()))
    source = ArraySource(LHCO, x, status=status, n_events=n_read)
    began = time.process_time()
    run_producer(
        source,
        wire=WireConfig(
            address="tcp://127.0.0.1:*",
            batch_events=batch,
            window_batches=WINDOW,
            security=security,
        ),
        pacing=PacingConfig(),
        replay=ReplayConfig(lumisection_events=round(ReplayConfig().lumisection_events / selected)),
        on_listening=pipe.send,
    )
    pipe.send(time.process_time() - began)


def consume(address: str, security: SecurityConfig) -> None:
    """Receives and accounts for everything."""
    ledger = ConsumerLedger()
    config = WireConfig(address=address, window_batches=WINDOW, security=security)
    with Receiver(config, name="benchmark") as receiver:
        while not ledger.has_ended:
            for incoming in receiver.poll(1.0):
                ledger.observe(incoming)
                if isinstance(incoming, BatchReceived):
                    number = incoming.batch_number
                    ledger.account([number], trained=len(incoming.batch))
                    receiver.consumed(number)
                elif isinstance(incoming, RunEnded):
                    receiver.acknowledge(incoming.position)
    ledger.balance().require()


def produce_bare(
    pipe: Connection, n_events: int, batch: int, selected: float, security: SecurityConfig
) -> None:
    """Sends as many events in full batches with the same window, and nothing else."""
    del selected, security  # what isn't sent costs nothing here
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.bind("tcp://127.0.0.1:*")
    x = np.random.default_rng(1).random((N_DISTINCT, 5), dtype=np.float32)
    payloads = [x[i : i + batch].tobytes() for i in range(0, N_DISTINCT - batch + 1, batch)]
    pipe.send(socket.getsockopt_string(zmq.LAST_ENDPOINT))
    began = time.process_time()
    peer, credit = socket.recv_multipart()
    up_to = int(credit)
    header = bytes(160)
    for number in range(n_events // batch):
        while number >= up_to or socket.poll(0):
            up_to = int(socket.recv_multipart()[1])
        socket.send_multipart([peer, header, payloads[number % len(payloads)]])
    socket.send_multipart([peer, b"end"])
    pipe.send(time.process_time() - began)
    socket.close(linger=5000)
    context.term()


def consume_bare(address: str, security: SecurityConfig) -> None:
    """Receives into arrays and extends the window."""
    del security
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(address)
    n = 0
    socket.send(str(WINDOW).encode())
    while True:
        frames = socket.recv_multipart()
        if len(frames) == 1:
            break
        np.frombuffer(frames[1], dtype=np.float32)
        n += 1
        if n % (WINDOW // 4) == 0:
            socket.send(str(n + WINDOW).encode())
    socket.close(linger=0)
    context.term()


def measure(
    producer: Callable[[Connection, int, int, float, SecurityConfig], None],
    consumer: Callable[[str, SecurityConfig], None],
    arguments: argparse.Namespace,
    security: SecurityConfig = NO_KEYS,
) -> dict[str, float]:
    """Runs both sides and returns their rates."""
    n_events = arguments.events
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(
        target=producer, args=(there, n_events, arguments.batch, arguments.selected, security)
    )
    process.start()
    address = here.recv()
    began, cpu = time.perf_counter(), time.process_time()
    consumer(address, security)
    wall_s, consumer_s = time.perf_counter() - began, time.process_time() - cpu
    producer_s = here.recv()
    process.join()
    return {
        "wall": n_events / wall_s / 1e6,
        "producer_per_core": n_events / producer_s / 1e6,
        "consumer_per_core": n_events / consumer_s / 1e6,
    }


def make_keys(folder: Path) -> SecurityConfig:
    """Returns keys for both sides."""
    for name in ("producer", "consumer"):
        public, secret = curve_pair()
        write_pair(folder, name, "curve", secret=secret, public=public)
    allow(folder / "allowed", read_public(folder / "consumer.public", "curve"), "benchmark")
    return SecurityConfig(
        producer_secret=str(folder / "producer.secret"),
        producer_public=str(folder / "producer.public"),
        consumer_secret=str(folder / "consumer.secret"),
        allowed=str(folder / "allowed"),
    )


def best(runs: list[dict[str, float]]) -> dict[str, float]:
    """Returns the best of each rate: what the machine can do when it is left alone."""
    return {key: round(max(run[key] for run in runs), 2) for key in runs[0]}


def main() -> None:
    """Alternates the two and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--selected", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--curve", action="store_true")
    arguments = parser.parse_args()
    wire, bare, curve = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        keys = make_keys(Path(folder))
        for _ in range(arguments.repeats):
            wire.append(measure(produce, consume, arguments))
            bare.append(measure(produce_bare, consume_bare, arguments))
            if arguments.curve:
                curve.append(measure(produce, consume, arguments, keys))
    result: dict[str, Any] = {
        "unit": "million events sent per second",
        "events": arguments.events,
        "selected": arguments.selected,
        "batch_events": arguments.batch,
        "event_nbytes": LHCO.event_nbytes,
        "bare": best(bare),
    }
    for name, ratio, runs in (("wire", "ratio", wire), ("curve", "curve_ratio", curve)):
        if runs:
            result[name] = best(runs)
            result[ratio] = {k: round(v / result["bare"][k], 3) for k, v in result[name].items()}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
