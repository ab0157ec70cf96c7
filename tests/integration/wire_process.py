"""One end of the wire as a process of its own, for test_wire.py: arguments and result are JSON.

The producer sends events that carry their own index; the consumer counts how often it has seen
each one, and keeps the counts in its checkpoint.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from replay.producer import run_producer
from replay.settings import PacingConfig, ReplayConfig
from streams import (
    ArraySource,
    BatchReceived,
    ConsumerLedger,
    EventSchema,
    Feature,
    Position,
    RunBegan,
    RunEnded,
    Status,
    StreamError,
    WireConfig,
)
from streams.transport import Receiver

SCHEMA = EventSchema((Feature("m", "TeV", 0, 1e9), Feature("y", "", -1, 1)))


class Stop:
    """Set by SIGTERM."""

    requested = False
    aborted = False

    def __call__(self, *_: object) -> None:
        self.requested = True


def statuses(n: int, one_in: int) -> np.ndarray:
    """Status of each event: one in so many is selected, some of them bad."""
    status = np.full(n, Status.NOT_SELECTED, dtype=np.uint8)
    status[::one_in] = Status.GOOD
    status[::97] = Status.BAD_INPUT
    status[5_000:6_000] = Status.NOT_SELECTED
    return status


def produce(arguments: dict[str, Any]) -> dict[str, Any]:
    n = arguments["n_events"]
    x = np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.float32)
    label = (np.arange(n) % 5 == 0).astype(np.uint8)
    stop = Stop()
    signal.signal(signal.SIGTERM, stop)
    report = run_producer(
        ArraySource(SCHEMA, x, status=statuses(n, arguments.get("one_in", 1)), label=label),
        wire=WireConfig(**arguments["wire"]),
        pacing=PacingConfig(**arguments.get("pacing", {})),
        replay=ReplayConfig(lumisection_events=7_000),
        stop=stop,
        on_listening=lambda address: print(json.dumps({"address": address}), flush=True),
    )
    return report.document()


def consume(arguments: dict[str, Any]) -> dict[str, Any]:
    path = Path(arguments["checkpoint"])
    state = json.loads(path.read_text()) if path.exists() else None
    ledger = ConsumerLedger.from_dict(state["ledger"]) if state else ConsumerLedger()
    seen = np.array(state["seen"] if state else np.zeros(arguments["n_events"]), dtype=np.int64)
    ended: RunEnded | None = None
    expect = EventSchema(SCHEMA.features[:1]) if arguments.get("other_schema") else SCHEMA
    n_batches = 0
    with Receiver(
        WireConfig(**arguments["wire"]),
        name="learner",
        resume=Position.from_dict(state["position"]) if state else None,
        expect=expect,
    ) as receiver:
        while ended is None:
            for incoming in receiver.poll(0.1):
                ledger.observe(incoming)
                if isinstance(incoming, RunEnded):
                    ended = incoming
                elif isinstance(incoming, BatchReceived):
                    index = incoming.batch.event_indices()
                    assert (incoming.batch.x[:, 0] == index).all()
                    if incoming.truth is not None:
                        assert (incoming.truth.label == (index % 5 == 0)).all()
                    seen[index] += 1
                    ledger.account([incoming.batch_number], trained=len(index))
                    time.sleep(arguments.get("batch_s", 0.0))
                    receiver.consumed(incoming.batch_number)
                    n_batches += 1
                if isinstance(incoming, RunBegan):
                    continue
                if n_batches % 10 == 1 and isinstance(incoming, BatchReceived):
                    document = {
                        "position": incoming.position.to_dict(),
                        "ledger": ledger.to_dict(),
                        "seen": seen.tolist(),
                    }
                    new = path.with_suffix(".new")
                    new.write_text(json.dumps(document))
                    new.replace(path)
                    receiver.acknowledge(incoming.position)
                    print(json.dumps({"checkpoint": incoming.position.next_event}), flush=True)
        receiver.acknowledge(ended.position)
    expected = statuses(arguments["n_events"], arguments.get("one_in", 1)) == Status.GOOD
    return {
        **ledger.document(),
        "is_balanced": ledger.balance().is_balanced,
        "is_exact": bool((seen == expected).all()),
        "largest_count": int(seen.max(initial=0)),
        "digest_agrees": ended.digest_agrees,
        "n_duplicates": receiver.n_duplicates,
    }


def main() -> int:
    role, arguments = sys.argv[1], json.loads(sys.argv[2])
    try:
        result = (produce if role == "produce" else consume)(arguments)
    except StreamError as error:
        print(json.dumps({"error": type(error).__name__, "text": str(error)}), flush=True)
        return 2
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
