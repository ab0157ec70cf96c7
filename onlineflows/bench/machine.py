"""What was measured on, and with what: the head of every document."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

import onlineflows
from onlineflows.bench.ceiling import Ceiling
from onlineflows.bench.peers import PEERS, peer_version
from onlineflows.engine import info


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


def cpu_model() -> str:
    """Returns what the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    family = f"family {fields['cpu family']}" if "cpu family" in fields else ""
    return " ".join(filter(None, (fields.get("model name", platform.machine()), family)))


def load() -> float | None:
    """Returns the machine's load average over the last minute; None where there is none."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
