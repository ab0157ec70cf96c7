"""`onlineflows doctor`: what this installation would use, and why."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import onlineflows
from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output

PACKAGES = ("torch", "numpy", "pyzmq", "msgspec", "river", "scikit-learn", "uproot", "fastjet")


def doctor(output: Output) -> int:
    """Prints versions and the machine; returns the exit code."""
    found = {name: _version(name) for name in PACKAGES}
    document = {
        "onlineflows": onlineflows.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": _n_cpus(),
        "packages": found,
    }
    rows = [
        ("onlineflows", onlineflows.__version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("platform", platform.platform()),
        ("usable CPUs", str(_n_cpus())),
        *((name, number or "not installed") for name, number in found.items()),
    ]
    output.result(document, "\n".join(f"{name:<14}{value}" for name, value in rows))
    return DONE


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _n_cpus() -> int:
    """CPUs that this process may run on; where the system can't tell, all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
