"""sd_notify against a socket of our own: what a service manager would hear."""

import socket
from pathlib import Path

import pytest

from onlineflows.cli.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path):
    """A listening socket and its name, in the file system or in Linux's abstract space."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = str(tmp_path / "notify") if request.param == "path" else f"@of-{id(request)}"
        listening.bind("\0" + name[1:] if name[0] == "@" else name)
        listening.settimeout(5)
        yield listening, name


def test_the_manager_hears_each_state_as_one_datagram(manager) -> None:
    listening, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.status("trained on\n3 events")
    notifier.alive()
    notifier.stopping()
    heard = [listening.recv(1024).decode() for _ in range(4)]
    assert heard == ["READY=1", "STATUS=trained on 3 events", "WATCHDOG=1", "STOPPING=1"]


def test_without_a_manager_nothing_is_sent() -> None:
    notifier = Notifier({})
    notifier.ready()
    assert not notifier.is_on


def test_a_manager_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).alive()


@pytest.mark.parametrize(
    ("environment", "expected_s"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "²"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_is_that_of_this_process(environment, expected_s: float) -> None:
    assert Notifier(environment, pid=7).watchdog_s == expected_s
