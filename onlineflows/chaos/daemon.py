"""One daemon as a process of its own: started, watched through what it writes, broken, ended."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from onlineflows.errors import OnlineFlowsError

Verb = Literal["replay", "train"]

LOOK_S = 0.005
"""Time between two looks at something that happens in another process."""

PACKAGES = Path(__file__).parents[2]
"""Where the packages are; a checkout that isn't installed is found by its daemons, too."""


class StuckError(OnlineFlowsError):
    """Something that should have happened did not, within its deadline."""


def wait_until(is_so: Callable[[], bool], what: str, *, deadline_s: float) -> None:
    """Waits for something that happens in another process.

    Raises:
        StuckError: it doesn't happen in time.
    """
    end = time.monotonic() + deadline_s
    while not is_so():
        if time.monotonic() > end:
            raise StuckError(f"expected {what} within {deadline_s:g} s; it did not happen")
        time.sleep(LOOK_S)


class Daemon:
    """A producer or a consumer; its result and its log go to files, which never fill up.

    Args:
        verb: which daemon.
        folder: its working folder; also where its files go.
        number: distinguishes its files from those of others.
        settings: given to ``--set``.
        flags: further arguments.
        log: file descriptor for its log instead of a file.
    """

    def __init__(
        self,
        verb: Verb,
        folder: Path,
        number: int,
        settings: Mapping[str, object],
        flags: Sequence[str] = (),
        log: int | None = None,
    ) -> None:
        words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        self.verb = verb
        self._out, self._err = (folder / f"{number:03d}-{verb}.{name}" for name in ("out", "err"))
        paths = [str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "onlineflows", verb, "--json", *flags, *words],
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err if log is None else log,
            )

    @property
    def is_running(self) -> bool:
        """Whether the process is there; a stopped one is."""
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """What it has written to standard error so far."""
        return self._err.read_text(errors="replace")

    def says(self, pattern: str) -> bool:
        """Whether a line of its log matches, or it has ended and nothing more will come."""
        return re.search(pattern, self.log) is not None or not self.is_running

    def wait_for(self, pattern: str, *, deadline_s: float) -> bool:
        """Waits for a line in its log; returns False where it ended without one.

        Raises:
            StuckError: neither happens in time.
        """
        try:
            wait_until(lambda: self.says(pattern), repr(pattern), deadline_s=deadline_s)
        except StuckError as error:
            error.add_note(self.last_words)
            raise
        return re.search(pattern, self.log) is not None

    def finish(self, *, deadline_s: float) -> int:
        """Waits for its end; returns the exit code.

        Raises:
            StuckError: it doesn't end in time; it is killed.
        """
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            error = StuckError(f"expected {self.verb} to end within {deadline_s:g} s; it did not")
            error.add_note(self.last_words)
            raise error from None

    def leaves_within(self, seconds: float) -> bool:
        """Whether it ends by itself within a time."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    @property
    def result(self) -> dict[str, Any]:
        """The document that it printed at its end; empty where there is none."""
        try:
            document: dict[str, Any] = json.loads(self._out.read_text())
        except ValueError:
            return {}
        return document

    @property
    def last_words(self) -> str:
        """The end of its log."""
        return f"{self.verb} said: " + " | ".join(self.log.splitlines()[-4:])[-1500:]

    @property
    def resident_mb(self) -> float:
        """Its resident size in MB (1e6 bytes), where /proc is there; 0 otherwise."""
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def kill(self) -> None:
        """Ends it as a crash would: SIGKILL, which no process can prepare for."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stops all its threads, those of ZeroMQ included."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        self.process.send_signal(signal.SIGCONT)

    def limit_files(self, size_nbytes: int | None) -> None:
        """Lets no file grow beyond a size from now on, or, with None, any file to any size."""
        if not self.is_running:
            return
        hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)[1]
        soft = hard if size_nbytes is None else size_nbytes
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (soft, hard))

    def close(self) -> None:
        """Ends it, in whatever state it is."""
        if self.is_running:
            self.kill()
