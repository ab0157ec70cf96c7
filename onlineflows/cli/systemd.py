"""What a daemon tells its service manager: sd_notify, one datagram on ``$NOTIFY_SOCKET``.

Without the variable nothing is sent, and a manager that doesn't listen costs nothing:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends states to the service manager, if there is one.

    Args:
        environment: the process's environment variables.
        pid: the process.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ, pid: int | None = None) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # An @ stands for the zero byte of Linux's abstract names.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = _watchdog_s(environment, os.getpid() if pid is None else pid)
        """Time within which the manager wants to hear `alive`; 0 if it doesn't care."""

    @property
    def is_on(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def ready(self) -> None:
        """Says that the daemon serves now."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Says in one line what the daemon does; `systemctl status` shows it."""
        self._send("STATUS=" + " ".join(text.split()))

    def alive(self) -> None:
        """Says that the main loop turns."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Says that the daemon is about to leave."""
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto(state.encode(), self._address)
        except OSError:
            return  # the manager is busy or gone: no reason to stop


def _watchdog_s(environment: Mapping[str, str], pid: int) -> float:
    whom = environment.get("WATCHDOG_PID", str(pid))
    microseconds = environment.get("WATCHDOG_USEC", "0")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and whom == str(pid) else 0.0
