"""Contenders in processes of their own, which take their turns like all others."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from onlineflows.bench.cases import Case
from onlineflows.bench.task import Task
from onlineflows.bench.timing import Contender, Slot, Verb
from onlineflows.errors import OnlineFlowsError

PARTING_S = 10.0
"""How long a worker may take to leave."""


class RemoteContender(Contender):
    """A contender in a worker process; see `onlineflows.bench.worker`.

    Starting it doesn't wait for it: several workers compile at the same time.

    Args:
        task: what it does.
        environment: variables to set beside those of this process.
    """

    def __init__(self, task: Task, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(task.batch, task.threads)
        self._task = task
        self._process = subprocess.Popen(
            [sys.executable, "-m", "onlineflows.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            text=True,
        )
        self._send(task.line())

    def wait(self) -> dict[str, Any]:
        """Waits until it is ready; returns its version or instruction set.

        Raises:
            OnlineFlowsError: it died.
        """
        return self._receive()

    def run(self, n_calls: int) -> Slot:
        """Calls it and returns what that took, measured in its own process."""
        self._send(f"{n_calls}\n")
        return Slot(**self._receive())

    def close(self) -> None:
        """Ends the process."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(PARTING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _send(self, line: str) -> None:
        if self._process.stdin is None:
            raise RuntimeError("expected a worker with an input")
        # A worker that died can't be written to; the answer that doesn't come says so.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        line = "" if self._process.stdout is None else self._process.stdout.readline()
        if not line:
            raise OnlineFlowsError(
                f"expected an answer from the {self._task.implementation} worker; got none: run "
                "python -m onlineflows.bench.worker by hand and give it this line: "
                f"{json.dumps(asdict(self._task))}"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer


def task_of(
    case: Case, implementation: str, verb: Verb, *, batch: int, threads: int, dtype: str = "float32"
) -> Task:
    """Returns the task of a case."""
    return Task(
        implementation=implementation,
        verb=verb,
        batch=batch,
        threads=threads,
        flow=case.flow,
        dtype=dtype,
        n_features=case.n_features,
        n_context=case.n_context,
        **asdict(case.config),
    )
