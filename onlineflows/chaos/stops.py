"""Processes that stop without ending: frozen, throttled, or hung in the training loop alone."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from onlineflows.chaos.stage import Stage
from onlineflows.chaos.stream import DEADLINE_S, PACED, SILENT_S

HEARTBEAT_S = 0.2
SHORT = (0.1 * HEARTBEAT_S, 0.9 * HEARTBEAT_S)
"""Seconds, shorter than a heartbeat."""

LONG = (1.2 * SILENT_S, 2.0 * SILENT_S)
"""Seconds, longer than the silence after which a peer is not waited for."""

LIFE_S = 0.4
"""Longest time of undisturbed work before a process is stopped."""

SLOW_S = (0.03, 0.01)
"""A throttled consumer stops for so long, then works for so long."""

THROTTLED_S = 3.0
GROWTH_MB = 10.0
"""How much larger a producer may become while it waits for its consumer."""

HUNG_TIMEOUT_S = 2.0
"""After so long the producer of a hung consumer gives up."""


def _freeze(stage: Stage, rounds: int, *, verb: str, seconds: tuple[float, float]) -> int:
    stage.begin()
    for n in range(rounds):
        if not stage.dwell(stage.rng.uniform(0, LIFE_S)):
            return n
        victim = stage.consumer if verb == "train" else stage.producer
        victim.freeze()
        stage.dwell(stage.rng.uniform(*seconds))
        victim.thaw()
        stage.hit()
    return rounds


stop_consumer_short = partial(_freeze, verb="train", seconds=SHORT)
stop_consumer_long = partial(_freeze, verb="train", seconds=LONG)
stop_producer_short = partial(_freeze, verb="replay", seconds=SHORT)
stop_producer_long = partial(_freeze, verb="replay", seconds=LONG)


def slow_consumer(stage: Stage, _rounds: int) -> int:
    """Throttles the consumer to a quarter of its speed under a producer that is many times faster;
    the producer waits, and holds nothing in memory meanwhile.
    """
    stage.start_producer({})
    stage.start_consumer()
    stage.wait_for_run()
    before_mb = stage.producer.resident_mb
    end = time.monotonic() + THROTTLED_S
    while time.monotonic() < end and stage.consumer.is_running:
        stage.consumer.freeze()
        stage.dwell(SLOW_S[0])
        stage.consumer.thaw()
        stage.dwell(SLOW_S[1])
    stage.require_growth("producer", before_mb, stage.producer.resident_mb, GROWTH_MB)
    return 1


def hang_training(stage: Stage, _rounds: int) -> int:
    """Hangs the consumer's main thread in a write to a full pipe while ZeroMQ's thread lives on.

    ZeroMQ's own heartbeats go on; those of the protocol stop. The producer notices, says so and
    ends; then the hung process is killed, and both are started again.
    """
    impatient = {
        **PACED,
        "operation.stall_s": HUNG_TIMEOUT_S / 2,
        "wire.connect_timeout_s": HUNG_TIMEOUT_S,
    }
    with _pipe() as (log, clog):
        stage.start_consumer(log=log)
        producer = stage.start_producer(impatient)
        while not stage.serial:  # a consumer that starts slowly isn't one that hangs
            if producer.leaves_within(0.01):
                producer = stage.start_producer(impatient)
        stage.dwell(stage.rng.uniform(0, LIFE_S))
        clog()
        code = producer.finish(deadline_s=DEADLINE_S)
        said = "made no progress" in producer.log and "has been silent" in producer.log
        stage.require(
            code == 2 and said, f"a producer that gives up; {code}, {producer.last_words}"
        )
        stage.require(stage.consumer.is_running, "a consumer that hangs; it has ended")
        stage.consumer.kill()
    stage.hit()
    stage.start_producer()
    stage.start_consumer()
    return 1


@contextmanager
def _pipe() -> Iterator[tuple[int, Callable[[], None]]]:
    """A pipe's writing end, and a function that fills it, so that the next writer blocks."""
    reading, writing = os.pipe()

    def clog() -> None:
        # A description of its own, or the daemon's end would become non-blocking as well.
        own = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            for size in (4096, 1):
                with _full():
                    while True:
                        os.write(own, bytes(size))
        finally:
            os.close(own)

    try:
        yield writing, clog
    finally:
        os.close(writing)
        os.close(reading)


@contextmanager
def _full() -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        return


def hang_is_possible() -> bool:
    """Whether this system lets a process open its own pipes by name, as Linux does."""
    return Path("/proc/self/fd").exists()
