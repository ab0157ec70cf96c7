"""What something was measured on: the head of every document. Loads nothing."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


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


def versions(*distributions: str) -> dict[str, str]:
    """Returns the versions of Python and of installed distributions."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
