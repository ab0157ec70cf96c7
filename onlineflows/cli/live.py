"""`onlineflows live`: the page of a run, its metrics and its health, until Ctrl-C."""

import socket
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path

from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output
from onlineflows.errors import ConfigError
from onlineflows.live.address import PORT, Address
from streams.errors import nearest

NEEDED = ("nicegui", "prometheus_client")


def live(
    folder: Path, output: Output, *, host: str, port: int | None, expose: bool, opens: bool
) -> int:
    """Serves the page of a run; returns the exit code once it is told to end.

    Args:
        folder: the run directory; daemons may come later.
        output: how to print where the page is.
        host: where to listen.
        port: None for the usual one, or any that is free where that is taken.
        expose: whether other machines may reach it.
        opens: whether to open it in a browser.

    Raises:
        ConfigError: the address can't be listened at or is not allowed, or the extra is missing.
    """
    require_installed()
    _require_plausible(folder)
    address, listening = listen(Address(host, PORT if port is None else port), expose, port is None)
    from onlineflows.live.server import LiveServer

    server = LiveServer(folder, listening, address)
    output.result(
        {"url": address.url, "run": folder, "metrics": f"{address.url}metrics"},
        f"live page of {folder}: {address.url} (metrics at /metrics; Ctrl-C ends it, not the run)",
    )
    if opens:
        webbrowser.open(address.url)
    server.run()
    return DONE


def listen(address: Address, expose: bool, may_move: bool) -> tuple[Address, socket.socket]:
    """Returns the address and a socket that listens there.

    Args:
        address: where to.
        expose: whether other machines may reach it.
        may_move: whether any free port does where that one is taken.

    Raises:
        ConfigError: it can't be listened at, or is not allowed.
    """
    address.require_private(expose, "--expose")
    try:
        listening = address.listen()
    except ConfigError:
        if not may_move:
            raise
        listening = Address(address.host, 0).listen()
    return Address.heard_at(listening, address.host), listening


def require_installed() -> None:
    """Raises ConfigError where the libraries of the page aren't there."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"expected the libraries of the live page; got no {' and no '.join(missing)}: install "
            'them with pip install "onlineflows[live]" (or make setup)'
        )


def _require_plausible(folder: Path) -> None:
    """Warns where there is no such run yet: it may come, or be misspelt.

    Raises:
        ConfigError: it is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: expected a run directory such as runs/demo; got a file")
    if not folder.exists():
        there = [p.name for p in folder.parent.glob("*") if p.is_dir()]
        hint = f"; {nearest(folder.name, there)}" if there else ""
        print(f"{folder}: no run there yet: waiting for it{hint}", file=sys.stderr)
