"""Too much at once, or too early: overload, an end of run that nobody has room for, the order."""

from collections.abc import Mapping
from functools import partial

from onlineflows.chaos.stage import Stage
from onlineflows.chaos.stream import DEADLINE_S, SILENT_S

GROWTH_MB = 32.0
"""How much a process may grow under an overload that would fill memory twice as far each second."""

RATE_HZ = 500_000

OVERLOAD: Mapping[str, object] = {
    "wire.mode": "realtime",
    "wire.window_batches": 4,
    "source.n_events": 1_500_000,
    "pacing.arrivals": "poisson",
    "pacing.rate_hz": RATE_HZ,
    "trainer.batch_size": 64,
    "buffer.uses": 16,
    "checkpoint.every_events": 20_000,
    "snapshot.every_events": 50_000,
}
"""More than the learner can take: 500,000 events a second, each to be used 16 times."""

LATE_S = 1.0
CLOCK = 1.25
"""How much longer than planned a producer may take whose clock never waits, on a busy machine."""


def overload(stage: Stage, _rounds: int) -> int:
    """Sends faster than the consumer learns: events are dropped at the source, and counted."""
    stage.start_producer({})
    stage.start_consumer()
    stage.wait_for_run()
    sizes = (stage.producer.resident_mb, stage.consumer.resident_mb)
    stage.finish()
    for (who, verb), before_mb in zip(
        (("producer", "replay"), ("consumer", "train")), sizes, strict=True
    ):
        stage.require_growth(who, before_mb, stage.largest_mb[verb], GROWTH_MB)
    account, ledger = stage.producer.result, stage.ledger
    stage.require(ledger.get("busy", 0) > 0, "events dropped at the source; none was")
    stage.require(ledger.get("lost", 0) == 0, "no event lost on the way")
    planned_s = stage.n_generated / RATE_HZ
    elapsed_s, live_s, dead_s = (
        account.get(name, 0.0) for name in ("elapsed_s", "live_s", "dead_s")
    )
    stage.require(elapsed_s < CLOCK * planned_s + 1, f"a clock that never waits; {elapsed_s:.2f} s")
    stage.require(dead_s > 0 and live_s >= 0, f"dead time; got {dead_s} s of {elapsed_s} s")
    off_s = abs(live_s + dead_s - elapsed_s)
    stage.require(off_s < 0.01, f"live + dead = elapsed; off by {off_s} s")
    stage.notes["dead_fraction"] = round(dead_s / max(elapsed_s, 1e-9), 3)
    return 1


def end_while_full(stage: Stage, _rounds: int, *, scheme: str) -> int:
    """Freezes the consumer while all that is left, and the end of the run, lies in its window."""
    if scheme == "ipc":
        stage.move_to(f"ipc://{stage.folder}/wire")
    stage.start_producer({"pacing.arrivals": "constant", "pacing.rate_hz": 100_000})
    stage.start_consumer()
    stage.wait_for_run()
    stage.consumer.freeze()
    stage.producer.wait_for("end of run", deadline_s=DEADLINE_S)
    too_early = stage.producer.leaves_within(stage.rng.uniform(0, 2 * SILENT_S))
    stage.require(not too_early, "a producer that waits for the acknowledgement; it left")
    stage.consumer.thaw()
    stage.hit()
    return 1


def start_apart(stage: Stage, _rounds: int, *, first: str) -> int:
    """Starts one well before the other."""
    starts = [stage.start_producer, stage.start_consumer]
    if first == "train":
        starts.reverse()
    daemon = starts[0]()
    ended = daemon.leaves_within(stage.rng.uniform(0.2, 2.0) * LATE_S)
    stage.require(not ended, f"a {first} daemon that waits for the other; {daemon.last_words}")
    starts[1]()
    return 1


end_while_full_tcp = partial(end_while_full, scheme="tcp")
end_while_full_ipc = partial(end_while_full, scheme="ipc")
producer_first = partial(start_apart, first="replay")
consumer_first = partial(start_apart, first="train")
