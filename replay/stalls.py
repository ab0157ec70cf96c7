"""Notices a learner that takes nothing and finishes nothing, though there is something to do."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Stall:
    """A time without progress.

    Args:
        began_s: when it began, on the clock of whoever asked.
        lasted_s: how long it has lasted so far, or in all.
        is_over: whether there is progress again.
    """

    began_s: float
    lasted_s: float
    is_over: bool

    def text(self, *, n_sent: int, n_trained: int, is_alive: bool, now: datetime) -> str:
        """Returns what to log.

        Args:
            n_sent: events sent so far.
            n_trained: events that the learner says it has trained on.
            is_alive: whether its heartbeats come.
            now: the time of day.
        """
        since = (now - timedelta(seconds=self.lasted_s)).isoformat(timespec="seconds")
        what = "goes on" if self.is_over else "takes no more"
        life = "its heartbeats come" if is_alive else "it gives no sign of life or left"
        return (
            f"the learner made no progress for {self.lasted_s:.1f} s, since {since}; it {what}. "
            f"{n_sent} events sent, {n_trained} trained; {life}"
        )


class StallWatch:
    """Compares a mark of progress from time to time.

    Args:
        limit_s: time without progress that is reported; 0 for never.

    Attributes:
        n_stalls: how many there were.
        stalled_s: how long they lasted in all, the present one included.
    """

    def __init__(self, limit_s: float) -> None:
        self.n_stalls = 0
        self._limit_s = limit_s
        self._mark: object = None
        self._since_s: float | None = None
        self._is_stalled = False
        self._before_s = 0.0
        self._now_s = 0.0

    @property
    def is_stalled(self) -> bool:
        """Whether there is no progress now."""
        return self._is_stalled

    @property
    def stalled_s(self) -> float:
        """How long there was no progress, in all."""
        if not self._is_stalled or self._since_s is None:
            return self._before_s
        return self._before_s + self._now_s - self._since_s

    def update(self, now: float, mark: object, *, is_owed: bool) -> Stall | None:
        """Takes a look; returns a stall when it is noticed, and when it is over.

        Args:
            now: the time.
            mark: changes with any progress.
            is_owed: whether there is something that the learner could make progress with.
        """
        self._now_s = now
        if is_owed and mark == self._mark and self._since_s is not None:
            lasted_s = now - self._since_s
            if self._is_stalled or not self._limit_s or lasted_s < self._limit_s:
                return None
            self._is_stalled = True
            self.n_stalls += 1
            return Stall(self._since_s, lasted_s, is_over=False)
        over = None
        if self._is_stalled and self._since_s is not None:
            self._before_s += now - self._since_s
            over = Stall(self._since_s, now - self._since_s, is_over=True)
        self._is_stalled, self._mark, self._since_s = False, mark, now
        return over
