"""What is known of a run: what its daemons have said, when, and what lies in its directory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from onlineflows.live.folder import N_SNAPSHOTS, Record
from onlineflows.live.pace import Pace, Sample
from onlineflows.live.spectrum import Spectrum
from streams.telemetry import ConsumerTelemetry, ProducerTelemetry, Telemetry

T = TypeVar("T", ProducerTelemetry, ConsumerTelemetry)

SILENT_S = 5.0
"""A daemon that says nothing for so long is called silent; it speaks about once a second."""

FAILED = ("ABORTED",)
"""Conditions of a run that has failed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a daemon is.

    Args:
        state: its own word, or "silent".
        text: the same for people, with the age of its last word where that matters.
        age_s: time since its last word; None where it was never heard.
        is_well: whether it speaks, or has ended as it should.
    """

    state: str
    text: str
    age_s: float | None
    is_well: bool


class Daemon(Generic[T]):
    """What one daemon has said.

    Args:
        first: its first document.
        now: when it was heard, seconds that never go back.

    Attributes:
        newest: the newest document.
        heard_s: when it was heard.
        pace: rates.
    """

    def __init__(self, first: T, now: float) -> None:
        self.newest: T = first
        self.heard_s = now
        self.pace = Pace()
        self.pace.add(Sample(first.unix_s, counters_of(first)))

    def hear(self, document: T, now: float) -> None:
        """Takes in the next document."""
        self.newest, self.heard_s = document, now
        self.pace.add(Sample(document.unix_s, counters_of(document)))

    def rate(self, counter: str, now: float) -> float | None:
        """Returns how fast a counter rises; None where that isn't known, or nothing goes on."""
        if self.newest.state == "ended" or now - self.heard_s > SILENT_S:
            return None
        return self.pace.now(counter)

    def standing(self, now: float) -> Standing:
        """Returns how it is."""
        said, age_s = self.newest, now - self.heard_s
        if said.condition and said.state == "ended":
            is_well = said.condition not in FAILED
            return Standing("ended", f"ended: {said.condition}", age_s, is_well)
        if age_s > SILENT_S:
            return Standing(
                "silent", f"last heard of {spell(age_s)} ago ({said.state} then)", age_s, False
            )
        return Standing(said.state, said.state, age_s, said.state != "stalled")


class RunState:
    """What is known of a run. Only its owner changes it, by `hear` and `look`.

    Args:
        name: of the run directory.

    Attributes:
        producer: the producer; None while it wasn't heard.
        learners: the learners that were heard, by name: "train", or "train lane-0" and so on.
        spectra: of each learner, the resonant feature summed over the windows that were heard.
        lumisections: of snapshots that were heard of, by learner and snapshot; of each learner the
            newest `N_SNAPSHOTS`.
        record: what lies in the run directory.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.producer: Daemon[ProducerTelemetry] | None = None
        self.learners: dict[str, Daemon[ConsumerTelemetry]] = {}
        self.spectra: dict[str, Spectrum] = {}
        self.lumisections: dict[tuple[str, str], int] = {}
        self.record = Record()

    def hear(self, name: str, document: Telemetry, now: float) -> None:
        """Takes in what a daemon says.

        Args:
            name: of the daemon.
            document: what it says.
            now: seconds that never go back.
        """
        if isinstance(document, ProducerTelemetry):
            if self.producer is None:
                self.producer = Daemon(document, now)
            else:
                self.producer.hear(document, now)
            return
        if name in self.learners:
            self.learners[name].hear(document, now)
        else:
            self.learners[name] = Daemon(document, now)
            self.learners = dict(
                sorted(self.learners.items(), key=lambda item: item[1].newest.lane)
            )
        self._date(name, document)
        if document.marginals:
            spectrum = self.spectra.setdefault(name, Spectrum())
            spectrum.add(document.marginals[0], document.n_windowed)

    def _date(self, name: str, document: ConsumerTelemetry) -> None:
        """Keeps the lumisection of a learner's newest snapshot."""
        if document.snapshot:
            self.lumisections.setdefault((name, document.snapshot), document.lumisection)
            for key in [k for k in self.lumisections if k[0] == name][:-N_SNAPSHOTS]:
                del self.lumisections[key]
        else:  # it has begun anew, and its snapshots will have the names of earlier ones
            self.lumisections = {k: v for k, v in self.lumisections.items() if k[0] != name}

    def look(self, record: Record) -> None:
        """Takes in what lies in the run directory."""
        self.record = record

    @property
    def heard_learners(self) -> dict[str, ConsumerTelemetry]:
        """The newest words of the learners; of those that were never heard, what their directory
        tells.
        """
        told = {name: lane.told for name, lane in self.record.lanes.items() if lane.told}
        return told | {name: daemon.newest for name, daemon in self.learners.items()}

    def standings(self, now: float) -> dict[str, Standing]:
        """Returns how each daemon is, producer first; also those of a run that ended before."""
        found: dict[str, Standing] = {}
        if self.producer is not None:
            found["replay"] = self.producer.standing(now)
        for name, lane in self.record.lanes.items():
            if lane.condition and name not in self.learners:
                is_well = lane.condition not in FAILED
                text = f"ended before this page began: {lane.condition}"
                found[name] = Standing("ended", text, None, is_well)
        return found | {name: daemon.standing(now) for name, daemon in self.learners.items()}

    def total(self, counter: str, now: float) -> float | None:
        """Returns how fast a counter of all learners together rises; None if unknown."""
        rates = [daemon.rate(counter, now) for daemon in self.learners.values()]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known else None


def counters_of(document: Telemetry) -> Mapping[str, float]:
    """Returns what rises with time in a document."""
    if isinstance(document, ProducerTelemetry):
        return {
            "passed": document.next_event,
            "sent": document.counts.sent,
            "live_s": document.live_s,
            "dead_s": document.dead_s,
        }
    return {
        "seen": document.n_seen,
        "trained": document.n_trained,
        "train_s": document.train_s,
    }


def spell(seconds: float) -> str:
    """Returns a time in words, to two digits or so.

    Example:
        >>> [spell(s) for s in (7.2, 75, 7300, 200_000)]
        ['7 s', '75 s', '2 h 1 min', '2 d 7 h']
    """
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
