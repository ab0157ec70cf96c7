"""The learner of one lane as a child process: `onlineflows train --lane K`."""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from onlineflows.cli.exits import DONE, code_of_child
from onlineflows.cli.health import FILES
from onlineflows.cli.output import Output
from onlineflows.online.rundir import RunDirectory, Start

logger = logging.getLogger(__name__)

GOODBYE_S = 30.0
"""How long a learner may take to leave once it was told to."""


@dataclass(frozen=True, slots=True)
class LaneResult:
    """How the run of one lane ended.

    Args:
        lane: its number.
        code: exit code of the learner.
        document: what the learner printed at its end; empty where it printed nothing.
    """

    lane: int
    code: int
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether the end of the run was reached, and there are accounts of it."""
        return bool(self.document.get("is_complete")) and bool(self.ledger)

    @property
    def ledger(self) -> dict[str, Any]:
        """The accounts of the lane; empty where there are none."""
        ledger: dict[str, Any] = self.document.get("ledger", {})
        return ledger

    @property
    def condition(self) -> str:
        """How the run ended for this lane."""
        return str(self.document.get("condition", "FAILED"))


class LaneLearner:
    """Starts the process at once. A context manager: whatever happens, it doesn't outlive that.

    Args:
        lane: its number.
        words: file and overrides of the configuration, as on a command line.
        directory: the lane's own.
        output: how the command speaks; on a terminal, the learners' lines would garble it.
        start: what becomes of an earlier run.
        restarts: how often it is started again if it dies.
    """

    def __init__(
        self,
        lane: int,
        words: Sequence[str],
        directory: RunDirectory,
        output: Output,
        *,
        start: Start,
        restarts: int,
    ) -> None:
        self._lane = lane
        self._directory = directory
        self._since_unix_s = time.time()
        self._was_stopped = False
        self.is_silent = output.quiet or sys.stderr.isatty()
        flags = {"--quiet": self.is_silent, "--log-json": output.log_json}
        command = [
            *("train", *words, "--lane", str(lane), "--json", "--restarts", str(restarts)),
            *(flag for flag, is_on in flags.items() if is_on),
            *([] if start == "fresh" else [f"--{start}"]),
        ]
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 (closed at the exit)
        # A group of its own: Ctrl-C reaches the producer, whose end of run is for all learners.
        # The service manager hears of one process, the command's.
        self._process = subprocess.Popen(  # noqa: S603 (our own program, with its own arguments)
            [sys.executable, "-m", "onlineflows", *command],
            stdout=self._printed,
            process_group=0,
            env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
        )

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    @property
    def has_failed(self) -> bool:
        """Whether it ended otherwise than it should."""
        return not self.is_running and self._process.returncode != DONE

    def stop(self) -> None:
        """Tells it to leave a checkpoint and go, unless it was told before or is leaving."""
        has_spoken = os.fstat(self._printed.fileno()).st_size > 0
        if self.is_running and not has_spoken and not self._was_stopped:
            self._was_stopped = True
            self._process.send_signal(signal.SIGTERM)

    def progress(self) -> tuple[int, int]:
        """Returns how many events it has trained on, and how many the whole run has, 0 where that
        isn't known: by its health file.
        """
        try:
            health = json.loads((self._directory.path / FILES["train"]).read_text())
            if health["updated_unix_s"] < self._since_unix_s:
                return 0, 0
            return int(health["n_trained"]), int(health["n_events"] or 0)
        except (OSError, ValueError, KeyError, TypeError):
            return 0, 0

    @property
    def result(self) -> LaneResult:
        """How the lane's run ended; ask once the process has, and before it is closed."""
        code = self._process.returncode
        self._printed.seek(0)
        try:
            document = json.load(self._printed)
        except ValueError:  # it was killed, or said on standard error what is wrong
            document = {}
        return LaneResult(self._lane, code_of_child(code), document)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        try:
            self._process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._printed.close()
