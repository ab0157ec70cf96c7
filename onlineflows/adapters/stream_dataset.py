"""A producer's stream as a torch dataset."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from onlineflows.errors import ConfigError
from streams import (
    BatchReceived,
    ConsumerLedger,
    EventSchema,
    Incoming,
    LedgerError,
    Position,
    ProtocolError,
    RunBegan,
    RunEnded,
    WireConfig,
)
from streams.transport import Receiver

logger = logging.getLogger(__name__)

POLL_S = 0.1
"""Longest wait for a message before heartbeats are looked after."""


class StreamDataset(IterableDataset[Tensor]):
    """The batches that a producer sends, as tensors of shape (n, d), until its run ends.

    An iteration is a consumer like `onlineflows train`: it connects, extends credit, and is a run's
    only one. A batch counts as consumed, and is acknowledged, once it was yielded and the next one
    is asked for (or the iteration is left); nothing that wasn't yielded ever is. An iteration that
    is left early is taken up by the next, or by that of another process with `state_dict`: in
    lossless mode every event is yielded once. Between two batches, don't work for longer than five
    heartbeats (`wire.heartbeat_s`) in realtime mode, nor than `wire.connect_timeout_s`.

    At the end of the run the accounts of both sides are compared.

    In a DataLoader (batch_size=None) it works without workers, or with one, whose attributes are
    out of reach and whose batches count as yielded once it has fetched them. Several are refused,
    since a DataLoader waits for its workers in turn: to share a stream, iterate over each of its
    lanes in a process of its own.

    Args:
        wire: where the producer is, the keys, and which lane this is.
        name: this consumer's name.
        expect: the schema that the events must have; None for any.
        clock: seconds, never going back.

    Attributes:
        schema: what the events are; `expect` until the run has begun.
        ended: how the newest run ended; None while it goes on.
        ledger: what was received of the newest run.

    Raises:
        ConfigError: while iterating, there are several workers.
        LedgerError: the accounts don't balance.
        RefusedError, SchemaError, SecurityError, TransportError, ProtocolError: while iterating;
            see `streams.transport.Receiver`.

    Example:
        A producer in a thread; a real one is ``onlineflows replay CONFIG``:

        >>> import queue, threading
        >>> import numpy as np
        >>> from onlineflows.adapters.stream_dataset import StreamDataset
        >>> from replay.producer import run_producer
        >>> from replay.settings import PacingConfig, ReplayConfig
        >>> from streams import ArraySource, EventSchema, Feature, WireConfig
        >>> schema = EventSchema((Feature("m", "TeV", 0, 10),))
        >>> source = ArraySource(schema, np.ones((2500, 1), dtype=np.float32))
        >>> address = queue.Queue()
        >>> settings = {
        ...     "wire": WireConfig("tcp://127.0.0.1:*", batch_events=1000),
        ...     "pacing": PacingConfig(),
        ...     "replay": ReplayConfig(),
        ...     "on_listening": address.put,
        ... }
        >>> producer = threading.Thread(target=run_producer, args=(source,), kwargs=settings)
        >>> producer.start()
        >>> dataset = StreamDataset(WireConfig(address.get()))
        >>> [len(x) for x in dataset]
        [1000, 1000, 500]
        >>> producer.join()
        >>> dataset.ended.condition, dataset.ledger.balance().is_balanced
        ('GOOD', True)
    """

    def __init__(
        self,
        wire: WireConfig,
        *,
        name: str = "dataset",
        expect: EventSchema | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wire = wire
        self._name = name
        self._clock = clock
        self._expect = expect
        self.schema = expect
        self.ended: RunEnded | None = None
        self.ledger = ConsumerLedger()
        self._position: Position | None = None

    def __iter__(self) -> Iterator[Tensor]:
        _require_at_most_one_worker()
        if self.has_ended:  # another run is another stream
            self.ended, self.ledger, self._position = None, ConsumerLedger(), None
            self.schema = self._expect
        with Receiver(
            self._wire,
            name=self._name,
            resume=self._position,
            expect=self.schema,
            clock=self._clock,
        ) as receiver:
            while not self.has_ended:
                for incoming in receiver.poll(POLL_S):
                    self.ledger.observe(incoming)
                    if isinstance(incoming, BatchReceived):
                        yield from self._yield(incoming, receiver)
                    self._note(incoming)
                    if isinstance(incoming, RunEnded):
                        receiver.acknowledge(incoming.position)
        self._require_balance()

    @property
    def has_ended(self) -> bool:
        """Whether the end of the newest run was received."""
        return self.ended is not None

    def state_dict(self) -> dict[str, Any]:
        """Returns where the stream is to be taken up after what was yielded, as plain JSON types.

        Keep it with what was learned from those batches.
        """
        position = None if self._position is None else self._position.to_dict()
        return {"position": position, "ledger": self.ledger.to_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up what `state_dict` returned; the next iteration goes on from there.

        Raises:
            ProtocolError, LedgerError: it is something else.
        """
        try:
            position, ledger = state["position"], state["ledger"]
        except (KeyError, TypeError) as error:
            raise ProtocolError(f"expected a position and a ledger; got {state!r}") from error
        self.ledger = ConsumerLedger.from_dict(ledger)
        self._position = None if position is None else Position.from_dict(position)
        self.ended = None

    def _yield(self, received: BatchReceived, receiver: Receiver) -> Iterator[Tensor]:
        self.ledger.account([received.batch_number], trained=len(received.batch))
        self._position = received.position
        try:
            yield torch.from_numpy(received.batch.x.copy())
        finally:  # the caller has it, whether it asks for another or leaves
            receiver.consumed(received.batch_number)
            receiver.acknowledge(received.position)

    def _note(self, incoming: Incoming) -> None:
        if isinstance(incoming, RunBegan):
            self.schema = incoming.schema
            return
        self._position = incoming.position
        if isinstance(incoming, RunEnded):
            self.ended = incoming
            if incoming.condition != "GOOD":
                extra = {"condition": incoming.condition, "text": incoming.text}
                logger.warning("the run didn't end as planned", extra=extra)

    def _require_balance(self) -> None:
        balance = self.ledger.balance()
        if not balance.is_balanced:
            raise LedgerError(
                "expected that every event of the run is accounted for; got "
                f"{'; '.join(balance.problems)}"
            )


def _require_at_most_one_worker() -> None:
    worker = get_worker_info()
    if worker is not None and worker.num_workers > 1:
        raise ConfigError(
            f"expected num_workers=0 or 1 for a stream; got {worker.num_workers}: to share it, set "
            "wire.lanes and iterate over each lane in a process of its own"
        )
