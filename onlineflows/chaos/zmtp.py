"""As much of ZeroMQ's protocol (ZMTP 3.0, rfc.zeromq.org/spec/23) as a stranger needs to know.

Over a plain TCP socket, so that it can also be spoken wrongly.
"""

import socket
import struct

SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
NULL = b"NULL".ljust(20, b"\0")
GREETING = SIGNATURE + b"\x03\x00" + NULL + b"\0" + bytes(31)
TIMEOUT_S = 5.0


def connect(address: str) -> socket.socket:
    """Returns a TCP connection to an address such as tcp://127.0.0.1:5757."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=TIMEOUT_S)


def greet(peer: socket.socket, identity: str, kind: str = "DEALER") -> None:
    """Exchanges greetings, and says what kind of socket this is.

    Raises:
        OSError: the other side does not want to.
    """
    peer.sendall(GREETING)
    _receive(peer, len(GREETING))
    properties = _property("Socket-Type", kind) + _property("Identity", identity)
    command = b"\x05READY" + properties
    peer.sendall(struct.pack(">BB", 4, len(command)) + command)


def frame(content: bytes, *, more: bool = False) -> bytes:
    """Returns a frame of a message."""
    if len(content) < 256:
        return struct.pack(">BB", int(more), len(content)) + content
    return struct.pack(">BQ", 2 | int(more), len(content)) + content


def claim(n_bytes: int) -> bytes:
    """Returns the head of a frame that claims to have so many bytes, and none of them."""
    return struct.pack(">BQ", 2, n_bytes)


def answer(peer: socket.socket, limit: int = 65536) -> bytes:
    """Returns what the other side sends until it pauses or closes."""
    found = b""
    peer.settimeout(0.5)
    while len(found) < limit:
        try:
            part = peer.recv(4096)
        except TimeoutError:
            break
        if not part:
            break
        found += part
    return found


def _property(name: str, value: str) -> bytes:
    return (
        struct.pack(">B", len(name))
        + name.encode()
        + struct.pack(">I", len(value))
        + value.encode()
    )


def _receive(peer: socket.socket, n_bytes: int) -> bytes:
    found = b""
    while len(found) < n_bytes:
        part = peer.recv(n_bytes - len(found))
        if not part:
            raise ConnectionResetError("the other side closed")
        found += part
    return found
