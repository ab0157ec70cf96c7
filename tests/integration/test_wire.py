"""The wire between real processes over real sockets: loss, kills, stops, junk."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streams import LHCO, RunBegan, TransportError, WireConfig
from streams.transport import Receiver, Sender

SCRIPT = Path(__file__).with_name("wire_process.py")
ROOT = Path(__file__).parents[2]
N_EVENTS = 60_000
WAIT_S = 60


class Process:
    """One end of the wire and what it prints."""

    def __init__(self, role: str, arguments: dict[str, Any]) -> None:
        self.lines: list[dict[str, Any]] = []
        self.popen = subprocess.Popen(
            [sys.executable, str(SCRIPT), role, json.dumps(arguments)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )

    def next_line(self) -> dict[str, Any]:
        assert self.popen.stdout is not None
        line = json.loads(self.popen.stdout.readline())
        self.lines.append(line)
        return line

    def wait_for(self, key: str, *, at_least: int = 0) -> Any:
        """Returns a printed value, once it is there and large enough."""
        while True:
            line = self.next_line()
            if key in line and (at_least == 0 or line[key] >= at_least):
                return line[key]

    def result(self) -> dict[str, Any]:
        output, _ = self.popen.communicate(timeout=WAIT_S)
        return {**json.loads(output.splitlines()[-1]), "exit": self.popen.returncode}

    def kill(self) -> None:
        self.popen.kill()
        self.popen.communicate(timeout=WAIT_S)


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(role: str, **arguments: Any) -> Process:
        started.append(Process(role, {"n_events": N_EVENTS, **arguments}))
        return started[-1]

    yield begin
    for process in started:
        process.kill()


@pytest.fixture
def address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def wire(address: str, **changes: Any) -> dict[str, Any]:
    base = {
        "address": address,
        "batch_events": 256,
        "window_batches": 8,
        "heartbeat_s": 0.2,
        "connect_timeout_s": 30.0,
    }
    return {**base, **changes}


@pytest.mark.parametrize(("first", "truth"), [("produce", True), ("consume", False)])
def test_every_event_arrives_whoever_comes_first(
    start: Callable[..., Process], address: str, tmp_path: Path, first: str, truth: bool
) -> None:
    settings = {"wire": wire(address, truth=truth), "checkpoint": str(tmp_path / "c.json")}
    roles = [first, "consume" if first == "produce" else "produce"]
    processes = {role: start(role, **settings) for role in roles}
    consumed, produced = processes["consume"].result(), processes["produce"].result()
    assert consumed["is_exact"]
    assert consumed["is_balanced"]
    assert consumed["digest_agrees"]
    assert produced["is_acknowledged"]
    assert consumed["sent"] == produced["sent"] == consumed["trained"]
    assert (consumed["busy"], consumed["lost"], consumed["unaccounted"]) == (0, 0, 0)


def test_what_an_overloaded_consumer_misses_is_counted_as_busy(
    start: Callable[..., Process], address: str, tmp_path: Path
) -> None:
    settings = wire(address, mode="realtime", window_batches=2)
    pacing = {"arrivals": "poisson", "rate_hz": 60_000.0}
    producer = start("produce", wire=settings, pacing=pacing)
    consumer = start("consume", wire=settings, checkpoint=str(tmp_path / "c.json"), batch_s=0.02)
    consumed, produced = consumer.result(), producer.result()
    assert consumed["is_balanced"]
    assert consumed["busy"] > 0.3 * N_EVENTS
    assert consumed["generated"] == N_EVENTS
    assert consumed["lost"] == 0
    assert produced["dead_s"] > 0
    assert produced["live_s"] + produced["dead_s"] == pytest.approx(produced["elapsed_s"], abs=0.01)


def test_a_sparse_stream_arrives_in_full_batches(
    start: Callable[..., Process], address: str, tmp_path: Path
) -> None:
    settings = {
        "wire": wire(address, truth=True),
        "checkpoint": str(tmp_path / "c.json"),
        "one_in": 20,
    }
    producer, consumer = (start(role, **settings) for role in ("produce", "consume"))
    consumed, produced = consumer.result(), producer.result()
    assert consumed["is_exact"]
    assert consumed["is_balanced"]
    assert consumed["digest_agrees"]
    assert consumed["generated"] == produced["generated"] == N_EVENTS
    assert 0 < consumed["sent"] < N_EVENTS / 20
    assert consumed["n_batches"] <= consumed["sent"] / 256 + 2 * N_EVENTS / 7_000


@pytest.mark.slow
@pytest.mark.parametrize("one_in", [1, 20])
def test_a_killed_consumer_goes_on_where_its_checkpoint_stands(
    start: Callable[..., Process], address: str, tmp_path: Path, one_in: int
) -> None:
    settings = {
        "wire": wire(address, batch_events=256 // one_in),
        "checkpoint": str(tmp_path / "c.json"),
        "batch_s": 0.002,
        "one_in": one_in,
    }
    producer = start("produce", **settings)
    for reached in (10_000, 30_000):
        consumer = start("consume", **settings)
        consumer.wait_for("checkpoint", at_least=reached)
        consumer.kill()
    consumed = start("consume", **settings).result()
    produced = producer.result()
    assert consumed["is_exact"]
    assert consumed["is_balanced"]
    assert consumed["digest_agrees"]
    assert produced["is_acknowledged"]
    assert produced["n_rewinds"] >= 2


@pytest.mark.slow
def test_a_killed_producer_is_continued_by_its_successor(
    start: Callable[..., Process], address: str, tmp_path: Path
) -> None:
    settings = {"wire": wire(address), "checkpoint": str(tmp_path / "c.json"), "batch_s": 0.002}
    producer = start("produce", **settings)
    consumer = start("consume", **settings)
    consumer.wait_for("checkpoint", at_least=15_000)
    producer.kill()
    successor = start("produce", **settings)
    consumed, produced = consumer.result(), successor.result()
    assert consumed["is_exact"]
    assert consumed["is_balanced"]
    assert produced["generated"] == N_EVENTS
    assert produced["is_acknowledged"]


@pytest.mark.slow
def test_what_a_killed_consumer_misses_in_realtime_is_counted(
    start: Callable[..., Process], address: str, tmp_path: Path
) -> None:
    settings = {"wire": wire(address, mode="realtime"), "checkpoint": str(tmp_path / "c.json")}
    pacing = {"arrivals": "constant", "rate_hz": 15_000.0}
    producer = start("produce", **settings, pacing=pacing)
    consumer = start("consume", **settings)
    consumer.wait_for("checkpoint", at_least=10_000)
    consumer.kill()
    consumed = start("consume", **settings).result()
    produced = producer.result()
    assert consumed["is_balanced"], consumed["problems"]
    assert consumed["largest_count"] == 1
    assert consumed["busy"] + consumed["lost"] > 0
    assert consumed["generated"] == produced["generated"] == N_EVENTS
    assert consumed["sent"] == consumed["trained"] + consumed["lost"]


def test_a_stopped_producer_ends_the_run_and_waits_for_the_acknowledgement(
    start: Callable[..., Process], address: str, tmp_path: Path
) -> None:
    settings = {"wire": wire(address), "checkpoint": str(tmp_path / "c.json"), "batch_s": 0.005}
    producer = start("produce", **settings)
    consumer = start("consume", **settings)
    consumer.wait_for("checkpoint", at_least=10_000)
    producer.popen.send_signal(signal.SIGTERM)
    consumed, produced = consumer.result(), producer.result()
    assert consumed["condition"] == produced["condition"] == "INTERRUPTED"
    assert consumed["is_balanced"]
    assert consumed["generated"] == produced["generated"] < N_EVENTS
    assert produced["is_acknowledged"]


def test_a_wrong_schema_is_told_on_both_sides(
    start: Callable[..., Process], address: str, tmp_path: Path
) -> None:
    settings = {"wire": wire(address), "checkpoint": str(tmp_path / "c.json")}
    producer = start("produce", **settings)
    consumed = start("consume", **settings, other_schema=True).result()
    produced = producer.result()
    assert consumed["error"] == "SchemaError"
    assert produced["error"] == "RefusedError"
    for side in (consumed, produced):
        assert "expected 1 features ['m']; got 2 ['m', 'y']" in side["text"]


@pytest.mark.slow
def test_junk_on_the_port_does_no_harm(
    start: Callable[..., Process], address: str, tmp_path: Path
) -> None:
    settings = {"wire": wire(address), "checkpoint": str(tmp_path / "c.json"), "batch_s": 0.002}
    producer = start("produce", **settings)
    port = int(producer.wait_for("address").rsplit(":", 1)[1])
    consumer = start("consume", **settings)
    consumer.wait_for("checkpoint", at_least=5_000)
    for seed in range(5):
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(bytes((seed * 7 + i * i) % 256 for i in range(4096)))
    consumed = consumer.result()
    assert consumed["is_exact"]
    assert consumed["is_balanced"]
    assert producer.result()["is_acknowledged"]


BEGIN = RunBegan("ab" * 16, 1, LHCO, "lossless")


def test_a_port_in_use_is_named() -> None:
    with Sender(WireConfig(address="tcp://127.0.0.1:*"), BEGIN) as first:
        taken = WireConfig(address=first.address)
        with pytest.raises(TransportError, match=f"{first.address}: expected a free address"):
            Sender(taken, BEGIN)


@pytest.mark.parametrize("address", ["nonsense", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", ""])
def test_a_malformed_address_is_named_on_both_sides(address: str) -> None:
    config = WireConfig(address=address)
    with pytest.raises(TransportError, match="expected an address"):
        Sender(config, BEGIN)
    with pytest.raises(TransportError, match="expected an address"):
        Receiver(config, name="learner")


def test_a_consumer_that_waits_in_vain_gives_up(address: str) -> None:
    config = WireConfig(address=address, heartbeat_s=0.05, connect_timeout_s=0.3)
    with (
        Receiver(config, name="learner") as receiver,
        pytest.raises(TransportError, match="no producer at"),
    ):
        wait_for_ever(receiver)


def wait_for_ever(receiver: Receiver) -> None:
    while True:
        receiver.poll(0.05)
