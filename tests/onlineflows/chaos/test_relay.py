"""The relay passes bytes, and stops when it is told to."""

import socket
from collections.abc import Iterator

import pytest

from onlineflows.chaos.relay import Relay
from onlineflows.chaos.stream import free_address


def free_port() -> int:
    return int(free_address().rpartition(":")[2])


@pytest.fixture
def ends() -> Iterator[tuple[Relay, socket.socket, socket.socket]]:
    """A relay, and the two ends of one connection through it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = free_port()
        with (
            Relay(port, server.getsockname()[1]) as relay,
            socket.create_connection(("127.0.0.1", port), timeout=5) as near,
            server.accept()[0] as far,
        ):
            far.settimeout(5)
            yield relay, near, far


def test_bytes_pass_in_both_directions(ends) -> None:
    _, near, far = ends
    near.sendall(b"there")
    assert far.recv(100) == b"there"
    far.sendall(b"and back")
    assert near.recv(100) == b"and back"


def test_a_cut_resets_both_ends(ends) -> None:
    relay, near, far = ends
    near.sendall(b"through")
    far.recv(100)
    assert relay.cut() == 1
    for end in (near, far):
        with pytest.raises(ConnectionResetError):
            end.recv(100)


def test_what_is_held_arrives_after_the_release(ends) -> None:
    relay, near, far = ends
    relay.hold()
    near.sendall(b"late")
    far.settimeout(0.1)
    with pytest.raises(TimeoutError):
        far.recv(100)
    relay.release()
    far.settimeout(5)
    assert far.recv(100) == b"late"
