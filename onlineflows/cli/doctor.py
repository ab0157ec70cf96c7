"""`onlineflows doctor`: what this installation would use, and why."""

import platform
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import torch

import onlineflows
from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output
from onlineflows.engine import info

PACKAGES = ("torch", "numpy", "pyzmq", "msgspec", "river", "scikit-learn", "uproot", "fastjet")


def doctor(output: Output) -> int:
    """Prints versions, the machine and what computes here; returns the exit code."""
    engine = info()
    found = {name: _version(name) for name in PACKAGES}
    document = {
        "onlineflows": onlineflows.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": engine.threads,
        "engine": asdict(engine),
        "gpu": _gpu(),
        "packages": found,
    }
    rows = [
        ("onlineflows", onlineflows.__version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("platform", platform.platform()),
        ("usable CPUs", str(engine.threads)),
        ("engine", f"{engine.isa} ({engine.reason})"),
        ("library", str(engine.path or "none: flows run in torch, several times slower")),
        ("precision", f"float32, float64{', bfloat16 products' if engine.bfloat16 else ''}"),
        ("GPU", _gpu() or "none that torch can use"),
        *((name, number or "not installed") for name, number in found.items()),
    ]
    output.result(document, "\n".join(f"{name:<14}{value}" for name, value in rows))
    return DONE


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpu() -> str | None:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
