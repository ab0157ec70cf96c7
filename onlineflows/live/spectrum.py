"""The spectrum of the resonant feature, summed over windows of new events that don't overlap."""

from streams.telemetry import Marginal


class Spectrum:
    """A histogram that grows. A telemetry document holds the newest events alone; those that come
    so much later that none of their events was in the last one are added up.

    Attributes:
        newest: the last histogram that was added; None before.
        counts: events in each bin.
        n: events in all, those outside the histogram included.
    """

    def __init__(self) -> None:
        self.newest: Marginal | None = None
        self.counts: list[int] = []
        self.n = 0
        self._n_windowed = 0

    def add(self, marginal: Marginal, n_windowed: int) -> None:
        """Adds a window of events, unless some of it was added before.

        Args:
            marginal: the window's histogram; one with other bins begins a new sum.
            n_windowed: events that have been in the window so far; fewer than before mean that
                the learner went back: the sum begins anew.
        """
        same = self.newest is not None and (marginal.low, marginal.high, len(marginal.counts)) == (
            self.newest.low,
            self.newest.high,
            len(self.newest.counts),
        )
        if not same or n_windowed < self._n_windowed:
            self.counts, self.n = [0] * len(marginal.counts), 0
        elif n_windowed - self._n_windowed < marginal.n:
            return
        self.newest, self._n_windowed = marginal, n_windowed
        self.counts = [a + b for a, b in zip(self.counts, marginal.counts, strict=True)]
        self.n += marginal.n
