"""The live page as a child process of a daemon. Whatever happens to it, the daemon goes on."""

import contextlib
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

from onlineflows.cli.config import Config
from onlineflows.cli.live import listen, require_installed
from onlineflows.cli.logs import configure_logging
from onlineflows.cli.output import Output
from onlineflows.cli.signals import StopFlag
from onlineflows.errors import ConfigError
from onlineflows.live.address import Address
from onlineflows.online.rundir import RunDirectory

logger = logging.getLogger(__name__)

GOODBYE_S = 3.0
"""How long the page may take to leave."""

TURN_S = 0.2


def beside_page(config: Config, output: Output, wanted: bool, body: Callable[[], int]) -> int:
    """Runs a daemon with its page beside it, where one is wanted; returns the daemon's exit code.

    A page that was asked for on a terminal stays until Ctrl-C once the run has ended.

    Args:
        config: the run; `live.address` wants a page, too.
        output: how the command speaks.
        wanted: whether a page was asked for on the command line.
        body: the daemon.

    Raises:
        ConfigError: the page's libraries are missing.
    """
    if not (wanted or config.live.address):
        return body()
    require_installed()
    try:
        page = LivePage(config, output)
    except ConfigError as error:  # the address is taken
        logger.warning("no live page", extra={"problem": str(error)})
        return body()
    with page:
        page.announce()
        code = body()
        if wanted and _is_watched() and not _was_interrupted(config.directory):
            page.linger()
        return code


class LivePage:
    """A context manager: the page ends with it, or with this process.

    Args:
        config: the run.
        output: how the command speaks.

    Raises:
        ConfigError: the address can't be listened at.
    """

    def __init__(self, config: Config, output: Output) -> None:
        text = config.live.address
        wanted = Address.of(text) if text else Address()
        # Bound here, so that its address is known at once and a taken one is found before.
        self._address, listening = listen(wanted, config.live.expose, may_move=not text)
        self._output = output
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=serve_beside,
            args=(config.run.path, listening, self._address, theirs),
            name="live",
            daemon=True,
        )
        with contextlib.closing(listening), contextlib.closing(theirs):
            self._process.start()

    def announce(self) -> None:
        """Says where the page is."""
        if not self._output.quiet and _is_watched():
            print(f"live page: {self._address.url}", file=sys.stderr)
        else:
            logger.info("live page", extra={"url": self._address.url})

    def linger(self) -> None:
        """Lets the page be read until Ctrl-C, or until it ends by itself."""
        with StopFlag() as stop:
            print(
                f"the run has ended; its page stays at {self._address.url} until Ctrl-C",
                file=sys.stderr,
            )
            while self._process.is_alive() and not stop.requested:
                self._process.join(TURN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ours.close()  # which tells it to leave
        self._process.join(GOODBYE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def serve_beside(
    folder: Path, listening: socket.socket, address: Address, parent: Connection
) -> None:
    """Serves a run as a process of its own, until its parent says so or is gone.

    Args:
        folder: the run directory.
        listening: the socket.
        address: where that listens.
        parent: ends when the parent does.
    """
    os.setpgid(0, 0)  # Ctrl-C is for the daemons
    configure_logging(quiet=True)
    try:
        from onlineflows.live.server import LiveServer

        server = LiveServer(folder, listening, address)
        threading.Thread(target=_wait_for_end, args=(parent,), daemon=True).start()
        server.run()
    except Exception:
        logger.exception("the live page has failed; the run goes on without it")
        sys.exit(1)


def _wait_for_end(parent: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        parent.recv_bytes()
    os.kill(os.getpid(), signal.SIGTERM)


def _is_watched() -> bool:
    try:
        return sys.stdin.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):  # closed, or there is none
        return False


def _was_interrupted(folder: Path) -> bool:
    try:
        document = json.loads(RunDirectory(folder).ledger.read_bytes())
    except (OSError, ValueError):
        return True
    return not isinstance(document, dict) or document.get("condition") == "INTERRUPTED"
