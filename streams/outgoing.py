"""What a producer has said of the stream so far, and the messages that say more of it."""

from collections import deque
from collections.abc import Mapping

from streams.batch import Batch, Truth
from streams.codec import Frames, encode_batch, extend_digest
from streams.errors import ProtocolError
from streams.messages import (
    Condition,
    Counts,
    Data,
    EndLumisection,
    EndRun,
    Gap,
    Ping,
    Stand,
)
from streams.protocol import NO_DIGEST, Position

KEPT_LUMISECTIONS = 512
"""How many EOLS messages are kept for a realtime consumer that comes back."""


class Outgoing:
    """Numbers batches, checks that events follow each other, keeps the digest.

    Args:
        epoch: the run's epoch, 16 bytes.

    Attributes:
        next_batch: number of the next batch.
        next_event: index of the event that comes next.
        closed_event: event index up to which lumisections are closed.
        lumisections: the newest of those that were closed.
        end: the end of the run, once it was said.
    """

    def __init__(self, epoch: bytes) -> None:
        self.next_batch = 0
        self.next_event = 0
        self.closed_event = 0
        self.lumisections: deque[EndLumisection] = deque(maxlen=KEPT_LUMISECTIONS)
        self.end: EndRun | None = None
        self._epoch = epoch
        self._digest = NO_DIGEST

    def batch(
        self,
        batch: Batch,
        counts: Counts,
        truth: Truth | None,
        sent_ns: int,
        monotonic_ns: int,
    ) -> Frames:
        """Returns the frames of the next batch."""
        self.require_next(batch.first_event, batch.end_event, counts, n_sent=len(batch))
        header = Data(
            epoch=self._epoch,
            batch=self.next_batch,
            first_event=batch.first_event,
            end_event=batch.end_event,
            closed_event=self.closed_event,
            counts=counts,
            run=batch.run,
            lumisection=batch.lumisection,
            sent_ns=sent_ns,
            sent_monotonic_ns=monotonic_ns,
        )
        header, frames = encode_batch(header, batch, truth)
        self._digest = extend_digest(self._digest, header)
        self.next_batch += 1
        self.next_event = batch.end_event
        return frames

    def gap(self, first_event: int, end_event: int, counts: Counts, lumisection: int) -> Gap:
        """Returns the message that nothing is sent of the next range of event indices."""
        self.require_next(first_event, end_event, counts, n_sent=0)
        self.next_event = end_event
        return Gap(
            epoch=self._epoch,
            next_batch=self.next_batch,
            first_event=first_event,
            end_event=end_event,
            closed_event=self.closed_event,
            lumisection=lumisection,
            counts=counts,
        )

    def end_lumisection(
        self, lumisection: int, counts: Counts, *, live_ns: int, dead_ns: int
    ) -> EndLumisection:
        """Returns the message that closes a lumisection at the present position."""
        message = EndLumisection(
            epoch=self._epoch,
            next_batch=self.next_batch,
            lumisection=lumisection,
            first_event=self.closed_event,
            end_event=self.next_event,
            counts=counts,
            live_ns=live_ns,
            dead_ns=dead_ns,
        )
        self.lumisections.append(message)
        self.closed_event = self.next_event
        return message

    def end_run(
        self,
        condition: Condition,
        counts: Counts,
        *,
        live_ns: int,
        dead_ns: int,
        text: str,
        bad: Mapping[str, int],
    ) -> EndRun:
        """Returns the message that ends the run at the present position."""
        self.end = EndRun(
            epoch=self._epoch,
            n_batches=self.next_batch,
            end_event=self.next_event,
            counts=counts,
            live_ns=live_ns,
            dead_ns=dead_ns,
            digest=self._digest,
            condition=condition,
            text=text[:512],
            bad=dict(bad),
        )
        return self.end

    def ping(self) -> Ping:
        """Returns the message that says where the stream stands."""
        return Ping(
            epoch=self._epoch,
            next_batch=self.next_batch,
            next_event=self.next_event,
            closed_event=self.closed_event,
            ended=self.end is not None,
        )

    def stands_at(self, stand: Stand) -> bool:
        """Returns whether a consumer has everything that was said."""
        here = (self.next_batch, self.next_event, self.closed_event)
        return here == (stand.next_batch, stand.next_event, stand.closed_event)

    def go_to(self, position: Position) -> None:
        """Takes back everything behind a position."""
        self.next_batch = position.next_batch
        self.next_event = position.next_event
        self.closed_event = position.closed_event
        self._digest = bytes.fromhex(position.digest)
        self.end = None

    def require_next(
        self, first_event: int, end_event: int, counts: Counts, *, n_sent: int
    ) -> None:
        """Raises ProtocolError unless a range is the next one and its counts add up."""
        if first_event != self.next_event:
            raise ProtocolError(f"expected event {self.next_event} next; got {first_event}")
        if not counts.cover(first_event, end_event) or counts.sent != n_sent:
            raise ProtocolError(
                f"expected counts of events [{first_event}, {end_event}), {n_sent} of them sent; "
                f"got {counts}"
            )
