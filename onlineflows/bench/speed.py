"""`train`, `logprob` and `sample`: events per second beside other libraries, case by case."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onlineflows.bench.cases import CASES, MAIN_CASE, Case
from onlineflows.bench.ceiling import Ceiling
from onlineflows.bench.local import Way, our_contender
from onlineflows.bench.peers import PEERS, TORCH_PEERS, peer_contenders, peer_version
from onlineflows.bench.remote import RemoteContender, task_of
from onlineflows.bench.rows import PeerRate, Row, Subject, make_row, peers_document
from onlineflows.bench.timing import QUICK, Contender, Effort, Rate, Verb, interleave
from onlineflows.engine import available, info

BATCHES = {"train": (256, 1024, 4096, 16384), "logprob": (1024, 16384), "sample": (1024, 16384)}
DEFAULT_BATCH = 512
ISA_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Setting:
    """How to measure, and against what.

    Args:
        ceilings: by precision.
        effort: rounds and their length.
        peers: names of the libraries to compare with.
        is_quick: tiny batches, two architectures, one thread, no other processes.
    """

    ceilings: Mapping[str, Ceiling]
    effort: Effort = field(default_factory=Effort)
    peers: Sequence[str] = PEERS
    is_quick: bool = False

    @property
    def threads(self) -> tuple[int, ...]:
        """Numbers of threads to measure: one and, where there are two CPUs, two."""
        return (1, 2) if info().threads > 1 and not self.is_quick else (1,)


def quick_setting(ceilings: Mapping[str, Ceiling]) -> Setting:
    """Returns the setting that shows that everything runs."""
    return Setting(ceilings, QUICK, TORCH_PEERS, is_quick=True)


def measure(verb: Verb, setting: Setting) -> Iterator[Row]:
    """Yields the rows of a benchmark as they are measured."""
    for case, batch in plan(verb, setting):
        yield from compare(case, verb, batch, setting)
    if verb == "train" and available() and not setting.is_quick:
        yield from instruction_sets(CASES[MAIN_CASE], setting)


def plan(verb: Verb, setting: Setting) -> list[tuple[Case, int]]:
    """Returns the cases and batch sizes of a benchmark."""
    if setting.is_quick:
        return [(CASES[name], 32) for name in (MAIN_CASE, "default")]
    default = CASES["default"]
    others = [case for case in CASES.values() if case is not default]
    batches = BATCHES[verb]
    return [(case, n) for case in others for n in batches] + [(default, DEFAULT_BATCH)]


def ways(verb: Verb) -> list[Way]:
    """Returns the implementations of ours that there are here."""
    engine = [Way("engine")] if available() else []
    if engine and verb == "train" and info().bfloat16:
        engine.append(Way("engine", "bfloat16"))
    return [*engine, Way("torch")]


def compare(case: Case, verb: Verb, batch: int, setting: Setting) -> list[Row]:
    """Returns the rows of one case: all implementations and libraries, interleaved."""
    contenders: dict[str, Contender] = {}
    subjects: dict[str, Subject] = {}
    for way in ways(verb):
        isa = info().isa if way.implementation == "engine" else ""
        for n in setting.threads:
            name = f"{way.implementation} {way.dtype} {n}"
            contenders[name] = our_contender(case, way, verb, batch=batch, threads=n)
            subjects[name] = Subject(case, verb, batch, n, way.implementation, way.dtype, isa)
    rates, peers = run_beside_peers(contenders, case, verb, batch, setting)
    detail = {"peers": peers_document(peers)}
    return [
        make_row(verb, subject, rates[name], ceilings=setting.ceilings, peers=peers, detail=detail)
        for name, subject in subjects.items()
    ]


def run_beside_peers(
    contenders: Mapping[str, Contender], case: Case, verb: Verb, batch: int, setting: Setting
) -> tuple[dict[str, Rate], dict[str, PeerRate | None]]:
    """Returns the rates of contenders, and those of the libraries at their best."""
    others: dict[str, Contender] = {}
    try:
        for peer in setting.peers:
            found = peer_contenders(peer, case, verb, batch=batch, threads=setting.threads)
            others |= {f"{peer} {n}": contender for n, contender in found.items()}
        for other in others.values():
            if isinstance(other, RemoteContender):
                other.wait()
        rates = interleave({**contenders, **others}, setting.effort)
    finally:
        for other in others.values():
            other.close()
    return rates, {peer: _best(peer, rates, setting.threads) for peer in setting.peers}


def _best(peer: str, rates: Mapping[str, Rate], threads: Sequence[int]) -> PeerRate | None:
    """The rate of a library at its best number of threads; None where it isn't installed."""
    found = {n: rates[f"{peer} {n}"] for n in threads if f"{peer} {n}" in rates}
    name = peer_version(peer)
    if not found or name is None:
        return None
    n = max(found, key=lambda n: found[n].events_per_s)
    best = found[n]
    return PeerRate(name, n, best.events_per_s, best.spread, best.events_per_cpu_s, best.best)


def instruction_sets(case: Case, setting: Setting) -> Iterator[Row]:
    """Yields the engine's rows for every instruction set, each in a process of its own."""
    contenders: dict[str, Contender] = {}
    subjects: dict[str, Subject] = {}
    try:
        for isa in known_isas():
            for n in setting.threads:
                for dtype in ("float32", "bfloat16") if isa.endswith("bf16") else ("float32",):
                    task = task_of(case, "engine", "train", batch=ISA_BATCH, threads=n, dtype=dtype)
                    worker = RemoteContender(task, {"ONLINEFLOWS_ISA": isa})
                    name = f"{isa} {dtype} {n}"
                    contenders[name] = worker
                    used = str(worker.wait()["isa"])
                    subjects[name] = Subject(case, "train", ISA_BATCH, n, "engine", dtype, used)
        rates, peers = run_beside_peers(contenders, case, "train", ISA_BATCH, setting)
    finally:
        for contender in contenders.values():
            contender.close()
    for name, subject in subjects.items():
        yield make_row(
            "train",
            subject,
            rates[name],
            ceilings=setting.ceilings,
            peers=peers,
            what="Instruction sets",
            detail={"peers": peers_document(peers)},
        )


def known_isas() -> list[str]:
    """Returns the instruction sets that the engine can use here, best first."""
    known = info().reason.partition(";")[0].rpartition("of ")[2]
    return known.split()
