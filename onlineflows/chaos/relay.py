"""A TCP relay that cuts the connections through it, or leaves them open and passes nothing."""

import contextlib
import selectors
import socket
import struct
import threading
from types import TracebackType
from typing import Self

CHUNK_NBYTES = 65536
LOOK_S = 0.02
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a close a reset: nothing more is delivered."""


class Relay:
    """Listens at one loopback port and passes bytes to and from another; a thread of its own.

    Args:
        port: where it listens.
        target: where it connects to, for each connection that it takes.
    """

    def __init__(self, port: int, target: int) -> None:
        self._target = target
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._is_open = threading.Event()
        self._is_open.set()
        self._is_over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> int:
        """Resets all connections; returns how many there were."""
        with self._lock:
            pairs, self._pairs = self._pairs, {}
        for one in pairs:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            one.close()
        return len(pairs) // 2

    def hold(self) -> None:
        """Passes nothing on, in either direction, and lets nobody notice."""
        self._is_open.clear()

    def release(self) -> None:
        """Passes on what has arrived, and everything from then on."""
        self._is_open.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._is_open.set()
        self._thread.join()
        self._listener.close()
        self.cut()

    def _run(self) -> None:
        while not self._is_over.is_set():
            self._is_open.wait()
            with self._lock:
                pairs = dict(self._pairs)
            with selectors.DefaultSelector() as selector:
                for each in (self._listener, *pairs):
                    with contextlib.suppress(ValueError, OSError):  # cut in the meantime
                        selector.register(each, selectors.EVENT_READ)
                ready = [key.fileobj for key, _ in selector.select(LOOK_S)]
            for one in ready:
                if one is self._listener:
                    self._accept()
                elif isinstance(one, socket.socket):
                    self._pass(one, pairs[one])

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            near, _ = self._listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self._target), timeout=1.0)
            except OSError:
                near.close()  # nobody listens there now; whoever connects will try again
                return
            far.settimeout(None)
            near.settimeout(None)
            with self._lock:
                self._pairs.update({near: far, far: near})

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            content = source.recv(CHUNK_NBYTES)
            self._is_open.wait()
            sink.sendall(content)
        except OSError:
            content = b""
        if not content:
            with self._lock:
                for one in (source, sink):
                    self._pairs.pop(one, None)
            for one in (source, sink):
                one.close()
