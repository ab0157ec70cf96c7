"""The table of faults, and how rounds of them are run and judged."""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from onlineflows.chaos import disk, kills, network, peers, pressure, sources, stops
from onlineflows.chaos.daemon import StuckError
from onlineflows.chaos.result import Reference, Result
from onlineflows.chaos.stage import Stage, WriteFiles
from onlineflows.errors import ConfigError
from streams.errors import nearest

logger = logging.getLogger(__name__)

Play = Callable[[Stage, int], int]
"""Plays a fault on a stage, up to so many times in one stream; returns how often it did."""

FRUITLESS = 3
"""Streams in a row in which a fault didn't come to pass before something is wrong."""


INDIFFERENT = ("wire.", "pacing.", "checkpoint.", "snapshot.")
"""Settings that may not change what is learned: how events travel, what is written when."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which things go wrong.

    Args:
        play: what happens.
        title: the same in words, for the table.
        per_stream: how often it may strike in one stream.
        theta: whether θ must have the bits of the undisturbed run.
        settings: changes to the stage's settings.
    """

    play: Play
    title: str
    per_stream: int = 1
    theta: bool = True
    settings: Mapping[str, object] = field(default_factory=dict)


ROOMY = {"wire.window_batches": 512}
"""A window that takes a whole stream."""

SMALL_BATCHES = {"wire.batch_events": 64, "wire.window_batches": 32}
"""More messages, more that can happen to them."""

LONG = {
    "source.n_events": 500_000,
    "wire.window_batches": 2,
    "checkpoint.every_events": 20_000,
    "snapshot.every_events": 50_000,
}
"""More events than would go unnoticed in memory."""

REALTIME = {"wire.mode": "realtime", "source.n_events": 150_000}

FAULTS: Mapping[str, Fault] = {
    "consumer_kill": Fault(kills.kill_consumer, "consumer killed (SIGKILL), resumed", 10),
    "producer_kill": Fault(kills.kill_producer, "producer killed (SIGKILL), started again", 10),
    "both_kill": Fault(kills.kill_both, "both killed, both started again", 5),
    "lane_kill": Fault(
        kills.kill_one_of_two, "one of two consumers killed, resumed", 3, settings={"wire.lanes": 2}
    ),
    "producer_gone": Fault(kills.lose_producer, "producer killed, consumer left alone"),
    "realtime_kill": Fault(
        kills.kill_consumer, "consumer killed in realtime mode", 2, theta=False, settings=REALTIME
    ),
    "consumer_stop_short": Fault(
        stops.stop_consumer_short, "consumer stopped for less than a heartbeat", 10
    ),
    "consumer_stop_long": Fault(
        stops.stop_consumer_long, "consumer stopped for more than five heartbeats", 2
    ),
    "producer_stop_short": Fault(
        stops.stop_producer_short, "producer stopped for less than a heartbeat", 10
    ),
    "producer_stop_long": Fault(
        stops.stop_producer_long, "producer stopped for more than five heartbeats", 2
    ),
    "hung_training": Fault(stops.hang_training, "training hangs, ZeroMQ's thread lives"),
    "slow_consumer": Fault(stops.slow_consumer, "consumer throttled, lossless", settings=LONG),
    "overload": Fault(
        pressure.overload, "overload in realtime mode", theta=False, settings=pressure.OVERLOAD
    ),
    "end_while_full": Fault(
        pressure.end_while_full_tcp, "end of run while the window is full, tcp", settings=ROOMY
    ),
    "end_while_full_ipc": Fault(
        pressure.end_while_full_ipc, "end of run while the window is full, ipc", settings=ROOMY
    ),
    "producer_first": Fault(pressure.producer_first, "producer long before the consumer"),
    "consumer_first": Fault(pressure.consumer_first, "consumer long before the producer"),
    "proxy": Fault(
        network.pass_through_proxy,
        "messages dropped, repeated, delayed, reordered",
        settings=SMALL_BATCHES,
    ),
    "connection_cut": Fault(network.cut_connections, "connection reset", 10),
    "connection_silent": Fault(network.silence_connections, "connection open, nothing passes", 2),
    "torn_checkpoint": Fault(disk.tear_checkpoint, "newest checkpoint damaged", 2),
    "disk_full": Fault(disk.fill_disk, "disk full while a checkpoint is written"),
    "disk_read_only": Fault(disk.forbid_writing, "folder of checkpoints can't be written to"),
    "source_changed": Fault(sources.change_source, "a file changes while it is read", theta=False),
    "source_vanished": Fault(
        sources.remove_source, "a file vanishes before it is read", theta=False
    ),
    "stranger": Fault(peers.meet_strangers, "junk, other protocols, huge claims at the port", 10),
    "wrong_version": Fault(peers.greet_with_other_version, "peer of another version", 2),
    "second_consumer": Fault(peers.second_consumer, "second consumer, other name"),
    "duplicated_name": Fault(peers.same_name, "second consumer, same name"),
    "wrong_run": Fault(peers.other_run, "producer of another stream in its place"),
}
"""The matrix, in the order in which it is run."""


def chosen(names: Sequence[str]) -> list[str]:
    """Returns the names of the faults to run: all of them if none is given.

    Raises:
        ConfigError: there is no such fault.
    """
    for name in names:
        if name not in FAULTS:
            raise ConfigError(f"--fault: expected a fault; got {name!r}; {nearest(name, FAULTS)}")
    return list(names) or list(FAULTS)


def run_matrix(
    names: Sequence[str],
    *,
    rounds: int,
    seed: int,
    write_files: WriteFiles,
    watch: Callable[[int], None],
) -> Iterator[Result]:
    """Runs rounds of faults and yields what each of them left.

    Args:
        names: which faults.
        rounds: rounds of each.
        seed: decides every random moment and place.
        write_files: for faults of files.
        watch: told how many rounds are done.
    """
    references = _References(seed)
    done = 0
    for name in names:
        result = Result(name)
        play = partial(_play, FAULTS[name], result, rounds, f"{seed} {name}")
        for n in play(references, write_files):
            watch(done + n)
        done += rounds
        yield result


def _play(
    fault: Fault,
    result: Result,
    rounds: int,
    seed: str,
    references: "_References",
    write_files: WriteFiles,
) -> Iterator[int]:
    """Adds rounds of a fault to its result; yields how many are done."""
    fruitless = 0
    began = time.monotonic()
    try:
        reference = references.of(fault.settings) if fault.theta else None
    except StuckError as error:
        result.problems.append(str(error))
        return
    while result.rounds < rounds and fruitless < FRUITLESS:
        rng = random.Random(f"{seed} {result.streams}")  # noqa: S311 - chaos, no secrets
        wanted = min(fault.per_stream, rounds - result.rounds)
        with Stage({**references.settings, **fault.settings}, rng, write_files) as stage:
            played = 0
            try:
                played = fault.play(stage, wanted)
                stage.finish()
            except StuckError as error:
                stage.problem("; ".join([str(error), *getattr(error, "__notes__", ())]))
                played = max(played, 1)
            result.add(stage, played, reference)
        fruitless = 0 if played else fruitless + 1
        if result.is_good:
            stage.clear()
        else:
            logger.error("not as it must be", extra={"fault": result.fault, "see": stage.folder})
            break
        yield result.rounds
    if fruitless:
        result.problems.append(f"the fault didn't come to pass in {fruitless} streams in a row")
    result.notes["wall_s"] = round(time.monotonic() - began, 1)


class _References:
    """Undisturbed runs of the streams that faults strike in, made when they are needed."""

    def __init__(self, seed: int) -> None:
        self.settings: Mapping[str, object] = {"source.seed": seed, "trainer.seed": seed}
        self._known: dict[str, Reference] = {}

    def of(self, changes: Mapping[str, object]) -> Reference:
        """Returns what an undisturbed run with these changes leaves.

        Raises:
            StuckError: even that doesn't go well.
        """
        key = repr(sorted(item for item in changes.items() if _decides(item[0])))
        if key not in self._known:
            self._known[key] = self._make(changes)
        return self._known[key]

    def _make(self, changes: Mapping[str, object]) -> Reference:
        with Stage({**self.settings, **changes}, random.Random(0)) as stage:  # noqa: S311
            stage.start_producer({})
            stage.start_consumer()
            if stage.is_shared:
                stage.start_beside()
            stage.finish()
            ledgers = stage.ledgers
            if stage.problems or any(ledger.get("unaccounted", 1) for ledger in ledgers):
                raise StuckError(
                    f"the undisturbed run failed, see {stage.folder}; {stage.problems}, {ledgers}"
                )
            counts = (sum(int(ledger[name]) for ledger in ledgers) for name in ("uses", "trained"))
            reference = Reference(stage.theta, *counts)
        stage.clear()
        return reference


def _decides(setting: str) -> bool:
    return setting == "wire.lanes" or not setting.startswith(INDIFFERENT)
