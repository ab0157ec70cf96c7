"""When events are due, and how much of the time the producer was live.

Pure: time is an argument, in seconds since the start of the stream. A trigger's clock never waits,
so deadlines are absolute: whoever comes late finds more events due, never a shifted clock.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from replay.profiles import Profile, profile_of
from replay.settings import PacingConfig

TICK_S = 0.005
"""Poisson arrivals are drawn per tick; also how often a paced producer looks at the clock."""

NO_LIMIT = 1 << 62
"""More events than any stream has."""

_BLOCK_TICKS = 4096
_BLOCKS_AT_ONCE = 256

_LONGEST_TICKS = round(366 * 86_400 / TICK_S)
"""A profile isn't taken up after a year of the clock: to draw what comes before takes seconds."""


class Pacer(Protocol):
    """How many events have arrived since the start."""

    def due(self, elapsed_s: float) -> int:
        """Returns how many events are due this long after the start; never decreases."""
        ...


class Asap:
    """Everything is due at once: only credit holds the stream back."""

    def due(self, elapsed_s: float) -> int:  # noqa: ARG002 - the time does not matter here
        """Returns more events than any stream has."""
        return NO_LIMIT


class Constant:
    """Equal gaps.

    Example:
        >>> Constant(rate_hz=1000.0).due(0.0105)
        10
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz

    def due(self, elapsed_s: float) -> int:
        """Returns the number of whole gaps in the elapsed time."""
        return int(elapsed_s * self._rate_hz)


class Poisson:
    """Random arrivals at a mean rate that changes with time, counted per tick of 5 ms.

    The number of arrivals in a block of 4,096 ticks is drawn first, then how they fall into its
    ticks, which is the same as a Poisson count for each tick. A block far ahead is reached without
    the ticks before it, and the arrivals are a function of the settings and of time alone, however
    often and at what times one asks.

    Args:
        profile: the mean rate.
        speed: seconds of the profile in one second.
        seed: seed of the counts.
        first_event: index of the event that the stream goes on with: time begins when those before
            it have arrived.

    Example:
        >>> from replay.profiles import Steady
        >>> pacer = Poisson(Steady(1000.0), speed=1.0, seed=3)
        >>> first_event = pacer.due(60.0)
        >>> again = Poisson(Steady(1000.0), speed=1.0, seed=3, first_event=first_event)
        >>> again.due(7.0) == pacer.due(67.0) - first_event
        True
    """

    def __init__(self, profile: Profile, *, speed: float, seed: int, first_event: int = 0) -> None:
        self._profile = profile
        self._tick_s = speed * TICK_S
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._first_block = -_BLOCKS_AT_ONCE
        self._arrived = np.zeros(1, dtype=np.int64)
        """Arrivals before each of the blocks at hand, and behind the last of them."""
        self._ticks: tuple[int, NDArray[np.int64]] | None = None
        """A block, and the arrivals in it before each of its ticks and behind the last."""
        self._draw_blocks()
        self._begin_tick, self._before = self._where(first_event)
        self._tick = self._begin_tick

    def due(self, elapsed_s: float) -> int:
        """Returns the arrivals in the ticks that are complete."""
        self._tick = max(self._tick, self._begin_tick + int(elapsed_s / TICK_S))
        block, rest = divmod(self._tick, _BLOCK_TICKS)
        while block >= self._first_block + _BLOCKS_AT_ONCE:
            self._draw_blocks()
        before = int(self._arrived[block - self._first_block])
        return before + int(self._in_block(block)[rest]) - self._before

    def _where(self, event: int) -> tuple[int, int]:
        """Returns the first tick behind all events before this one, and how many to leave out."""
        if self._expected(np.array([_LONGEST_TICKS]))[0] < event:
            return 0, 0  # nobody waits for so long: another pacing has brought the stream here
        while self._arrived[-1] < event:
            self._draw_blocks()
        block = max(0, int(self._arrived.searchsorted(event)) - 1)
        within = self._in_block(self._first_block + block).searchsorted(
            event - self._arrived[block]
        )
        return (self._first_block + block) * _BLOCK_TICKS + int(within), event

    def _draw_blocks(self) -> None:
        self._first_block += _BLOCKS_AT_ONCE
        blocks = self._first_block + np.arange(_BLOCKS_AT_ONCE + 1)
        counts = self._rng.poisson(self._means(blocks * _BLOCK_TICKS))
        self._arrived = self._arrived[-1] + np.concatenate([[0], np.cumsum(counts)])

    def _in_block(self, block: int) -> NDArray[np.int64]:
        if self._ticks is None or self._ticks[0] != block:
            place = block - self._first_block
            n = int(self._arrived[place + 1] - self._arrived[place])
            means = self._means(block * _BLOCK_TICKS + np.arange(_BLOCK_TICKS + 1))
            counts = np.zeros(_BLOCK_TICKS, dtype=np.int64)
            if n:
                sequence = np.random.SeedSequence(self._seed, spawn_key=(block,))
                rng = np.random.default_rng(sequence)
                counts = rng.multinomial(n, means / means.sum())
            self._ticks = block, np.concatenate([[0], np.cumsum(counts)])
        return self._ticks[1]

    def _means(self, edges: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns the mean numbers of arrivals between ticks."""
        return np.maximum(np.diff(self._expected(edges)), 0.0)

    def _expected(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._profile.expected(ticks.astype(np.float64) * self._tick_s)


class Recording(Protocol):
    """Whoever reads events ahead and knows their times (`replay.batching.Batcher`)."""

    @property
    def next_time_s(self) -> float | None:
        """When the next event arrived; None while nothing has been read."""
        ...

    def end_at(self, time_s: float) -> int:
        """Returns one past the index of the last event that had arrived by then, as far as is
        known: one more where all that was read had, so that more is read.
        """
        ...


class Recorded:
    """Arrivals as the data say: time begins with the first event.

    Args:
        recording: knows the times.
        speed: seconds of the recording in one second.
        first_event: index of the event that the stream goes on with.
    """

    def __init__(self, recording: Recording, *, speed: float, first_event: int) -> None:
        self._recording = recording
        self._speed = speed
        self._first_event = first_event
        self._begin_s: float | None = None

    def due(self, elapsed_s: float) -> int:
        """Returns how many events have arrived, as far as they were read."""
        if self._begin_s is None:
            self._begin_s = self._recording.next_time_s
        if self._begin_s is None:
            return 1
        time_s = self._begin_s + self._speed * elapsed_s
        return self._recording.end_at(time_s) - self._first_event


def make_pacer(config: PacingConfig, recording: Recording, *, first_event: int = 0) -> Pacer:
    """Returns the pacer that a configuration asks for.

    Args:
        config: how events arrive.
        recording: knows when they were recorded, for the pacing that asks for it.
        first_event: index of the event that the stream goes on with; a profile is taken up where
            that event belongs.
    """
    match config.arrivals:
        case "asap":
            return Asap()
        case "constant":
            return Constant(config.rate_hz * config.speed)
        case "recorded":
            return Recorded(recording, speed=config.speed, first_event=first_event)
    profile = profile_of(config)
    return Poisson(profile, speed=config.speed, seed=config.seed, first_event=first_event)


class LiveTime:
    """Divides the elapsed time into live, dead and paused: none negative, their sum always exact.

    Each stretch of time is given to one of them when it is over: dead where the events that
    arrived in it were dropped for want of credit, paused where an operator held the stream, live
    otherwise.

    Args:
        now_s: when the clock starts.
    """

    def __init__(self, now_s: float) -> None:
        self._last_ns = round(1e9 * now_s)
        self._live_ns = 0
        self._dead_ns = 0
        self._paused_ns = 0
        self._taken = (0, 0)

    def advance(self, now_s: float, *, dead: bool) -> None:
        """Gives the time since the last call to dead or to live time."""
        now_ns = max(self._last_ns, round(1e9 * now_s))
        if dead:
            self._dead_ns += now_ns - self._last_ns
        else:
            self._live_ns += now_ns - self._last_ns
        self._last_ns = now_ns

    def pause(self, now_s: float) -> float:
        """Gives the time since the last call to the pause; returns it in seconds."""
        now_ns = max(self._last_ns, round(1e9 * now_s))
        passed_ns, self._last_ns = now_ns - self._last_ns, now_ns
        self._paused_ns += passed_ns
        return passed_ns / 1e9

    @property
    def paused_ns(self) -> int:
        """Nanoseconds that were neither live nor dead, since the start."""
        return self._paused_ns

    @property
    def totals_ns(self) -> tuple[int, int]:
        """Live and dead nanoseconds since the start."""
        return self._live_ns, self._dead_ns

    def take_ns(self) -> tuple[int, int]:
        """Returns live and dead nanoseconds since the last take: a lumisection's share."""
        live, dead = self._live_ns - self._taken[0], self._dead_ns - self._taken[1]
        self._taken = self.totals_ns
        return live, dead
