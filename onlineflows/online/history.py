"""Histories of fixed length: what a run remembers of itself, however long it lasts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from onlineflows.errors import CheckpointError

NEWEST_EVENTS = 2_048
"""The newest NLL is a mean over so many events at least: a point alone may hold one batch's."""
WIDEST_COUNT = 10**15
"""No stream has more events: 1 MHz for thirty years."""
WIDEST_NATS = -1.23457e-300
"""No number of six digits is written with more letters."""


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """Mean NLL of new events over a stretch of the stream.

    Args:
        n_seen: events seen at the end of the stretch.
        nll: mean negative log-likelihood in nats per event, in physical units.
        n: events whose NLL was evaluated.
    """

    n_seen: int
    nll: float
    n: int


class NllHistory:
    """NLL of new events against the number seen, in at most `length` points.

    When the history is full, neighbouring points are merged and the stretch that each new point
    covers doubles, so that it always spans the whole run.

    Args:
        length: largest number of points; even.
        stretch_events: events that a point covers at first.

    Example:
        >>> history = NllHistory(length=4, stretch_events=10)
        >>> for n in range(10, 60, 10):
        ...     history.add(n, nll=1.0 * n, n=2)
        >>> [(p.n_seen, p.nll) for p in history.points()]
        [(20, 15.0), (40, 35.0), (50, 50.0)]
    """

    def __init__(self, *, length: int = 128, stretch_events: int = 1000) -> None:
        self._length = length
        self._stretch_events = stretch_events
        self._points: list[HistoryPoint] = []

    def add(self, n_seen: int, *, nll: float, n: int) -> None:
        """Takes in the mean NLL of n new events; numbers that aren't finite are ignored."""
        if n == 0 or not math.isfinite(nll):
            return
        point = HistoryPoint(n_seen, nll, n)
        start = self._points[-2].n_seen if len(self._points) > 1 else 0
        if self._points and n_seen - start <= self._stretch_events:
            self._points[-1] = _merged(self._points[-1], point)
            return
        if len(self._points) == self._length:
            pairs = zip(self._points[::2], self._points[1::2], strict=True)
            self._points = [_merged(a, b) for a, b in pairs]
            self._stretch_events *= 2
        self._points.append(point)

    def points(self) -> tuple[HistoryPoint, ...]:
        """Returns the points in the order of the stream."""
        return tuple(self._points)

    def newest(self) -> HistoryPoint | None:
        """Returns the mean NLL of the newest events; see `newest`."""
        return newest(self._points)

    def to_dict(self) -> dict[str, Any]:
        """Returns the history as plain JSON types."""
        return {
            "stretch_events": self._stretch_events,
            "points": [[p.n_seen, p.nll, p.n] for p in self._points],
        }

    def summary(self) -> dict[str, Any]:
        """Returns the history for a manifest: as `to_dict`, with NLLs to six digits."""
        document = self.to_dict()
        document["points"] = [[n_seen, rounded(nll), n] for n_seen, nll, n in document["points"]]
        return document

    def fullest(self) -> dict[str, Any]:
        """Returns a summary as long as any can become."""
        point = [WIDEST_COUNT, WIDEST_NATS, WIDEST_COUNT]
        return {"stretch_events": WIDEST_COUNT, "points": [point] * self._length}

    @classmethod
    def from_dict(cls, document: dict[str, Any], *, length: int = 128) -> Self:
        """Returns the history that `to_dict` described.

        Raises:
            CheckpointError: the document isn't a history.
        """
        try:
            history = cls(length=length, stretch_events=int(document["stretch_events"]))
            history._points = points_of(document)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"expected a history with stretch_events and points; got {error!r}"
            ) from error
        return history


def newest(points: Sequence[HistoryPoint], *, n_events: int = NEWEST_EVENTS) -> HistoryPoint | None:
    """Returns the newest points as one: the mean NLL of their events, and how many these are.

    Args:
        points: in the order of the stream.
        n_events: how many it holds at least, or all there are.

    Returns:
        None where there are no points.

    Example:
        >>> points = [HistoryPoint(100, 9.0, 50), HistoryPoint(200, 2.0, 30)]
        >>> newest([*points, HistoryPoint(220, 6.0, 10)], n_events=40)
        HistoryPoint(n_seen=220, nll=3.0, n=40)
    """
    if not points:
        return None
    found = points[-1]
    for point in reversed(points[:-1]):
        if found.n >= n_events:
            break
        found = _merged(point, found)
    return found


def told(points: Sequence[HistoryPoint]) -> list[HistoryPoint]:
    """Returns points for those who can't see how many events each holds: the last one is `newest`.

    Args:
        points: in the order of the stream.
    """
    last = newest(points)
    return [] if last is None else [*points[:-1], last]


def points_of(document: Mapping[str, Any]) -> list[HistoryPoint]:
    """Returns the points of a history that `NllHistory.to_dict` or `summary` described.

    Args:
        document: what it returned.

    Raises:
        KeyError, TypeError, ValueError: it has another form.
    """
    points = [
        HistoryPoint(int(n_seen), float(nll), int(n)) for n_seen, nll, n in document["points"]
    ]
    if empty := [point for point in points if point.n < 1]:
        raise ValueError(f"expected points of one event at least; got {empty[0]}")
    return points


def rounded(nats: float) -> float:
    """Returns a number to six significant digits, so that its written length is bounded."""
    return float(f"{nats:.6g}")


def _merged(a: HistoryPoint, b: HistoryPoint) -> HistoryPoint:
    n = a.n + b.n
    return HistoryPoint(b.n_seen, (a.nll * a.n + b.nll * b.n) / n, n)
