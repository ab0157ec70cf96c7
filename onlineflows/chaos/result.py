"""What a fault left behind, added up over its rounds, and whether that is as it must be."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onlineflows.chaos.stage import Stage
from streams.ledger import WITHHELD

COUNTED = ("sent", "trained", "lost", "unaccounted", "uses")
KEPT_PROBLEMS = 10


@dataclass(frozen=True, slots=True)
class Reference:
    """What an undisturbed run of the same stream left.

    Args:
        theta: see `Stage.theta`.
        n_uses: how often events were used for training, all uses of all events together.
        n_trained: events trained on.
    """

    theta: str
    n_uses: int
    n_trained: int


@dataclass(slots=True)
class Result:
    """Sums over all rounds of a fault. Changes: `add` adds a stream.

    Args:
        fault: its name.
        rounds: how often it struck.
        streams: runs of producer and consumer that it struck in.
        generated, sent, trained, skipped, lost, withheld: events, by the consumer's ledger.
        unaccounted: events for which nobody can say what became of them.
        trained_twice: events that were learned from more often than they should be.
        theta_equal: whether θ has the bits of the undisturbed run; None where nothing is promised.
        recoveries_s: from each strike to the first checkpoint that went beyond.
        problems: in words, whatever was not as it must be.
    """

    fault: str
    rounds: int = 0
    streams: int = 0
    generated: int = 0
    sent: int = 0
    trained: int = 0
    skipped: int = 0
    lost: int = 0
    withheld: int = 0
    unaccounted: int = 0
    trained_twice: int = 0
    theta_equal: bool | None = None
    recoveries_s: list[float] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        kept = self.unaccounted == self.trained_twice == 0 and not self.problems
        return kept and self.theta_equal is not False

    def add(self, stage: Stage, rounds: int, reference: Reference | None) -> None:
        """Adds what one stream left.

        Args:
            stage: after its end.
            rounds: how often the fault struck.
            reference: what θ is compared with; None where nothing is promised of it.
        """
        ledgers = stage.ledgers
        count = {n: sum(int(ledger.get(n, 0)) for ledger in ledgers) for n in COUNTED}
        skipped = sum(sum(ledger.get("skipped", {}).values()) for ledger in ledgers)
        # Every consumer accounts for the whole stream: what the others have is ``elsewhere``.
        withheld = sum(ledgers[0].get(name, 0) for name in WITHHELD)
        self.rounds += rounds
        self.streams += 1
        self.generated += ledgers[0].get("generated", 0)
        self.sent += count["sent"]
        self.trained += count["trained"]
        self.skipped += skipped
        self.lost += count["lost"]
        self.withheld += withheld
        missing = stage.n_generated - count["trained"] - skipped - count["lost"] - withheld
        self.unaccounted += max(abs(missing), count["unaccounted"])
        self.trained_twice += max(0, count["trained"] - count["sent"])
        for ledger in ledgers:
            self.problems += ledger.get("problems", ["there is no ledger"])
        self.problems += stage.problems
        self.recoveries_s += stage.recoveries_s
        self.notes = merged(self.notes, stage.notes)
        if reference is not None:
            per_event = reference.n_uses / max(1, reference.n_trained)
            excess = count["uses"] - per_event * count["trained"]
            self.trained_twice += max(0, round(excess / per_event))
            is_equal = stage.theta == reference.theta
            self.theta_equal = is_equal and self.theta_equal is not False
        del self.problems[KEPT_PROBLEMS:]

    def document(self) -> dict[str, Any]:
        """Returns the sums as plain JSON types."""
        times = self.recoveries_s
        return {
            "fault": self.fault,
            "rounds": self.rounds,
            "streams": self.streams,
            "generated": self.generated,
            "sent": self.sent,
            "withheld": self.withheld,
            "trained": self.trained,
            "skipped": self.skipped,
            "lost": self.lost,
            "unaccounted": self.unaccounted,
            "trained_twice": self.trained_twice,
            "theta_equal": self.theta_equal,
            "recover_median_s": round(statistics.median(times), 3) if times else None,
            "recover_max_s": round(max(times), 3) if times else None,
            "recoveries": len(times),
            "ok": self.is_good,
            "problems": self.problems,
            "notes": self.notes,
        }


def merged(known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the notes of several streams together: counts and lists added up, else the largest.

    Example:
        >>> merged({"dropped": 3, "grew_mb": 1.5}, {"dropped": 4, "grew_mb": 0.5, "how": ["torn"]})
        {'dropped': 7, 'grew_mb': 1.5, 'how': ['torn']}
    """
    notes = dict(known)
    for name, value in new.items():
        if name not in notes:
            notes[name] = value
        elif isinstance(value, Mapping):
            notes[name] = merged(notes[name], value)
        elif isinstance(value, float):
            notes[name] = max(notes[name], value)
        else:
            notes[name] = notes[name] + value
    return notes
