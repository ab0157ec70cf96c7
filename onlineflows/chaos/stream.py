"""The stream that faults strike in: its settings, its address, and what its runs leave behind."""

import hashlib
import json
import secrets
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from onlineflows.chaos.daemon import StuckError
from onlineflows.online.rundir import RunDirectory

DEADLINE_S = 90.0
"""Longest wait for anything that should happen."""

NAME = "chaos"

PORTS = range(20_000, 30_000)
"""Below the ports that the kernel gives to outgoing connections: a consumer that keeps connecting
to a port of that range while nobody listens there can end up connected to itself."""

SETTINGS: Mapping[str, object] = {
    "run.name": NAME,
    "source.n_events": 40_000,
    "replay.lumisection_events": 7_000,
    "wire.batch_events": 256,
    "wire.window_batches": 8,
    "wire.heartbeat_s": 0.2,
    "wire.connect_timeout_s": 60,
    "preprocess.fit_events": 2_000,
    "flow.blocks": 1,
    "flow.hidden": 8,
    "flow.bins": 4,
    "buffer.capacity": 4_096,
    "trainer.batch_size": 256,
    "checkpoint.every_events": 1_000,
    "snapshot.every_events": 2_500,
    "snapshot.keep": 2,
}
"""A small, fast model that writes to disk all the time."""

PACED: Mapping[str, object] = {"pacing.arrivals": "constant", "pacing.rate_hz": 15_000}
"""Slow enough for something to happen in the middle; what is learned doesn't depend on it."""

PARTING_S = 2.0
"""How long a producer whose consumer has everything may take to leave."""

SILENT_S = 1.0
"""Five heartbeats of `SETTINGS`: after that long a peer is not waited for."""


def free_address() -> str:
    """Returns a loopback address that nobody listens at."""
    for _ in range(100):
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return f"tcp://127.0.0.1:{port}"
    raise StuckError(f"expected a free port in {PORTS}; found none")


def ledger_of(directory: RunDirectory) -> dict[str, Any]:
    """Returns the accounts of a run; empty where there are none."""
    try:
        document: dict[str, Any] = json.loads(directory.ledger.read_text())
    except (OSError, ValueError):
        return {}
    return document


def theta_of(directories: Sequence[RunDirectory]) -> str:
    """Returns the SHA-256 of what last snapshots hold besides their manifests, which have dates."""
    digest = hashlib.sha256()
    for directory in directories:
        for path in sorted((directory.snapshots / "latest").glob("*.safetensors")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
