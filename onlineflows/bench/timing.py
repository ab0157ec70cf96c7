"""Contenders that take turns, and what their turns took. Loads no torch: not all contenders do."""

import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verb = Literal["train", "logprob", "sample"]
"""What a contender does with events: a gradient step, densities, or draws."""


@dataclass(frozen=True, slots=True)
class Slot:
    """What some calls took.

    Args:
        wall_s: wall time.
        cpu_s: CPU time of the whole process, all its threads.
    """

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Args:
        rounds: turns of each contender.
        slot_s: about how long a turn takes.
        pause_s: wait before a turn, in which the threads of the one before stop spinning.
    """

    rounds: int = 7
    slot_s: float = 0.12
    pause_s: float = 0.01


QUICK = Effort(rounds=2, slot_s=0.001, pause_s=0.0)
"""Shows that everything runs; the numbers say nothing."""


class Contender(ABC):
    """Something that can be called over and over, each time for the same number of events.

    Args:
        n_events: events of one call.
        threads: CPU threads that it may use.
    """

    def __init__(self, n_events: int, threads: int) -> None:
        self.n_events = n_events
        self.threads = threads

    @abstractmethod
    def run(self, n_calls: int) -> Slot:
        """Calls it and returns what that took."""

    def close(self) -> None:
        """Frees what the contender holds; safe to call twice."""
        return


@dataclass(frozen=True, slots=True)
class Rate:
    """Events per second over the rounds.

    Args:
        events_per_s: median, by wall time.
        spread: interquartile range of it.
        events_per_cpu_s: median, by the CPU time of all threads.
        best: the fastest round.
    """

    events_per_s: float
    spread: float
    events_per_cpu_s: float
    best: float


def timed(call: Callable[[], object], n_calls: int) -> Slot:
    """Calls something n times and returns what that took."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(n_calls):
        call()
    return Slot(time.perf_counter() - wall, time.process_time() - cpu)


def interleave(contenders: Mapping[str, Contender], effort: Effort) -> dict[str, Rate]:
    """Gives all contenders one turn each, again and again; returns their rates by name."""
    n_calls = {name: _calls_per_slot(c, effort.slot_s) for name, c in contenders.items()}
    slots: dict[str, list[Slot]] = {name: [] for name in contenders}
    for _ in range(effort.rounds):
        for name, contender in contenders.items():
            time.sleep(effort.pause_s)
            slots[name].append(contender.run(n_calls[name]))
    return {
        name: rate(taken, n_calls[name] * contenders[name].n_events)
        for name, taken in slots.items()
    }


def rate(slots: Sequence[Slot], n_events: int) -> Rate:
    """Returns the rate of turns of n_events events each.

    Example:
        >>> rate([Slot(1.0, 2.0), Slot(2.0, 2.0), Slot(4.0, 2.0)], 4).events_per_s
        2.0
    """
    walls = [n_events / slot.wall_s for slot in slots]
    low, _, high = quartiles(walls)
    return Rate(
        events_per_s=statistics.median(walls),
        spread=high - low,
        events_per_cpu_s=statistics.median(n_events / max(slot.cpu_s, 1e-9) for slot in slots),
        best=max(walls),
    )


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the three quartiles; of a single value, the value."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _calls_per_slot(contender: Contender, slot_s: float) -> int:
    """How many calls fill a slot; warms the contender up."""
    contender.run(2)
    n_calls = 1
    while (taken := contender.run(n_calls).wall_s) < slot_s / 4:
        n_calls *= 2
    return max(1, round(n_calls * slot_s / taken))
