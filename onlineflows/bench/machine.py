"""What was measured on, and with what: the head of every document."""

import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import torch

import onlineflows
from onlineflows.bench.ceiling import Ceiling
from onlineflows.bench.peers import PEERS, peer_version
from onlineflows.engine import info
from onlineflows.machine import cpu_model, load


def describe(bench: str, ceilings: Mapping[str, Ceiling], now: datetime) -> dict[str, Any]:
    """Returns machine, versions, date, and the ceilings measured in the same run.

    Args:
        bench: the benchmark.
        ceilings: by precision.
        now: the date to write down.
    """
    engine = info()
    return {
        "bench": bench,
        "date": now.date().isoformat(),
        "machine": {
            "cpu": cpu_model(),
            "cores": engine.threads,
            "load_before": load(),
            "platform": f"{platform.system()} {platform.machine()}",
        },
        "engine": {"isa": engine.isa, "bfloat16": engine.bfloat16},
        "versions": {
            "onlineflows": onlineflows.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            **{name: peer_version(name) or "not installed" for name in (*PEERS, "jax")},
        },
        "ceilings": {name: asdict(ceiling) for name, ceiling in ceilings.items()},
    }
