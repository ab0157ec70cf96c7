"""The drift alarm: ADWIN on the NLL of new events under the frozen previous model."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from river.drift import ADWIN

from onlineflows.errors import CheckpointError
from onlineflows.online.history import WIDEST_COUNT, WIDEST_NATS, rounded
from onlineflows.settings import DriftConfig

CLOCK = 8
"""Values between two looks at the window; river's 32 would be 32,768 events."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """New events have become less likely under the frozen model.

    Args:
        n_seen: events seen when the alarm was raised.
        lumisection: lumisection of the newest event.
        nll_before: mean NLL before the change, nats per event.
        nll_after: mean NLL of the newest events; the mean of `CLOCK` values.
    """

    n_seen: int
    lumisection: int
    nll_before: float
    nll_after: float


class DriftMonitor:
    """Watches mean NLLs of new events and raises an alarm when they rise.

    ADWIN (Bifet and Gavaldà 2007) keeps an adaptive window and reports a change of its mean. A
    falling mean is the model getting better and raises nothing. Numbers that aren't finite never
    reach it: one of them would disable it for good.

    ADWIN's bound holds for values in [0, 1]; it is nearly blind to a drift that is small against
    1. Values are therefore given to it in units of their scatter.

    Args:
        config: confidence and warm-up.
        scatter_nats: expected standard deviation of the means; see `scatter_of_means`.
        length: alarms and recent values that are remembered.
    """

    def __init__(self, config: DriftConfig, *, scatter_nats: float = 1.0, length: int = 64) -> None:
        self._config = config
        self._scatter_nats = scatter_nats
        self._adwin = ADWIN(delta=config.delta, clock=CLOCK)
        self._recent: deque[float] = deque(maxlen=length)
        self._alarms: deque[Alarm] = deque(maxlen=length)
        self.n_alarms = 0
        self.n_ignored = 0
        """Values that weren't finite."""

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The newest alarms, oldest first."""
        return tuple(self._alarms)

    def update(self, nll: float, *, n_seen: int, lumisection: int) -> Alarm | None:
        """Takes in the mean NLL of some new events; returns an alarm if it is raised now."""
        if not math.isfinite(nll):
            self.n_ignored += 1
            return None
        if n_seen < self._config.warmup_events:
            return None
        self._recent.append(nll)
        before = self._before_a_rise(nll)
        if before is None:
            return None
        newest = list(self._recent)[-CLOCK:]
        alarm = Alarm(n_seen, lumisection, before, sum(newest) / len(newest))
        self._alarms.append(alarm)
        self.n_alarms += 1
        return alarm

    def _before_a_rise(self, nll: float) -> float | None:
        """Gives a value to ADWIN; returns the mean before a rise, if it sees one now."""
        adwin = self._adwin
        total, width = adwin.total + nll / self._scatter_nats, adwin.width + 1
        adwin.update(nll / self._scatter_nats)
        n_dropped = width - adwin.width
        if not adwin.drift_detected or n_dropped < 1:
            return None
        before = (total - adwin.total) / n_dropped
        return float(before * self._scatter_nats) if adwin.estimation > before else None

    def to_dict(self) -> dict[str, Any]:
        """Returns counters, alarms and the newest values as plain JSON types."""
        return {
            "n_alarms": self.n_alarms,
            "n_ignored": self.n_ignored,
            "alarms": [[a.n_seen, a.lumisection, a.nll_before, a.nll_after] for a in self._alarms],
            "recent": list(self._recent),
        }

    def summary(self) -> dict[str, Any]:
        """Returns counters and alarms for a manifest, with NLLs to six digits."""
        alarms = [
            [a.n_seen, a.lumisection, rounded(a.nll_before), rounded(a.nll_after)]
            for a in self._alarms
        ]
        return {"n_alarms": self.n_alarms, "n_ignored": self.n_ignored, "alarms": alarms}

    def fullest(self) -> dict[str, Any]:
        """Returns a summary as long as any can become."""
        alarm = [WIDEST_COUNT, WIDEST_COUNT, WIDEST_NATS, WIDEST_NATS]
        alarms = [alarm] * (self._alarms.maxlen or 0)
        return {"n_alarms": WIDEST_COUNT, "n_ignored": WIDEST_COUNT, "alarms": alarms}

    def load(self, document: dict[str, Any]) -> None:
        """Takes up what `to_dict` returned; ADWIN starts anew from the newest values.

        Raises:
            CheckpointError: the document isn't the state of a drift monitor.
        """
        try:
            self.n_alarms = int(document["n_alarms"])
            self.n_ignored = int(document["n_ignored"])
            self._alarms.extend(_alarm(row) for row in document["alarms"])
            recent = [float(value) for value in document["recent"]]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"expected a drift monitor's state; got {error!r}") from error
        for value in recent:
            self._recent.append(value)
            self._before_a_rise(value)


def scatter_of_means(n_features: int, n_events: int) -> float:
    """Returns the standard deviation in nats of the mean NLL of n events.

    That of one event of a d-dimensional normal is sqrt(d / 2); it is not far from that wherever a
    flow maps data to a normal.
    """
    return math.sqrt(n_features / (2 * max(n_events, 1)))


def _alarm(row: Sequence[float]) -> Alarm:
    n_seen, lumisection, before, after = row
    return Alarm(int(n_seen), int(lumisection), float(before), float(after))
