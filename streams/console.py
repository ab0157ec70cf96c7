"""The operator's place beside a running daemon: requests come in, telemetry goes out.

A daemon opens two Unix sockets in its run directory, which only its user can use: a ROUTER for
requests and a PUB for telemetry. They are part of the daemon's own loop, never of a thread; a
listener that stalls, or none at all, costs the daemon nothing. On other machines one looks through
ssh, or through the page and the metrics that `onlineflows live` serves.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import zmq

from streams import sockets
from streams.console_codec import (
    MAX_TELEMETRY_NBYTES,
    decode_reply,
    decode_request,
    decode_telemetry,
    encode,
)
from streams.control import MAX_NBYTES, Reply, Request
from streams.errors import MessageError, TransportError
from streams.telemetry import Telemetry

Process = Literal["replay", "train"]

LONGEST_PATH_NBYTES = 96
"""Unix allows about a hundred bytes for the path of a socket."""

KEPT_TELEMETRY = 4
"""Documents that wait for a listener who doesn't read; older ones give way."""

LINGER_MS = 100
"""How long a closing daemon tries to say its last word."""

REQUESTS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Place:
    """Where a daemon's sockets are.

    Args:
        control, telemetry: paths of the two.
    """

    control: Path
    telemetry: Path

    @classmethod
    def of(cls, folder: Path, process: Process) -> Self:
        """Returns the place of a daemon of a run directory.

        Where the directory's path is too long for a socket, it is a folder of the user's own among
        the temporary files, under a hash of that path.
        """
        named = folder.resolve()
        if len(os.fsencode(named / f".{process}-telemetry")) > LONGEST_PATH_NBYTES:
            digest = hashlib.sha256(os.fsencode(named)).hexdigest()[:16]
            named = _private_folder() / digest
        return cls(named / f".{process}-control", named / f".{process}-telemetry")

    @property
    def exists(self) -> bool:
        """Whether a daemon has opened it, and has not closed it; it may have been killed."""
        return self.control.exists()


class Console:
    """A daemon's side. Call `requests`, `answer` and `publish` from its loop.

    Args:
        place: where to open the sockets; an old one there is replaced.

    Raises:
        TransportError: they can't be opened there.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        folder = place.control.parent
        self._made = None if folder.exists() else folder
        self._inodes: dict[Path, int] = {}
        """Of the socket files of this console: another may have replaced them since."""
        self._context = zmq.Context()
        self._control = self._context.socket(zmq.ROUTER)
        self._telemetry = self._context.socket(zmq.PUB)
        self._control.setsockopt(zmq.MAXMSGSIZE, MAX_NBYTES)
        self._telemetry.setsockopt(zmq.SNDHWM, KEPT_TELEMETRY)
        try:
            for socket, path in self._sockets():
                socket.setsockopt(zmq.LINGER, LINGER_MS)
                if _private_folder() in path.parents:
                    _make_private()
                path.parent.mkdir(parents=True, exist_ok=True)
                _bind(socket, path)
                self._inodes[path] = path.stat().st_ino
        except (zmq.ZMQError, OSError) as error:
            self.close()
            raise TransportError(
                f"{place.control.parent}: expected a folder where sockets can be opened; got "
                f"{error}; choose another run.directory, or operation.console = false to do "
                "without `ctl` and `live`"
            ) from error

    def _sockets(self) -> Iterable[tuple["sockets.Socket", Path]]:
        return (self._control, self.place.control), (self._telemetry, self.place.telemetry)

    def requests(self) -> list[tuple[bytes, Request]]:
        """Returns what has arrived, with whom to answer; what isn't a request is refused here."""
        found: list[tuple[bytes, Request]] = []
        for _ in range(REQUESTS_AT_ONCE):
            frames = [frame.bytes for frame in sockets.receive(self._control)]
            if not frames:
                break
            try:
                found.append((frames[0], decode_request(frames[-1] if len(frames) == 2 else b"")))
            except MessageError as error:
                self.answer(frames[0], Reply(False, str(error)))
        return found

    def answer(self, peer: bytes, reply: Reply) -> None:
        """Answers a request; whoever has gone isn't told."""
        with suppress(zmq.ZMQError):
            sockets.send(self._control, [peer, encode(reply)])

    def publish(self, document: Telemetry) -> None:
        """Tells whoever listens; never waits."""
        with suppress(zmq.Again):
            sockets.send(self._telemetry, [encode(document)])

    def close(self) -> None:
        """Closes the sockets and removes their files; safe to call twice.

        Files that a successor has put in their place stay.
        """
        for socket, path in self._sockets():
            if not socket.closed:
                # While the socket is open, its inode's number can't be another file's.
                is_ours = _inode_of(path) == self._inodes.get(path, -1)
                socket.close()
                if is_ours:
                    with suppress(OSError):  # its folder may be gone
                        path.unlink()
        if self._made is not None:
            with suppress(OSError):  # unless something was put into it since
                self._made.rmdir()
        sockets.close(self._control, self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ask(place: Place, request: Request, *, timeout_s: float = 5.0) -> Reply:
    """Returns a daemon's answer.

    Args:
        place: of the daemon.
        request: what is asked.
        timeout_s: how long to wait; a learner answers between batches, and after a snapshot.

    Raises:
        TransportError: nobody answers, or the folder of the sockets is somebody else's.
        MessageError: what answers isn't a daemon of this version.
    """
    _require_private(place)
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    try:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_TELEMETRY_NBYTES)
        socket.connect(f"ipc://{place.control}")
        socket.send(encode(request))
        if not socket.poll(round(1000 * timeout_s)):
            raise TransportError(
                f"{place.control}: expected an answer within {timeout_s:g} s; got none: the daemon "
                "was killed, or its loop hangs (see `onlineflows health`)"
            )
        return decode_reply(socket.recv())
    finally:
        sockets.close(socket, context)


class Listener:
    """Follows the telemetry of some daemons, which may come and go.

    Args:
        places: of the daemons, under any names.

    Raises:
        TransportError: the folder of the sockets is somebody else's.
    """

    def __init__(self, places: dict[str, Place]) -> None:
        for place in places.values():
            _require_private(place)
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._names: dict[sockets.Socket, str] = {}
        for name, place in places.items():
            socket = self._context.socket(zmq.SUB)
            for option, value in (
                (zmq.LINGER, 0),
                (zmq.RCVHWM, KEPT_TELEMETRY),
                (zmq.MAXMSGSIZE, MAX_TELEMETRY_NBYTES),
                (zmq.RECONNECT_IVL, 100),
                (zmq.RECONNECT_IVL_MAX, 1000),
            ):
                socket.setsockopt(option, value)
            socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.connect(f"ipc://{place.telemetry}")
            self._poller.register(socket, zmq.POLLIN)
            self._names[socket] = name
        self.n_malformed = 0
        """Documents that could not be understood, so far."""

    def listen(self, timeout_s: float) -> list[tuple[str, Telemetry]]:
        """Returns what has arrived, with the daemon's name, waiting up to a time for something."""
        found = []
        for socket, _ in self._poller.poll(round(1000 * timeout_s)):
            while frames := sockets.receive(socket):
                try:
                    found.append((self._names[socket], decode_telemetry(frames[-1].bytes)))
                except MessageError:
                    self.n_malformed += 1
        return found

    def close(self) -> None:
        """Closes the sockets; safe to call twice."""
        for socket in self._names:
            socket.close()
        if not self._context.closed:
            self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Pulse:
    """Says when something is due that should happen every so often.

    Args:
        every_s: how often.
        now: the time.
    """

    def __init__(self, every_s: float, now: float) -> None:
        self._every_s = every_s
        self._next_s = now

    def is_due(self, now: float) -> bool:
        """Returns whether it is due now; asked again at once, it is not."""
        if now < self._next_s:
            return False
        self._next_s = now + self._every_s
        return True

    def rest(self, until: float) -> None:
        """Puts off what is due next, at least until then."""
        self._next_s = max(self._next_s, until)


def _private_folder() -> Path:
    """Where the sockets are of run directories with long paths."""
    return Path(tempfile.gettempdir()) / f"onlineflows-{os.getuid()}"


def _make_private() -> None:
    """Makes the private folder among the temporary files, if it isn't there.

    Raises:
        PermissionError: it is somebody else's, or open to others.
    """
    private = _private_folder()
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{private} is not a private folder of this user")


def _require_private(place: Place) -> None:
    """Raises TransportError where a stranger could have opened a daemon's sockets."""
    if _private_folder() in place.control.parents:
        try:
            _make_private()
        except OSError as error:
            raise TransportError(
                f"{place.control}: expected sockets of this user; got {error}"
            ) from error


def _inode_of(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _bind(socket: "sockets.Socket", path: Path) -> None:
    """Binds a socket that only its user can use."""
    before = os.umask(0o177)
    try:
        socket.bind(f"ipc://{path}")
    finally:
        os.umask(before)
