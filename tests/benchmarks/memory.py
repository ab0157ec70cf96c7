"""Whether the memory of both daemons stays flat, however long a run is.

``python tests/benchmarks/memory.py`` sends ten million stand-in events (`--events`) from one daemon
to the other, looks at the resident size of both processes twice a second (Linux only), and prints
one JSON document: per process its size in MB (1e6 bytes) when the first tenth of the events was
trained on, at the end, at most after that, and the slope of a straight line through the samples.
The exit code is 1 unless both stay within 5 % of their size after the first tenth.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
PERIOD_S = 0.5
FLAT = 0.05
"""How much larger than after the first tenth a process may become."""


@dataclass(frozen=True)
class Sample:
    """Resident sizes at one moment.

    Args:
        n_trained: events trained on, as the newest snapshot says.
        seconds: since the start.
        replay_mb, train_mb: sizes in MB.
    """

    n_trained: int
    seconds: float
    replay_mb: float
    train_mb: float


def resident_mb(pid: int) -> float:
    """Returns the resident size of a process in MB; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def daemon(folder: Path, verb: str, settings: dict[str, object]) -> subprocess.Popen[bytes]:
    """Starts one daemon; its log goes to a file of its own."""
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "onlineflows", verb, "--json", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (folder / f"{verb}.out").open("wb") as out, (folder / f"{verb}.err").open("wb") as err:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=err)


def watch(folder: Path, n_events: int) -> list[Sample]:
    """Runs both daemons to the end of the stream and samples their sizes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    settings = {
        "wire.address": address,
        "source.n_events": n_events,
        "snapshot.every_events": max(n_events // 100, 1000),
        "run.name": "memory",
    }
    start = time.monotonic()
    daemons = [daemon(folder, verb, settings) for verb in ("replay", "train")]
    samples: list[Sample] = []
    log = folder / "train.err"
    while all(process.poll() is None for process in daemons):
        time.sleep(PERIOD_S)
        trained = re.findall(r"n_trained=(\d+)", log.read_text())
        sizes = [resident_mb(process.pid) for process in daemons]
        if all(sizes):
            n_trained = int(trained[-1]) if trained else 0
            samples.append(Sample(n_trained, round(time.monotonic() - start, 2), *sizes))
    codes = [process.wait() for process in daemons]
    if any(codes):
        raise SystemExit(f"the daemons ended with {codes}: {log.read_text()[-2000:]}")
    return samples


def summary(samples: list[Sample], name: str, n_events: int) -> dict[str, float]:
    """Returns the sizes of one process after warm-up and the slope of a line through them."""
    later = [sample for sample in samples if sample.n_trained >= n_events / 10]
    sizes = np.array([getattr(sample, f"{name}_mb") for sample in later])
    millions = np.array([sample.n_trained for sample in later]) / 1e6
    slope = float(np.polyfit(millions, sizes, 1)[0]) if len(set(millions)) > 1 else float("nan")
    return {
        "after_warm_up_mb": round(float(sizes[0]), 1),
        "end_mb": round(float(sizes[-1]), 1),
        "max_mb": round(float(sizes.max()), 1),
        "slope_mb_per_million_events": round(slope, 3),
        "growth": round(float(sizes.max() / sizes[0] - 1), 4),
    }


def main() -> int:
    """Runs the measurement and prints the document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000_000, help="events in the stream")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = watch(Path(folder), arguments.events)
        ledger = json.loads((Path(folder) / "runs" / "memory" / "ledger.json").read_text())
    processes = {name: summary(samples, name, arguments.events) for name in ("replay", "train")}
    is_flat = all(process["growth"] <= FLAT for process in processes.values())
    document = {
        "events": arguments.events,
        "trained": ledger["trained"],
        "unaccounted": ledger["unaccounted"],
        "seconds": samples[-1].seconds,
        **processes,
        "is_flat": is_flat,
        "samples": [asdict(s) for s in samples[:: max(1, len(samples) // 40)]],
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return 0 if is_flat else 1


if __name__ == "__main__":
    sys.exit(main())
