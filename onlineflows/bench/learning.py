"""A learner on a stream in memory, looked at after so many events."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onlineflows.density import Density
from onlineflows.errors import DataError
from onlineflows.online.learner import Learner
from onlineflows.settings import LearnerConfig
from streams import EventSchema

Events = NDArray[np.float32]

BATCH_EVENTS = 1024
"""Events that are handed over at a time, as by the wire."""
BLOCK_EVENTS = 32_768
"""Events that are generated at a time; their generation isn't timed."""
STREAM_SEED, TEST_SEED = 11, 12


@dataclass(frozen=True, slots=True)
class Truth:
    """An endless stream whose density is known.

    Args:
        schema: what the events are.
        open: returns a reader of the stream of a seed: it returns the next n events.
        log_prob: true log-densities of events in nats, shape (n,).
    """

    schema: EventSchema
    open: Callable[[int], Callable[[int], Events]]
    log_prob: Callable[[Events], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Mark:
    """A learner after so many events.

    Args:
        n_seen: events so far.
        wall_s: time spent learning them.
        cpu_s: CPU time of it.
        newest_cpu_s: CPU time of the newest tenth of the events.
        density: what has been learned.
    """

    n_seen: int
    wall_s: float
    cpu_s: float
    newest_cpu_s: float
    density: Density


def learn(truth: Truth, config: LearnerConfig, marks: Sequence[int]) -> Iterator[Mark]:
    """Learns from a stream and yields a mark after each of the given numbers of events.

    Raises:
        DataError: a mark comes before the marginal map is fitted.
    """
    learner = Learner(truth.schema, config)
    read = truth.open(STREAM_SEED)
    wall_s = cpu_s = 0.0
    for mark in sorted(marks):
        at_nine_tenths = 0.0
        for end in (mark - mark // 10, mark):
            while learner.n_seen < end:
                x = read(min(BLOCK_EVENTS, end - learner.n_seen))
                wall, cpu = time.perf_counter(), time.process_time()
                feed(learner, x)
                wall_s += time.perf_counter() - wall
                cpu_s += time.process_time() - cpu
            at_nine_tenths = at_nine_tenths or cpu_s
        density = learner.density()
        if density is None:
            raise DataError(f"expected at least {config.preprocess.fit_events} events; got {mark}")
        yield Mark(mark, wall_s, cpu_s, cpu_s - at_nine_tenths, density)


def feed(learner: Learner, x: Events) -> None:
    """Hands events over in batches."""
    for start in range(0, len(x), BATCH_EVENTS):
        learner.learn(x[start : start + BATCH_EVENTS], lumisection=1)


def held_out(truth: Truth, n: int) -> Events:
    """Returns held-out events."""
    read = truth.open(TEST_SEED)
    parts = [read(min(BLOCK_EVENTS, n - start)) for start in range(0, n, BLOCK_EVENTS)]
    return np.concatenate(parts)
