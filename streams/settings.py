"""What the user says of the wire."""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["lossless", "realtime"]


@dataclass(frozen=True, slots=True)
class WireConfig:
    """How batches travel.

    Args:
        address: ZeroMQ endpoint; the producer binds it, consumers connect to it.
        mode: "lossless": the producer waits for credit and nothing is dropped. "realtime": its
            clock never waits; without credit a batch is dropped at the source and counted.
        batch_events: events per message.
        max_delay_ms: a paced producer sends an incomplete batch at the latest after this time.
        window_batches: batches that may be on their way or unprocessed: the consumer's credit.
        window_nbytes: bytes that may be on their way or unprocessed; the smaller window counts,
            and no message may be larger.
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
