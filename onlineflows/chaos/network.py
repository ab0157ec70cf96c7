"""A network that misbehaves: messages lost, repeated and reordered; connections cut or silent."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from onlineflows.chaos.daemon import PACKAGES
from onlineflows.chaos.relay import Relay
from onlineflows.chaos.stage import Stage
from onlineflows.chaos.stream import SILENT_S, free_address

LIFE_S = 0.4
SILENCE_S = (1.2 * SILENT_S, 2.0 * SILENT_S)
PARTING_S = 5.0


def pass_through_proxy(stage: Stage, _rounds: int) -> int:
    """Puts a proxy between the two that drops, duplicates, delays and reorders messages of every
    kind in both directions, from begin to end.
    """
    with _proxy(stage) as counts:
        stage.begin()
        stage.finish()
    stage.notes |= counts
    stage.require(bool(counts), "a proxy that tells what it did")
    return 1


def cut_connections(stage: Stage, rounds: int) -> int:
    """Resets the connection between the two at random moments."""
    return _through_relay(stage, rounds, silent=False)


def silence_connections(stage: Stage, rounds: int) -> int:
    """Lets nothing through for longer than five heartbeats, with the connection open."""
    return _through_relay(stage, rounds, silent=True)


def _through_relay(stage: Stage, rounds: int, *, silent: bool) -> int:
    stage.consumer_address = free_address()
    ports = [int(a.rpartition(":")[2]) for a in (stage.consumer_address, stage.address)]
    with Relay(*ports) as relay:
        stage.begin()
        played = rounds
        for n in range(rounds):
            if not stage.dwell(stage.rng.uniform(0, LIFE_S)):
                played = n
                break
            if silent:
                relay.hold()
                stage.dwell(stage.rng.uniform(*SILENCE_S))
                relay.release()
            else:
                relay.cut()
            stage.hit()
        stage.finish()
    return played


@contextmanager
def _proxy(stage: Stage) -> Iterator[dict[str, Any]]:
    """Runs the proxy, and fills the dictionary with its counts at the end."""
    stage.consumer_address = free_address()
    words = ["--listen", stage.consumer_address, "--producer", stage.address]
    counts: dict[str, Any] = {}
    process = subprocess.Popen(  # noqa: S603 - our own program
        [
            sys.executable,
            "-m",
            "streams.fault_proxy",
            *words,
            "--seed",
            str(stage.rng.random())[2:],
        ],
        env={**os.environ, "PYTHONPATH": str(PACKAGES)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield counts
    finally:
        process.terminate()
        try:
            counts.update(json.loads(process.communicate(timeout=PARTING_S)[0]))
        finally:
            process.kill()
