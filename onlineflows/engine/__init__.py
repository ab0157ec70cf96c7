"""The compiled engine: fused kernels behind the contract of a flow, where they were built.

Without a compiler the package installs and works all the same, on the torch path: `available` is
False then, `info` says why, and one line is logged.
"""

from onlineflows.engine.flow import EngineFlow, Precision
from onlineflows.engine.library import EngineInfo, describe, load
from onlineflows.engine.steps import Rates, adam_step, schedule_free_step

__all__ = [
    "EngineFlow",
    "EngineInfo",
    "Precision",
    "Rates",
    "adam_step",
    "available",
    "info",
    "schedule_free_step",
]


def available() -> bool:
    """Returns whether the compiled engine was built and can be used here."""
    return load()[0] is not None


def info() -> EngineInfo:
    """Returns what the engine uses on this machine, and why."""
    return describe()
