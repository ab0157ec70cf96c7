"""Whether both daemons stay as they are while the rate goes up into overload and back, for long.

``python tests/benchmarks/soak.py --minutes 20 --rate-hz 100000`` sends Poisson arrivals in realtime
mode, whose rate ramps up to ten times as much and back once a minute (`pacing.arrivals = "ramp"`),
looks at the resident size of both processes twice a second (Linux only), and stops the producer
after the time. It prints one JSON document: per process the medians of its size over the first and
the last quarter of the samples after warm-up, in MB (1e6 bytes), their ratio, and the largest size;
the ledgers of both ends; live and dead time. The exit code is 1 unless both sizes are flat to
within 2 %, both ledgers balance and agree, and live and dead time add up to the elapsed time.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np

import onlineflows
from onlineflows.chaos.daemon import Daemon, wait_until
from onlineflows.chaos.stage import Stage
from onlineflows.chaos.stream import DEADLINE_S
from onlineflows.machine import cpu_model, load, versions
from streams.ledger import WITHHELD

PERIOD_S = 0.5
WARM_UP = 0.2
"""Share of the samples that are left out: buffers fill, allocators settle."""

FLAT = 0.02
"""How much the median size of the last quarter may differ from that of the first."""

ENDLESS = 0


def settings(arguments: argparse.Namespace) -> dict[str, object]:
    """Returns the stream's and the learner's settings: defaults of the learner's size."""
    return {
        "source.n_events": ENDLESS,
        "replay.lumisection_events": 1_000_000,
        "wire.mode": "realtime",
        "wire.batch_events": 1024,
        "wire.window_batches": 16,
        "wire.heartbeat_s": 1.0,
        "pacing.arrivals": "ramp",
        "pacing.rate_hz": arguments.rate_hz,
        "pacing.peak_hz": arguments.peak_hz,
        "pacing.period_s": arguments.period_s,
        "flow.hidden": arguments.hidden,
        "flow.bins": 8,
        "preprocess.fit_events": 20_000,
        "buffer.capacity": 65_536,
        "trainer.batch_size": 512,
        "checkpoint.every_events": 2_000_000,
        "snapshot.every_events": 1_000_000,
        "snapshot.keep": 5,
    }


def watch(stage: Stage, seconds: float) -> list[tuple[float, float, float]]:
    """Samples the sizes of producer and consumer in MB, until the time is over."""
    began = time.monotonic()
    samples = []
    while (now := time.monotonic() - began) < seconds:
        if not (stage.producer.is_running and stage.consumer.is_running):
            raise SystemExit(f"{stage.producer.last_words}; {stage.consumer.last_words}")
        samples.append((now, stage.producer.resident_mb, stage.consumer.resident_mb))
        time.sleep(PERIOD_S)
    return samples


def flatness(sizes: np.ndarray) -> dict[str, Any]:
    """Compares the first and the last quarter of one process's sizes."""
    later = sizes[int(WARM_UP * len(sizes)) :]
    quarter = max(1, len(later) // 4)
    first, last = float(np.median(later[:quarter])), float(np.median(later[-quarter:]))
    return {
        "first_quarter_mb": round(first, 1),
        "last_quarter_mb": round(last, 1),
        "ratio": round(last / first, 4),
        "max_mb": round(float(sizes.max()), 1),
        "is_flat": abs(last / first - 1) <= FLAT,
    }


def conclude(stage: Stage) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Stops the producer; returns both accounts and what is wrong with them."""
    stage.producer.process.send_signal(signal.SIGTERM)
    stage.finish()
    account, ledger = stage.producer.result, stage.ledger
    problems = stage.problems + ledger["problems"]
    total = ledger["trained"] + sum(ledger["skipped"].values()) + ledger["lost"]
    withheld = sum(ledger.get(name, 0) for name in WITHHELD)
    if ledger["unaccounted"] or ledger["generated"] != total + withheld:
        problems.append(f"the consumer's ledger does not balance: {ledger}")
    if (account["generated"], account["sent"]) != (ledger["generated"], ledger["sent"]):
        problems.append(f"the two ledgers differ: {account} and {ledger}")
    off_s = account["live_s"] + account["dead_s"] - account["elapsed_s"]
    if abs(off_s) > 0.01:
        problems.append(f"live and dead time are off by {off_s} s")
    return account, ledger, problems


def result(arguments: argparse.Namespace, stage: Stage) -> dict[str, Any]:
    """Runs the soak and returns its document."""
    stage.start_producer({})
    stage.start_consumer()
    stage.wait_for_run()
    trained: Daemon = stage.consumer
    wait_until(lambda: trained.says("snapshot="), "a snapshot", deadline_s=DEADLINE_S)
    began = load()
    samples = np.array(watch(stage, 60 * arguments.minutes))
    account, ledger, problems = conclude(stage)
    processes = {
        name: flatness(samples[:, column]) for name, column in (("replay", 1), ("train", 2))
    }
    problems += [f"{name} is not flat: {p}" for name, p in processes.items() if not p["is_flat"]]
    return {
        "soak": f"{arguments.minutes:g} minutes",
        "command": "python3 tests/benchmarks/soak.py " + " ".join(sys.argv[1:]),
        "date": datetime.now(UTC).date().isoformat(),
        "rate_hz": arguments.rate_hz,
        "peak_hz": arguments.peak_hz,
        "period_s": arguments.period_s,
        **{name: ledger[name] for name in ("generated", "sent", "trained", "lost", "unaccounted")},
        "busy": ledger["busy"],
        "elapsed_s": round(account["elapsed_s"], 1),
        "live_s": round(account["live_s"], 1),
        "dead_s": round(account["dead_s"], 1),
        "dead_fraction": round(account["dead_s"] / account["elapsed_s"], 4),
        **processes,
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "load": began},
        "versions": {"onlineflows": onlineflows.__version__, **versions("torch", "pyzmq", "numpy")},
        "problems": problems,
        "ok": not problems,
        "samples": [
            [round(float(v), 1) for v in s] for s in samples[:: max(1, len(samples) // 60)]
        ],
    }


def main() -> int:
    """Runs the measurement and prints the document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate-hz", type=float, default=100_000.0)
    parser.add_argument("--peak-hz", type=float, default=1_000_000.0)
    parser.add_argument("--period-s", type=float, default=60.0)
    parser.add_argument("--hidden", type=int, default=16, help="hidden units of the flow")
    arguments = parser.parse_args()
    with Stage(settings(arguments), random.Random(1)) as stage:
        document = result(arguments, stage)
    if document["ok"]:
        stage.clear()
    sys.stdout.write(json.dumps(document) + "\n")
    return 0 if document["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
