"""What the user says of the wire."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from streams.errors import InputError

Mode = Literal["lossless", "realtime"]


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

    def __post_init__(self) -> None:
        for name in ("batch_events", "window_batches", "window_nbytes"):
            require_at_least(1, f"wire.{name}", getattr(self, name))
        require_at_least(0, "wire.max_delay_ms", self.max_delay_ms)
        for name in ("heartbeat_s", "connect_timeout_s"):
            require_at_least(0.01, f"wire.{name}", getattr(self, name))


def require_at_least(least: float, name: str, value: Any) -> None:
    """Raises InputError unless a setting is a finite number not below a limit.

    Example:
        >>> require_at_least(1, "wire.batch_events", 0)
        Traceback (most recent call last):
        streams.errors.InputError: wire.batch_events: expected a number from 1 on; got 0
    """
    if not least <= value < math.inf:
        raise InputError(f"{name}: expected a number from {least} on; got {value}")
