"""Whether a producer can serve a consumer that says HELLO."""

from streams.batch import largest_nbytes
from streams.messages import VERSION, Hello, Refusal, Stand
from streams.protocol import RunBegan


def refusal_of(hello: Hello, run: RunBegan, *, lanes: int = 1) -> Refusal | None:
    """Returns why a consumer can't be served, None where it can.

    Args:
        hello: how the consumer introduces itself.
        run: what it would be served.
        lanes: how many consumers share it.
    """
    if VERSION not in hello.versions:
        return Refusal(
            "version",
            f"this producer speaks protocol {VERSION}; the consumer {list(hello.versions)}",
        )
    if hello.lanes != lanes or hello.lane >= lanes:
        return Refusal(
            "lane",
            f"this producer has {lanes} lanes, counted from 0; the consumer asks for lane "
            f"{hello.lane} of {hello.lanes}: give both the same wire.lanes, and each consumer a "
            "wire.lane of its own",
        )
    if hello.epoch is not None and hello.epoch.hex() != run.epoch:
        return Refusal(
            "epoch",
            f"the consumer's checkpoint belongs to epoch {hello.epoch.hex()}, this run is "
            f"{run.epoch}: start the consumer without --resume, or the producer with the files, "
            "seed and configuration of the earlier run",
        )
    nbytes = largest_nbytes(run.batch_events, run.schema.event_nbytes)
    if nbytes > hello.window_nbytes:
        return Refusal(
            "window",
            f"a batch has up to {nbytes} bytes, the consumer's window {hello.window_nbytes}: "
            "lower wire.batch_events or raise wire.window_nbytes",
        )
    if not is_consistent(hello.stand):
        return Refusal("accounts", "the accounts in HELLO do not add up")
    return None


def is_consistent(stand: Stand) -> bool:
    """Returns whether a consumer's accounts cover exactly the events before its position."""
    return stand.run.cover(0, stand.next_event) and stand.open.cover(
        stand.closed_event, stand.next_event
    )
