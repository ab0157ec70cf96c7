"""What the user says of the wire."""

import ipaddress
import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from streams.errors import InputError

Mode = Literal["lossless", "realtime"]

MAX_REQUEST_NBYTES = 16 << 10
"""No consumer has more to say in one message."""


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    """Who may speak to whom: CURVE keys (see `onlineflows keys`). Each side reads its own files.

    Args:
        producer_secret: file with the producer's secret key.
        producer_public: the producer's public key, a file or 64 hexadecimal digits: the only
            producer that the consumer believes.
        consumer_secret: file with the consumer's secret key.
        allowed: file with the public keys of the consumers that the producer admits; read again
            whenever it changes.
        insecure: go without keys even where strangers can reach the address: anybody there can
            read the events, pretend to be the producer, and end the run.
        max_request_nbytes: largest frame that the producer takes from a consumer; a peer that
            sends more is disconnected. What the consumer takes is limited by wire.window_nbytes.
    """

    producer_secret: str = ""
    producer_public: str = ""
    consumer_secret: str = ""
    allowed: str = ""
    insecure: bool = False
    max_request_nbytes: int = MAX_REQUEST_NBYTES

    def __post_init__(self) -> None:
        require_at_least(4096, "wire.security.max_request_nbytes", self.max_request_nbytes)
        if self.insecure and self.has_keys:
            raise InputError(
                "wire.security: expected keys or insecure = true; got both: remove one of them"
            )

    @property
    def has_keys(self) -> bool:
        """Whether any key is named."""
        return bool(
            self.producer_secret or self.producer_public or self.consumer_secret or self.allowed
        )


@dataclass(frozen=True, slots=True)
class WireConfig:
    """How batches travel.

    Args:
        address: ZeroMQ endpoint; the producer binds it, consumers connect to it.
        mode: "lossless": the producer waits for credit and nothing is dropped. "realtime": its
            clock never waits; without credit a batch is dropped at the source and counted.
        batch_events: events sent per message, at most. Where only some are selected, a message
            covers as many more of the stream, up to 64 times.
        max_delay_ms: a paced producer sends an incomplete batch at the latest after this time.
        window_batches: full batches that may be on their way or unprocessed: the consumer's
            credit. Of smaller batches, as a paced producer may send them, as many as hold the
            same number of events.
        window_nbytes: bytes that may be on their way or unprocessed, whatever the batches' sizes;
            the smaller window counts, and no message may be larger.
        heartbeat_s: time between heartbeats; a peer silent for five of them is taken for dead.
        connect_timeout_s: how long each side waits for the other before it gives up.
        truth: whether the consumer asks for truth labels (for tests; the learner has no use).
        lanes: how many consumers share the stream; each event goes to exactly one of them. The
            same on both sides.
        lane: which of them a consumer is, counted from 0.
        security: keys; needed at every address that other machines can reach.
    """

    address: str = "tcp://127.0.0.1:5757"
    mode: Mode = "lossless"
    batch_events: int = 1024
    max_delay_ms: float = 100.0
    window_batches: int = 16
    window_nbytes: int = 64 << 20
    heartbeat_s: float = 1.0
    connect_timeout_s: float = 60.0
    truth: bool = False
    lanes: int = 1
    lane: int = 0
    security: SecurityConfig = field(default_factory=SecurityConfig)

    def __post_init__(self) -> None:
        for name in ("batch_events", "window_batches", "window_nbytes", "lanes"):
            require_at_least(1, f"wire.{name}", getattr(self, name))
        require_at_least(0, "wire.max_delay_ms", self.max_delay_ms)
        for name in ("heartbeat_s", "connect_timeout_s"):
            require_at_least(0.01, f"wire.{name}", getattr(self, name))
        if not 0 <= self.lane < self.lanes:
            raise InputError(
                f"wire.lane: expected one of the {self.lanes} lanes, counted from 0; got "
                f"{self.lane}; wire.lanes says how many there are"
            )
        if not (is_local(self.address) or self.security.has_keys or self.security.insecure):
            raise InputError(
                f"wire.security: expected keys, because {self.address} can be reached from other "
                "machines; got none: make them with `onlineflows keys` and name them in "
                "[wire.security], use a loopback address, or set wire.security.insecure = true "
                "where everybody who can reach it may read the events and end the run"
            )

    def at_home(self, address: str) -> Self:
        """Returns the same wire without keys at a local address: both ends are one user's."""
        return replace(self, address=address, security=SecurityConfig())


@dataclass(frozen=True, slots=True)
class OperationConfig:
    """How the daemons are looked after.

    Args:
        stall_s: a learner that could make progress and makes none for so long is reported, by
            itself and by the producer; 0 for never. Longer than training on what is owed at the
            end of a run may take.
        exit_when_stalled: whether a daemon whose loop hangs for so long ends itself, for its
            supervisor to start it again.
        health: whether the daemons leave a health file in the run directory.
        console: whether they open sockets in the run directory for `onlineflows ctl` and `live`,
            which only their user can use.
    """

    stall_s: float = 30.0
    exit_when_stalled: bool = False
    health: bool = True
    console: bool = True

    def __post_init__(self) -> None:
        require_at_least(0, "operation.stall_s", self.stall_s)


def is_local(address: str) -> bool:
    """Returns whether only this machine can reach a ZeroMQ address.

    Example:
        >>> [is_local(f"tcp://{host}:5757") for host in ("127.0.0.1", "[::1]", "*", "10.0.0.7")]
        [True, True, False, False]
    """
    scheme, separator, rest = address.partition("://")
    if scheme in ("ipc", "inproc") or not separator:  # without one it is no address at all
        return True
    # In "tcp://source;destination" either part may reach out.
    hosts = [part.rpartition(":")[0] or part for part in rest.split(";")]
    return scheme == "tcp" and all(map(_is_loopback, hosts))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_at_least(least: float, name: str, value: Any) -> None:
    """Raises InputError unless a setting is a finite number not below a limit.

    Example:
        >>> require_at_least(1, "wire.batch_events", 0)
        Traceback (most recent call last):
        streams.errors.InputError: wire.batch_events: expected a number from 1 on; got 0
    """
    if not least <= value < math.inf:
        raise InputError(f"{name}: expected a number from {least} on; got {value}")
