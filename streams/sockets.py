"""What both sides do with a ZeroMQ socket: options, whole messages in and out, words for errors."""

import errno

import zmq

from streams.errors import TransportError
from streams.protocol import SILENT_HEARTBEATS
from streams.settings import WireConfig

LINGER_MS = 2000
"""How long a closing socket tries to deliver its last words."""

LARGEST_PORT = 65535

# Plain numbers: pyzmq's flags are enumerations, whose arithmetic takes microseconds.
_NOBLOCK = int(zmq.NOBLOCK)
_MORE = int(zmq.SNDMORE | zmq.NOBLOCK)

Context = zmq.Context["zmq.Socket[bytes]"]
Socket = zmq.Socket[bytes]


def receive(socket: Socket) -> list[zmq.Frame]:
    """Returns a message that has arrived; empty where there is none.

    `recv_multipart` asks the socket after each frame whether it was the last, which costs as much
    as the frame; these know. So does whoever asks beforehand whether anything has arrived.
    """
    try:
        frame = socket.recv(_NOBLOCK, copy=False)
    except zmq.Again:
        return []
    frames = [frame]
    while frame.more:
        frame = socket.recv(_NOBLOCK, copy=False)
        frames.append(frame)
    return frames


def send(socket: Socket, frames: list[bytes]) -> None:
    """Sends a message without waiting; raises before its first frame or not at all."""
    *first, last = frames
    for frame in first:
        socket.send(frame, _MORE)
    socket.send(last, _NOBLOCK)


def set_heartbeats(socket: Socket, config: WireConfig) -> None:
    """Makes a socket notice a connection that is gone, and wait a little when it is closed."""
    interval_ms = max(1, round(1000 * config.heartbeat_s))
    socket.setsockopt(zmq.HEARTBEAT_IVL, interval_ms)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENT_HEARTBEATS * interval_ms)
    socket.setsockopt(zmq.LINGER, LINGER_MS)


def close(socket: Socket, context: Context) -> None:
    """Closes a socket, then its context; safe to call twice."""
    if not socket.closed:
        socket.close()
    if not context.closed:
        context.term()


def why_not_bound(address: str, error: zmq.ZMQError) -> str:
    """Returns why an address can't be bound, and what to do."""
    if error.errno == zmq.EADDRINUSE:
        return (
            f"{address}: expected a free address; another process listens there. Stop it, or "
            "choose another wire.address on both sides"
        )
    if error.errno == errno.EACCES:
        return f"{address}: not permitted; choose a port above 1023 for wire.address"
    return no_address(address, str(error))


def no_address(address: str, reason: str) -> str:
    """Returns what is expected of an address, and what was got."""
    return (
        f"wire.address: expected an address such as tcp://127.0.0.1:5757, of this machine on the "
        f"producer's side; got {address!r}: {reason}"
    )


def require_address(address: str) -> None:
    """Raises TransportError unless an address has a port; ZeroMQ takes 99999 for another one."""
    if not address.startswith("tcp://"):
        return
    port = address.rsplit(":", 1)[1]
    if port != "*" and not (port.isascii() and port.isdigit() and int(port) <= LARGEST_PORT):
        raise TransportError(no_address(address, f"the port is not a number up to {LARGEST_PORT}"))
