"""A run in few words: the numbers that matter now, its accounts, its snapshots."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onlineflows.live.folder import Record, SnapshotEntry
from onlineflows.live.state import RunState, spell
from streams.ledger import WITHHELD
from streams.telemetry import ConsumerTelemetry, ProducerTelemetry

UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class Tile:
    """One number of those that matter now.

    Args:
        key: names it to programs.
        name: names it to people.
        value: the number with its unit.
        more: what belongs to it.
        is_bad: whether somebody should look.
    """

    key: str
    name: str
    value: str
    more: str = ""
    is_bad: bool = False


def tiles_of(state: RunState, now: float) -> list[Tile]:
    """Returns the numbers that matter now, in the order of the events' way.

    Args:
        state: what is known of a run.
        now: seconds that never go back, as those that the state was told.
    """
    producer = state.producer.newest if state.producer else None
    learners = list(state.heard_learners.values())
    return [
        _rate(state, producer, now),
        _credit(producer),
        _dead_time(state, producer, now),
        _trained(learners, producer),
        _speed(state, learners, now),
        _buffer(learners),
        _nll(learners),
        _alarms(learners),
        _snapshot(state, learners),
    ]


def ledger_rows(state: RunState) -> list[tuple[str, int]]:
    """Returns the accounts of all events: the producer's, then those of all learners together."""
    rows: list[tuple[str, int]] = []
    if state.producer is not None:
        counts = state.producer.newest.counts
        rows += [("generated", counts.generated), ("sent", counts.sent)]
        rows += [(_words(name), getattr(counts, name)) for name in WITHHELD]
    elif ledger := state.record.ledger:
        elsewhere = int(ledger.get("elsewhere", 0))
        rows += [("generated", int(ledger.get("generated", 0)))]
        rows += [("sent", int(ledger.get("sent", 0)) + elsewhere)]
        rows += [(_words(name), int(ledger.get(name, 0))) for name in WITHHELD]
    learners = list(state.heard_learners.values())
    if learners:
        rows += [("received", sum(said.n_seen for said in learners))]
        rows += [("trained", sum(said.n_trained for said in learners))]
        reasons = sorted({reason for said in learners for reason in said.skipped})
        for reason in reasons:
            rows += [
                (f"skipped: {_words(reason)}", sum(s.skipped.get(reason, 0) for s in learners))
            ]
        rows += [("lost", sum(said.lost for said in learners))]
    always = ("generated", "sent", "received", "trained", "lost")
    return [(name, n) for name, n in rows if n or name in always]


def snapshot_row(label: str, entry: SnapshotEntry, lumisection: int | None) -> dict[str, Any]:
    """Returns what a list says of a snapshot, in words.

    Args:
        label: what it is called.
        entry: the snapshot.
        lumisection: that it was published in; None where nobody heard.
    """
    manifest, gate = entry.manifest, entry.gate
    said = UNKNOWN
    if gate:
        verdict = "passed" if gate.get("passed") else "FAILED"
        said = f"{verdict}, {gate.get('statistic', 0):.2f} of {gate.get('threshold', 0):.2f}"
    return {
        "key": label,
        "name": label + (" (final)" if manifest.get("final") else ""),
        "created": str(manifest.get("created_utc", ""))[:19].replace("T", " "),
        "n_seen": f"{entry.n_seen:,}",
        "lumisection": UNKNOWN if not lumisection else f"{lumisection}",
        "nll": UNKNOWN if entry.nll is None else f"{entry.nll:.3f}",
        "gate": said,
        "nbytes": f"{entry.nbytes / 1000:,.0f} kB",
    }


def short(number: float) -> str:
    """Returns a number with three digits and a letter for its thousands.

    Example:
        >>> [short(n) for n in (0, 7.25, 950, 12_345, 1_234_567)]
        ['0', '7.25', '950', '12.3 k', '1.23 M']
    """
    for factor, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= 0.9995 * factor:
            return f"{number / factor:.3g}{letter}"
    return f"{number:.3g}"


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Returns numbers as a line of blocks, the newest at the right; of more than fit, the newest.

    Example:
        >>> sparkline([0, 1, 2, 3])
        '▁▃▆█'
    """
    blocks = "▁▂▃▄▅▆▇█"
    kept = list(values)[-width:]
    if not kept:
        return ""
    low, high = min(kept), max(kept)
    span = (high - low) or 1.0
    return "".join(blocks[round((v - low) / span * (len(blocks) - 1))] for v in kept)


def _rate(state: RunState, producer: ProducerTelemetry | None, now: float) -> Tile:
    rate = state.producer.rate("passed", now) if state.producer else state.total("seen", now)
    mean = None
    if producer is not None and producer.state == "ended" and producer.elapsed_s > 0:
        mean = producer.next_event / producer.elapsed_s
    elif producer is None and rate is None:
        mean = _mean_rate(state.record)
    if mean is not None:
        return Tile("rate", "event rate", _per_second(mean), "mean over the run")
    if producer is None:
        asked = ""
    elif producer.rate_hz is None:
        asked = producer.arrivals
    else:
        asked = f"{producer.arrivals}, {short(producer.rate_hz)}/s asked for"
    return Tile("rate", "event rate", _per_second(rate), asked)


def _credit(producer: ProducerTelemetry | None) -> Tile:
    if producer is None:
        return Tile("credit", "credit", UNKNOWN, "no producer heard")
    return Tile("credit", "credit", f"{producer.credit} batches", producer.mode)


def _dead_time(state: RunState, producer: ProducerTelemetry | None, now: float) -> Tile:
    if producer is None or state.producer is None:
        live_s, dead_s = _times(state.record)
        if live_s + dead_s <= 0:
            return Tile("dead", "dead time", UNKNOWN)
        share = dead_s / (live_s + dead_s)
        more = f"mean over the run, {spell(dead_s)} in all"
        return Tile("dead", "dead time", f"{share:.1%}", more)
    passed_s = producer.live_s + producer.dead_s
    share = producer.dead_s / passed_s if passed_s > 0 else 0.0
    live, dead = (state.producer.rate(name, now) or 0.0 for name in ("live_s", "dead_s"))
    newest = f"{dead / (live + dead):.1%} now, " if live + dead > 0 else ""
    return Tile("dead", "dead time", f"{share:.1%}", f"{newest}{spell(producer.dead_s)} in all")


def _times(record: Record) -> tuple[float, float]:
    """Live and dead time of a run that has ended, in seconds; zeros where nothing is known."""
    return float(record.ledger.get("live_s", 0)), float(record.ledger.get("dead_s", 0))


def _mean_rate(record: Record) -> float | None:
    """Events per second of live and dead time, of a run that has ended; None before."""
    elapsed_s = sum(_times(record))
    return record.ledger.get("generated", 0) / elapsed_s if elapsed_s > 0 else None


def _trained(learners: Sequence[ConsumerTelemetry], producer: ProducerTelemetry | None) -> Tile:
    if not learners:
        return Tile("trained", "trained", UNKNOWN, "no learner heard")
    n = sum(said.n_trained for said in learners)
    whole = producer.n_events if producer else max(s.n_events or 0 for s in learners)
    of = f"{n / whole:.0%} of {whole:,}" if whole else "events"
    return Tile("trained", "trained", f"{n:,}", of)


def _speed(state: RunState, learners: Sequence[ConsumerTelemetry], now: float) -> Tile:
    trained, busy = state.total("trained", now), state.total("train_s", now)
    if trained and busy:
        share = busy / max(len(state.learners), 1)
        return Tile(
            "speed",
            "training speed",
            _per_second(trained),
            f"learning {min(share, 1):.0%} of the time",
        )
    train_s = sum(said.train_s for said in learners)
    if not train_s:
        return Tile("speed", "training speed", UNKNOWN)
    mean = sum(said.n_trained for said in learners) / train_s
    return Tile("speed", "training speed", _per_second(mean), "mean while learning")


def _buffer(learners: Sequence[ConsumerTelemetry]) -> Tile:
    nbytes = sum(said.buffer_nbytes for said in learners)
    if not nbytes:
        return Tile("buffer", "buffer", UNKNOWN)
    fill = sum(said.buffer_fill for said in learners) / len(learners)
    unread = sum(said.unread_batches for said in learners)
    window = sum(said.window_batches for said in learners)
    return Tile(
        "buffer", "buffer", f"{fill:.0%}", f"of {nbytes / 1e6:,.1f} MB; {unread} of {window} unread"
    )


def _nll(learners: Sequence[ConsumerTelemetry]) -> Tile:
    newest = [said.history[-1].nll for said in learners if said.history]
    if not newest:
        return Tile("nll", "NLL", UNKNOWN, "not known yet")
    more = "of new events" if len(newest) == 1 else "mean of the learners"
    return Tile("nll", "NLL", f"{sum(newest) / len(newest):.3f} nats", more)


def _alarms(learners: Sequence[ConsumerTelemetry]) -> Tile:
    n = sum(said.n_alarms for said in learners)
    newest = max(
        (a for said in learners for a in said.alarms), key=lambda a: a.n_seen, default=None
    )
    more = ""
    if newest is not None:
        more = f"{newest.before:.2f} → {newest.after:.2f} nats, lumisection {newest.lumisection}"
    return Tile("alarms", "drift alarms", f"{n}", more, is_bad=n > 0)


def _snapshot(state: RunState, learners: Sequence[ConsumerTelemetry]) -> Tile:
    named = [said.snapshot for said in learners if said.snapshot]
    gates = [lane.snapshots[-1].gate for lane in state.record.lanes.values() if lane.snapshots]
    judged = [gate for gate in gates if gate]
    n_failed = sum(not gate.get("passed") for gate in judged)
    gate = "" if not judged else "gate FAILED" if n_failed else "gate passed"
    refused = sum(said.n_write_failures for said in learners)
    if refused:
        gate += f"; {refused} writes refused by the disk"
    return Tile(
        "snapshot",
        "snapshot",
        max(named, default="none yet"),
        gate,
        is_bad=bool(n_failed or refused),
    )


def _per_second(rate: float | None) -> str:
    return UNKNOWN if rate is None else f"{short(rate)}/s"


def _words(name: str) -> str:
    return name.replace("_", " ")


def learner_rows(state: RunState, now: float) -> list[dict[str, Any]]:
    """Returns a line for each learner, in words; see `tiles_of`."""
    rates = {name: daemon.rate("trained", now) for name, daemon in state.learners.items()}
    return [_learner_row(name, s, rates.get(name)) for name, s in state.heard_learners.items()]


def _learner_row(name: str, said: ConsumerTelemetry, rate: float | None) -> dict[str, Any]:
    return {
        "key": name,
        "learner": name.removeprefix("train "),
        "trained": f"{said.n_trained:,}",
        "speed": _per_second(rate),
        "buffer": f"{said.buffer_fill:.0%}",
        "nll": f"{said.history[-1].nll:.3f}" if said.history else UNKNOWN,
        "alarms": said.n_alarms,
        "snapshot": said.snapshot or UNKNOWN,
    }
