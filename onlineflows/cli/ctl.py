"""`onlineflows ctl`: asks the daemons of a run to do something, and prints what they answer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onlineflows.cli.exits import DONE, FAILED
from onlineflows.cli.health import ENDED, last_words
from onlineflows.cli.output import Output
from onlineflows.errors import ConfigError
from onlineflows.live.places import places_of
from streams.console import Place, ask
from streams.control import VERBS, WITH_AMOUNT, Reply, Request, Verb
from streams.errors import TransportError, nearest

OF_PRODUCER = ("pause", "resume", "step", "burst", "seek", "set-rate")
AS_FAST_AS_POSSIBLE = "asap"
TIMEOUT_S = 10.0
LEAST: dict[Verb, int] = {"step": 1, "burst": 1}
"""Numbers below make no sense."""


def ctl(folder: Path, verb: str, amount: str | None, output: Output) -> int:
    """Asks and prints; returns the exit code: 1 where a daemon refuses or doesn't answer.

    Args:
        folder: the run directory.
        verb: one of `streams.control.VERBS`.
        amount: its number, where it has one.
        output: how to print.

    Raises:
        ConfigError: no such verb or number, or no daemon that could be asked.
    """
    request = request_of(verb, amount)
    addressed = _addressed(folder, request.verb)
    replies = {name: _asked(place, request) for name, place in addressed.items()}
    document = {name: {"ok": r.ok, "text": r.text, **r.status} for name, r in replies.items()}
    lines = [line for name, reply in replies.items() for line in _lines(name, reply)]
    output.result(document, "\n".join(lines))
    return DONE if all(reply.ok for reply in replies.values()) else FAILED


def request_of(verb: str, amount: str | None) -> Request:
    """Returns a request in the words of a command line.

    Raises:
        ConfigError: there is no such verb, or it goes with another number or none.

    Example:
        >>> request_of("seek", "1_000").amount
        1000.0
    """
    if verb not in VERBS:
        raise ConfigError(f"ctl: expected one of {', '.join(VERBS)}; got {verb!r}: "
                          f"{nearest(verb, VERBS)}")  # fmt: skip
    known: Verb = verb
    meaning = WITH_AMOUNT.get(known)
    if amount is None:
        if known in ("seek", "burst", "set-rate"):
            raise ConfigError(f"ctl {verb}: expected the {meaning}; got nothing")
        return Request(known)
    if meaning is None:
        raise ConfigError(f"ctl {verb}: expected nothing more; got {amount!r}")
    if known == "set-rate" and amount == AS_FAST_AS_POSSIBLE:
        return Request(known)
    try:
        number = float(amount)
    except ValueError:
        number = -1.0
    least = LEAST.get(known, 0)
    if not least <= number <= 2**62:
        above = f", at least {least}" if least else ""
        raise ConfigError(f"ctl {verb}: expected the {meaning}{above}; got {amount!r}")
    return Request(known, number)


def _addressed(folder: Path, verb: Verb) -> dict[str, Place]:
    """Whom a verb concerns: a run is stopped by its producer where there is one."""
    places = {name: place for name, place in places_of(folder).items() if place.exists}
    replay = {name: place for name, place in places.items() if name == "replay"}
    train = {name: place for name, place in places.items() if name != "replay"}
    if verb in OF_PRODUCER:
        chosen, wanted = replay, "a producer"
    elif verb == "snapshot-now":
        chosen, wanted = train, "a learner"
    elif verb == "stop":
        chosen, wanted = replay or train, "a daemon"
    else:
        chosen, wanted = places, "a daemon"
    if not chosen:
        _require_run(folder)
        got = ", ".join(places) or "no daemon"
        raise ConfigError(
            f"{folder}: expected {wanted} that runs there with operation.console on; got {got}; "
            "name the run directory of a daemon on this machine, such as runs/demo"
        )
    return chosen


def _require_run(folder: Path) -> None:
    """Raises ConfigError where nobody could answer: there is no run, or all of it has ended."""
    if not folder.is_dir():
        there = [p.name for p in folder.parent.glob("*") if p.is_dir()]
        raise ConfigError(
            f"{folder}: expected a run directory such as runs/demo; there is none; "
            f"{nearest(folder.name, there)}"
        )
    last = {name: d["state"] for name, d in last_words(folder).items()}
    if last and all(state in (*ENDED, "failed") for state in last.values()):
        how = ", ".join(f"{name} {state}" for name, state in last.items())
        raise ConfigError(
            f"{folder}: expected daemons that run; all of them have ended ({how}); see "
            f"`onlineflows health {folder}` and `onlineflows inspect {folder}`"
        )


def _asked(place: Place, request: Request) -> Reply:
    try:
        return ask(place, request, timeout_s=TIMEOUT_S)
    except TransportError as error:
        return Reply(False, str(error))


def _lines(name: str, reply: Reply) -> list[str]:
    said = "" if reply.ok else "refused: "
    if not reply.status:
        return [f"{name}: {said}{reply.text}"]
    describe = _producer if reply.status["type"] == "producer" else _consumer
    return [f"{name}: {reply.text}", *(f"  {line}" for line in describe(reply.status))]


def _producer(now: Mapping[str, Any]) -> list[str]:
    counts = now["counts"]
    withheld = ("not_selected", "prescaled", "busy", "bad", "operator")
    listed = "".join(
        f", {counts[key]:,} {key.replace('_', ' ')}" for key in withheld if counts.get(key)
    )
    prescaled = [
        f"selection {name}: {kept:,} kept of {passed:,}"
        for name, (passed, kept) in now["prescales"].items()
    ]
    rate = "" if now["rate_hz"] is None else f" at {now['rate_hz']:,g} events/s"
    return [
        f"event {now['next_event']:,}{_of(now['n_events'])}, lumisection {now['lumisection']}",
        f"{counts.get('sent', 0):,} sent in {now['n_batches']:,} batches{listed}",
        f"{now['mode']}, {now['arrivals']}{rate}, credit for {now['credit']:,} batches",
        f"live {now['live_s']:.1f} s, dead {now['dead_s']:.1f} s, paused {now['paused_s']:.1f} s",
        *prescaled,
    ]


def _consumer(now: Mapping[str, Any]) -> list[str]:
    skipped = "".join(f", {n:,} {key.replace('_', ' ')}" for key, n in now["skipped"].items() if n)
    rate = now["n_trained"] / now["train_s"] if now["train_s"] > 0 else 0.0
    nll = f"{now['history'][-1][1]:.4f} nats" if now["history"] else "not known yet"
    return [
        f"{now['n_trained']:,} trained of {now['n_seen']:,} seen{_of(now['n_events'])}{skipped}",
        f"{rate:,.0f} events/s while learning, buffer {now['buffer_fill']:.0%} full",
        f"NLL {nll}, {now['n_alarms']} drift alarms, snapshot {now['snapshot'] or 'none yet'}",
    ]


def _of(n_events: int | None) -> str:
    return "" if n_events is None else f" of {n_events:,}"
