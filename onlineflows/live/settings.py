"""What the user says of the live page. Loads no server."""

from dataclasses import dataclass

from onlineflows.live.address import Address


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
