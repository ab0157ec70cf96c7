"""What is reported: one row a case, with the same keys for every benchmark."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from onlineflows.bench.cases import Case, flops_per_event
from onlineflows.bench.ceiling import Ceiling
from onlineflows.bench.timing import Rate, Verb

NOT_INSTALLED = "not installed"


@dataclass(frozen=True, slots=True)
class PeerRate:
    """How fast another library is, at its best number of threads.

    Args:
        version: of the library.
        threads: at which it was fastest.
        events_per_s: its rate there.
        spread: interquartile range of it.
        events_per_cpu_s: its rate by CPU time there.
        best_events_per_s: its fastest round there.
    """

    version: str
    threads: int
    events_per_s: float
    spread: float = 0.0
    events_per_cpu_s: float = 0.0
    best_events_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What of ours was measured.

    Args:
        case: the architecture.
        verb: what was done with events.
        batch: events of a call.
        threads: CPU threads that it might use.
        implementation: "engine" or "torch".
        dtype: of its products.
        isa: the engine's instruction set; "" without it.
    """

    case: Case
    verb: Verb
    batch: int
    threads: int
    implementation: str
    dtype: str
    isa: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Args:
        bench: the benchmark.
        what: which of its parts.
        flow: name of the architecture.
        features, context: variables of an event.
        batch: events of a call.
        threads: CPU threads.
        implementation: "engine" or "torch".
        dtype: of the products.
        isa: the engine's instruction set.
        events_per_s: median over the rounds.
        spread: interquartile range of it.
        peer: the fastest of the other libraries, or "not installed".
        peer_version: its version.
        peer_events_per_s: its rate at its best number of threads.
        ratio: ours over the peer's.
        floor_fraction: achieved operations over the ceiling of as many threads.
        detail: what only this benchmark has; beside the other keys in the document.
    """

    bench: str
    what: str
    flow: str
    features: int
    context: int
    batch: int
    threads: int
    implementation: str
    dtype: str
    isa: str
    events_per_s: float
    spread: float
    peer: str = ""
    peer_version: str = ""
    peer_events_per_s: float | None = None
    ratio: float | None = None
    floor_fraction: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Returns the row as plain JSON types, numbers to four digits."""
        document = asdict(self)
        detail = document.pop("detail")
        rounded: dict[str, Any] = _rounded(document | detail)
        return rounded


def make_row(
    bench: str,
    subject: Subject,
    rate: Rate,
    *,
    ceilings: Mapping[str, Ceiling],
    peers: Mapping[str, PeerRate | None] | None = None,
    what: str = "",
    detail: Mapping[str, Any] | None = None,
) -> Row:
    """Returns the row of a measured rate.

    Args:
        bench: the benchmark.
        subject: what was measured.
        rate: how fast it was.
        ceilings: by precision; empty where they weren't measured.
        peers: by name, None for those that aren't installed; None where there is nothing to
            compare with.
        what: which part of the benchmark.
        detail: more to say.
    """
    case = subject.case
    return Row(
        bench=bench,
        what=what,
        flow=case.flow,
        features=case.n_features,
        context=case.n_context,
        batch=subject.batch,
        threads=subject.threads,
        implementation=subject.implementation,
        dtype=subject.dtype,
        isa=subject.isa,
        events_per_s=rate.events_per_s,
        spread=rate.spread,
        floor_fraction=floor_fraction(subject, rate, ceilings),
        detail={
            "events_per_cpu_s": rate.events_per_cpu_s,
            "best_events_per_s": rate.best,
            **(detail or {}),
        },
        **_against(rate, peers),
    )


def floor_fraction(subject: Subject, rate: Rate, ceilings: Mapping[str, Ceiling]) -> float | None:
    """Returns the share of the ceiling that was reached; None without a ceiling."""
    ceiling = ceilings.get(subject.dtype)
    if ceiling is None:
        return None
    flops = flops_per_event(subject.case.spec(), subject.verb)
    return rate.events_per_s * flops / (ceiling.gflops * 1e9 * subject.threads)


def _against(rate: Rate, peers: Mapping[str, PeerRate | None] | None) -> dict[str, Any]:
    """The fields of the comparison with the fastest peer."""
    if not peers:
        return {}
    found = {name: peer for name, peer in peers.items() if peer is not None}
    if not found:
        return {"peer": NOT_INSTALLED, "peer_version": NOT_INSTALLED}
    name = max(found, key=lambda name: found[name].events_per_s)
    best = found[name]
    return {
        "peer": name,
        "peer_version": best.version,
        "peer_events_per_s": best.events_per_s,
        "ratio": rate.events_per_s / best.events_per_s,
    }


def peers_document(peers: Mapping[str, PeerRate | None]) -> dict[str, Any]:
    """Returns all peers as plain JSON types."""
    return {n: NOT_INSTALLED if p is None else asdict(p) for n, p in peers.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    return value
