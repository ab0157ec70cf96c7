"""Where a fault is played: one stream, its producer and its consumer, and what they leave."""

import random
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from onlineflows.chaos.daemon import LOOK_S, Daemon, StuckError
from onlineflows.chaos.stream import (
    DEADLINE_S,
    NAME,
    PACED,
    PARTING_S,
    SETTINGS,
    free_address,
    ledger_of,
    theta_of,
)
from onlineflows.online.rundir import RunDirectory


class WriteFiles(Protocol):
    """Writes a stream of events into files."""

    def __call__(
        self, folder: Path, *, n_events: int, n_files: int, seed: int
    ) -> Mapping[str, object]:
        """Writes the files; returns the settings with which a producer reads them."""
        ...


class Stage:
    """One stream and the processes that take part in it. A context manager: nobody survives it.

    Args:
        settings: changes to `SETTINGS`.
        rng: draws every time and place of the fault.
        write_files: for faults of files; None where there are none.
    """

    def __init__(
        self,
        settings: Mapping[str, object],
        rng: random.Random,
        write_files: WriteFiles | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="onlineflows-chaos-"))
        self.settings: dict[str, object] = {**SETTINGS, **settings}
        self.settings.setdefault("wire.address", free_address())
        self.consumer_address = self.address
        self.rng = rng
        self._write_files = write_files
        self.n_generated = int(str(self.settings["source.n_events"]))
        """Events that the ledgers must speak of; a fault that ends a run early knows how many."""
        self.recoveries_s: list[float] = []
        self.notes: dict[str, Any] = {}
        self.problems: list[str] = []
        runs = self.folder / "runs" / NAME
        self.directory = RunDirectory(runs / "lane-0" if self.is_shared else runs)
        self._daemons: list[Daemon] = []
        self._producer: Daemon | None = None
        self._consumer: Daemon | None = None
        self._beside: Daemon | None = None
        self._is_finished = False
        self._hit: tuple[float, int] | None = None
        self._largest: dict[str, float] = {"replay": 0.0, "train": 0.0}

    # --- the daemons -----------------------------------------------------------------------

    @property
    def producer(self) -> Daemon:
        """The newest producer."""
        return _there(self._producer)

    @property
    def consumer(self) -> Daemon:
        """The newest consumer."""
        return _there(self._consumer)

    @property
    def address(self) -> str:
        """Where the producer listens."""
        return str(self.settings["wire.address"])

    def move_to(self, address: str) -> None:
        """Takes another address for both."""
        self.settings["wire.address"] = self.consumer_address = address

    def start_producer(self, settings: Mapping[str, object] = PACED) -> Daemon:
        """Starts the producer, or starts it again."""
        self._producer = self.start("replay", settings)
        return self._producer

    def start_consumer(
        self, settings: Mapping[str, object] | None = None, *, log: int | None = None
    ) -> Daemon:
        """Starts the consumer, or starts it again, as a supervisor would: with --continue."""
        self._consumer = self.start("train", settings or {}, "--continue", log=log)
        return self._consumer

    def read_from_files(self, n_files: int) -> list[Path]:
        """Lets the producer read the same number of events from files; returns them in order."""
        if self._write_files is None:
            raise StuckError("expected somebody who writes files; there is nobody")
        folder = self.folder / "events"
        folder.mkdir()
        seed = int(str(self.settings.pop("source.seed")))
        del self.settings["source.n_events"]
        self.settings |= self._write_files(
            folder, n_events=self.n_generated, n_files=n_files, seed=seed
        )
        return sorted(folder.iterdir())

    def follow(self, directory: RunDirectory) -> None:
        """Looks at another run directory from now on."""
        self.directory = directory

    def start(
        self, verb: Any, settings: Mapping[str, object], *flags: str, log: int | None = None
    ) -> Daemon:
        """Starts any process of the program; it is ended with the stage."""
        address = self.address if verb == "replay" else self.consumer_address
        merged = {**self.settings, "wire.address": address, **settings}
        daemon = Daemon(verb, self.folder, len(self._daemons), merged, flags, log)
        self._daemons.append(daemon)
        return daemon

    @property
    def is_shared(self) -> bool:
        """Whether two consumers share the stream."""
        return self.settings.get("wire.lanes", 1) != 1

    def start_beside(self) -> Daemon:
        """Starts the consumer of the other lane, or starts it again."""
        self._beside = self.start("train", {"wire.lane": 1}, "--continue")
        return self._beside

    @property
    def beside(self) -> Daemon:
        """The newest consumer of the other lane."""
        return _there(self._beside)

    def begin(self) -> None:
        """Starts all and waits until the run has begun."""
        self.start_producer()
        self.start_consumer()
        if self.is_shared:
            self.start_beside().wait_for("run began", deadline_s=DEADLINE_S)
        self.wait_for_run()

    def wait_for_run(self) -> bool:
        """Waits until the consumer has begun the run; returns False where it ended instead."""
        return self.consumer.wait_for("run began", deadline_s=DEADLINE_S)

    # --- time ------------------------------------------------------------------------------

    @property
    def serial(self) -> int:
        """Event index that the newest checkpoint stands at; 0 without one."""
        return max((int(p.name.partition("-")[0]) for p in self.checkpoints), default=0)

    @property
    def checkpoints(self) -> list[Path]:
        """The consumer's checkpoints, the newest last."""
        return sorted(self.directory.checkpoints.glob("*.checkpoint"))

    def dwell(self, seconds: float) -> bool:
        """Lets both work for a time; returns False where one of them ended before."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not (self.producer.is_running and self.consumer.is_running):
                return False
            self._look()
            time.sleep(LOOK_S)
        return True

    def wait_for_checkpoint(self, beyond: int) -> bool:
        """Waits until a checkpoint stands beyond an event; returns False where the run ended.

        Raises:
            StuckError: neither happens in time.
        """
        end = time.monotonic() + DEADLINE_S
        while self.serial <= beyond:
            if not self.consumer.is_running:
                return False
            if time.monotonic() > end:
                raise StuckError(f"expected a checkpoint beyond event {beyond}; none came")
            self._look()
            time.sleep(LOOK_S)
        self._look()
        return True

    def hit(self) -> None:
        """Says that a fault has struck: until the next checkpoint the run recovers."""
        self._hit = time.monotonic(), self.serial

    def _look(self) -> None:
        if self._hit is not None and self.serial > self._hit[1]:
            self.recoveries_s.append(time.monotonic() - self._hit[0])
            self._hit = None
        for daemon in (self.producer, self.consumer):
            self._largest[daemon.verb] = max(self._largest[daemon.verb], daemon.resident_mb)

    # --- the end ---------------------------------------------------------------------------

    @property
    def is_durable(self) -> bool:
        """Whether the consumer holds the whole run, its end included, on disk."""
        return self.ledger.get("condition") in ("GOOD", "TAINTED")

    def is_told(self) -> bool:
        """Whether the run is over for the producer, too; it may take a moment to leave."""
        return self.is_durable and self.producer.leaves_within(PARTING_S)

    def finish(self, *, codes: tuple[int, int] = (0, 0)) -> None:
        """Waits for both to end and looks at their exit codes; does nothing a second time.

        Args:
            codes: what is expected of the producer and of the consumer.
        """
        if self._is_finished:
            return
        self._is_finished = True
        end = time.monotonic() + DEADLINE_S
        while self.consumer.is_running and time.monotonic() < end:
            self._look()
            time.sleep(LOOK_S)
        expected = [(self.consumer, codes[1]), (self.producer, codes[0])]
        if self.is_shared:
            expected.insert(0, (self.beside, codes[1]))
        for daemon, code in expected:
            found = daemon.finish(deadline_s=max(1.0, end + 10 - time.monotonic()))
            was_killed_after_the_end = found == -signal.SIGKILL and self.is_durable
            if found != code and not was_killed_after_the_end:
                self.problem(f"{daemon.verb} ended with {found}, not {code}; {daemon.last_words}")

    def problem(self, words: str) -> None:
        """Records that something went wrong."""
        self.problems.append(words)

    def require(self, is_so: bool, words: str) -> None:
        """Records what is expected, unless it is so."""
        if not is_so:
            self.problem(f"expected {words}")

    def require_growth(self, who: str, before_mb: float, after_mb: float, limit_mb: float) -> None:
        """Notes how much a process has grown, and records a problem if that is too much."""
        growth_mb = round(after_mb - before_mb, 1)
        name = f"{who}_growth_mb"
        self.notes[name] = max(growth_mb, self.notes.get(name, 0.0))
        self.require(growth_mb <= limit_mb, f"a {who} of constant size; it grew by {growth_mb} MB")

    @property
    def ledger(self) -> dict[str, Any]:
        """The consumer's accounts of the run; empty where there are none."""
        return ledger_of(self.directory)

    @property
    def ledgers(self) -> list[dict[str, Any]]:
        """The accounts of all consumers that share the stream, this one's first."""
        return [ledger_of(directory) for directory in self._directories]

    @property
    def _directories(self) -> list[RunDirectory]:
        others = [RunDirectory(self.directory.path.with_name("lane-1"))] if self.is_shared else []
        return [self.directory, *others]

    @property
    def theta(self) -> str:
        """SHA-256 of what the last snapshot holds besides its manifest, dates included there."""
        return theta_of(self._directories)

    @property
    def largest_mb(self) -> dict[str, float]:
        """Largest resident size seen of each daemon, in MB."""
        return {verb: round(size, 1) for verb, size in self._largest.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for daemon in self._daemons:
            daemon.close()

    def clear(self) -> None:
        """Deletes everything that the daemons wrote."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _there(daemon: Daemon | None) -> Daemon:
    if daemon is None:
        raise StuckError("expected a daemon; start it first")
    return daemon
