"""Where the page is served: a name and a port that, as a rule, only this machine can reach."""

import socket
from dataclasses import dataclass
from typing import Self

from onlineflows.errors import ConfigError
from streams.settings import is_local

HOST = "127.0.0.1"
PORT = 9464
"""Where the page is served unless somebody says otherwise."""

ANY_OF_THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (nothing is bound here)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the page is served.

    Args:
        host: name or address of an interface.
        port: 0 for a free one.
    """

    host: str = HOST
    port: int = PORT

    @classmethod
    def of(cls, text: str) -> Self:
        """Returns the address that is written as "host:port".

        Raises:
            ConfigError: it isn't.

        Example:
            >>> Address.of("[::1]:80")
            Address(host='::1', port=80)
        """
        host, _, port = text.rpartition(":")
        if not (host and port.isdecimal() and int(port) < 1 << 16):
            raise ConfigError(
                f'live.address: expected host and port, such as "{HOST}:{PORT}"; got {text!r}'
            )
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_local(f"tcp://{self}")

    def require_private(self, may_expose: bool, how: str) -> None:
        """Raises ConfigError where other machines can reach it, unless they may.

        Args:
            may_expose: whether they may.
            how: what says so.
        """
        if not (self.is_local or may_expose):
            raise ConfigError(
                f"{self}: expected a loopback address; got one that other machines can reach, "
                "where everybody sees rates, spectra and snapshots of the run, because nobody is "
                f"asked who they are: use {HOST} (and ssh -L from elsewhere), or say {how}"
            )

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page."""
        host = ANY_OF_THIS_MACHINE.get(self.host, self.host)
        return f"http://{Address(host, self.port)}/"

    def listen(self) -> socket.socket:
        """Returns a socket that listens there.

        Raises:
            ConfigError: it can't be listened at.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family, backlog=64)
        except OSError as error:
            raise ConfigError(
                f"{self}: expected an address to listen at; got {error.strerror or error}; choose "
                "another with --port or live.address, or port 0 for a free one"
            ) from error

    @classmethod
    def heard_at(cls, listening: socket.socket, host: str) -> Self:
        """Returns the address that a socket listens at; the port is known by now."""
        return cls(host, int(listening.getsockname()[1]))
