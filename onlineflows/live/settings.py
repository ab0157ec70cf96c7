"""What the user says of the live page. Loads no server."""

from dataclasses import dataclass
from typing import Self

from onlineflows.errors import ConfigError
from streams.settings import is_local

HOST = "127.0.0.1"
PORT = 9464
"""Where the page is served unless somebody says otherwise."""


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """The page and the metrics that a daemon serves beside itself, in a process of their own.

    Args:
        address: host and port, such as "127.0.0.1:9464"; empty for none. Port 0 takes a free one.
        expose: allow an address that other machines can reach: everybody there sees the run,
            because nobody is asked who they are.
    """

    address: str = ""
    expose: bool = False

    def __post_init__(self) -> None:
        if self.address:
            Address.of(self.address).require_private(self.expose, "live.expose = true")


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
