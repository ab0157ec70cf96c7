"""What prescales cost the producer: CPU time to read and cut a stream, with and without them.

    python tests/benchmarks/prescale_cost.py [--events 4000000] [--rounds 5]

Prints nanoseconds of CPU time per event that was generated, the least of all rounds, which take
turns: from memory, where nothing else costs anything, and from the stand-in.
"""

import argparse
import time

import numpy as np

from replay.batching import Batcher
from replay.pacing import NO_LIMIT
from replay.prescales import Prescaler
from replay.settings import PrescaleConfig, StandinConfig
from replay.sources.standin import StandinSource
from streams import LHCO, ArraySource, Source

LOW = "mjj < 2.5 and tau21J1 > 0.1"
CASES = {
    "no prescales": (),
    "one selection, all kept": (PrescaleConfig("low", LOW),),
    "one selection, 1 in 10": (PrescaleConfig("low", LOW, 10),),
    "everything, 1 in 10": (PrescaleConfig("all", "", 10),),
    "three selections": (
        PrescaleConfig("low", LOW, 10),
        PrescaleConfig("light", "mJ1 < 0.1 or dmJ < 0.05", 5),
        PrescaleConfig("rest", "", 2),
    ),
}


def cpu_s(source: Source, prescales: tuple[PrescaleConfig, ...]) -> float:
    """Returns the time to cut the whole stream into batches."""
    prescaler = Prescaler(prescales, LHCO, seed=1) if prescales else None
    source.seek(0)
    batcher = Batcher(
        source, run=1, batch_events=1024, lumisection_events=100_000, prescaler=prescaler
    )
    began = time.process_time()
    while batcher.next(NO_LIMIT) is not None or batcher.read(NO_LIMIT):
        pass
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    n = arguments.events
    standin = StandinConfig(n_events=n)
    x = StandinSource(standin).read(1 << 18).x
    for where, source in {
        "memory": ArraySource(LHCO, np.asarray(x), n_events=n),
        "stand-in": StandinSource(standin),
    }.items():
        least = dict.fromkeys(CASES, float("inf"))
        for _ in range(arguments.rounds):
            for name, prescales in CASES.items():
                least[name] = min(least[name], cpu_s(source, prescales))
        for name, spent in least.items():
            print(f"{where:10s} {name:26s} {1e9 * spent / n:7.1f} ns per event")


if __name__ == "__main__":
    main()
