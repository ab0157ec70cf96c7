"""What an operator says to a running daemon, and what it answers.

==============  ===========  ==================================================================
verb            understood   asks to
                by
==============  ===========  ==================================================================
status          both         say where it stands: its newest telemetry
stop            both         end the run cleanly, as SIGTERM does
pause           producer     send nothing until told otherwise; no dead time passes
resume          producer     go on
step            producer     pause, and send so many batches (1)
burst           producer     send so many events at once, whatever the pacing; then go on as before
seek            producer     leave out everything before an event index: it counts as `operator`
set-rate        producer     change the mean rate, events/s; without a number: as fast as credit
snapshot-now    consumer     publish a snapshot
==============  ===========  ==================================================================
"""

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

from streams.telemetry import VERSION, Version

Verb = Literal[
    "status", "pause", "resume", "step", "burst", "seek", "set-rate", "snapshot-now", "stop"
]
VERBS: tuple[Verb, ...] = get_args(Verb)

WITH_AMOUNT: dict[Verb, str] = {
    "step": "number of batches",
    "burst": "number of events",
    "seek": "index of an event",
    "set-rate": "rate in events/s",
}
"""Verbs that go with a number, and what it means."""

MAX_NBYTES = 1 << 16
"""No request is longer."""


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator asks for.

    Args:
        verb: what to do.
        amount: how much of it; see `WITH_AMOUNT`.
    """

    verb: Verb
    amount: Annotated[float, Meta(ge=0, le=2**62)] | None = None
    version: Version = VERSION


class Reply(Struct, frozen=True, forbid_unknown_fields=True):
    """What became of it.

    Args:
        ok: whether it is done, or will be.
        text: what was done, or why not, in words.
        status: of a status request, the telemetry as plain types; else empty.
    """

    ok: bool
    text: str
    status: dict[str, Any] = {}
    version: Version = VERSION


def refusal(verb: str, process: str, understood: tuple[str, ...]) -> Reply:
    """Returns the answer of a daemon to a verb that isn't its own."""
    return Reply(False, f"{verb}: the {process} understands {', '.join(understood)}")
