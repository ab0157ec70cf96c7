"""The producer as a child process of the program whose learners it serves."""

import json
import multiprocessing
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from onlineflows.cli.config import Config
from onlineflows.cli.output import Output
from onlineflows.cli.replay import replay_for

ANY_PORT = "tcp://127.0.0.1:*"
"""Both ends are ours, so any free port does."""

LOOK_S = 0.05

GOODBYE_S = 30.0
"""How long the producer may take to leave once the run has ended."""


class ProducerProcess:
    """A context manager: whatever happens, the process doesn't outlive it.

    Args:
        config: the run, with the address to bind.
        output: how the command speaks.
    """

    def __init__(self, config: Config, output: Output) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        # A fresh interpreter, and a target whose module leaves torch alone.
        self._process = multiprocessing.get_context("spawn").Process(
            target=replay_for, args=(config, output, theirs), name="producer"
        )
        self._process.start()
        theirs.close()

    def wait_for_address(self) -> str | None:
        """Waits for the producer to listen; None if it ends instead, having said why."""
        while self._process.is_alive() and not self._ours.poll(LOOK_S):
            pass
        address = _received(self._ours)
        if address is None:
            self._process.join()
        return address

    @property
    def exitcode(self) -> int | None:
        """Its exit code; negative where a signal ended it, None while it runs."""
        return self._process.exitcode

    def stop(self) -> None:
        """Asks it to end the run, as SIGTERM does; its consumers are told."""
        self._process.terminate()

    def leave(self) -> None:
        """Waits for its end, not for ever."""
        self._process.join(GOODBYE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def account(self) -> dict[str, Any] | None:
        """Returns what `replay_for` said at its end; None where it was killed before. Only once."""
        said = _received(self._ours)
        return None if said is None else json.loads(said)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.stop()  # nobody else will come for its events
        self.leave()
        self._ours.close()


def _received(connection: Connection) -> str | None:
    try:
        return connection.recv_bytes().decode() if connection.poll() else None
    except (EOFError, OSError):
        return None
