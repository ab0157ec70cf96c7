"""A consumer's account of the stream: where it stands, and what became of everything before."""

from streams.codec import extend_digest
from streams.messages import Counts, Data, EndLumisection, Gap
from streams.protocol import NO_EPOCH, Position

BROKEN_DIGEST = b"\xff" * 8
"""Stands for the digest of a stream of which something was lost; it stays."""


class Account:
    """Moves on with every message that is accepted; which ones are, is decided elsewhere.

    Args:
        resume: where a checkpoint stands; None to begin at the beginning.

    Attributes:
        epoch: the run's epoch; None before one is known.
        next_batch: number of the batch that is expected.
        next_event: index of the event that is expected.
        closed_event: event index up to which lumisections are closed.
        digest: running digest of the batches received.
    """

    def __init__(self, resume: Position | None) -> None:
        start = resume or Position(NO_EPOCH.hex(), next_batch=0, next_event=0)
        epoch = bytes.fromhex(start.epoch)
        self.epoch = None if epoch == NO_EPOCH else epoch
        self.next_batch = start.next_batch
        self.next_event = start.next_event
        self.closed_event = start.closed_event
        self.digest = bytes.fromhex(start.digest)
        self._run = start.run
        self._open = start.open

    @property
    def position(self) -> Position:
        """The account as a value, for the checkpoint and for the producer."""
        return Position(
            (self.epoch or NO_EPOCH).hex(),
            self.next_batch,
            self.next_event,
            self.closed_event,
            self._run,
            self._open,
            self.digest.hex(),
        )

    @property
    def here(self) -> tuple[int, int, int]:
        """Next batch, next event and closed event."""
        return self.next_batch, self.next_event, self.closed_event

    @property
    def is_whole(self) -> bool:
        """Whether nothing was lost, so that the digest can be compared."""
        return self.digest != BROKEN_DIGEST

    def take_batch(self, data: Data) -> None:
        """Records the batch that was expected."""
        self._pass(data.end_event, data.counts)
        self.next_batch += 1
        if self.is_whole:
            self.digest = extend_digest(self.digest, data)

    def take_gap(self, gap: Gap) -> None:
        """Records the gap that was expected."""
        self._pass(gap.end_event, gap.counts)

    def lose(self, next_batch: int, next_event: int) -> None:
        """Gives up everything before a position; counts as sent until EOLS says what it was."""
        n = next_event - self.next_event
        self._pass(next_event, Counts(generated=n, sent=n))
        self.next_batch = max(self.next_batch, next_batch)
        self.digest = BROKEN_DIGEST

    def _pass(self, end_event: int, counts: Counts) -> None:
        self.next_event = end_event
        self._run += counts
        self._open += counts

    def close(self, end: EndLumisection) -> None:
        """Closes a lumisection: the producer's counts take the place of one's own.

        After an absence, lumisections before it may be gone, and events behind it be here
        already; both count as sent.
        """
        absent = max(0, end.first_event - self.closed_event)
        rest = self.next_event - end.end_event
        closed = self._run - self._open + end.counts + Counts(generated=absent, sent=absent)
        self._open = Counts(generated=rest, sent=rest)
        self._run = closed + self._open
        self.closed_event = end.end_event
