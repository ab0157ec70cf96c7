"""Damages input files of every format and reads them: an error of ours, or events, and no more.

    python tests/benchmarks/fuzz_files.py [--cases 4000] [--seed 1]

Each case takes a small file (LHCO features, a frame, .npy, Parquet, TTree, RNTuple), damages its
metadata above all (flipped bits, other bytes, cut, zeroed, stretches moved), opens it as the
producer would and reads it to its end. That happens in processes of bounded memory, so that one
that a C library kills, or that hangs, is counted and named too. Prints JSON; the exit code is 1
after anything but `streams.StreamError` or events. What bits in the data themselves do is not the
question here: only the SHA-256 of the file tells.
"""

import argparse
import faulthandler
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import uproot

from replay.settings import LhcoFeaturesConfig, RootConfig, RootFeatureConfig
from replay.sinks import open_sink
from replay.sources import open_source
from replay.sources.table import open_table
from streams import LHCO, Source, StreamError

N_EVENTS = 200
HANG_S = 30.0
MEMORY_NBYTES = 8 << 30
"""Address space of a process that reads damaged files."""

EDGE_NBYTES = 6000
"""Metadata lie at the beginning and at the end of files."""


def write_files(folder: Path) -> None:
    """Writes one small file of each kind."""
    rng = np.random.default_rng(1)
    x = LHCO.low + rng.random((N_EVENTS, 5)) * (LHCO.high - LHCO.low)
    events = x.astype(np.float32)
    for suffix in ("npy", "h5", "parquet", "root"):
        with open_sink(folder / f"table.{suffix}", LHCO) as sink:
            sink.write(events)
    jets = rng.uniform(1, 100, (N_EVENTS, 15))
    with h5py.File(folder / "features.h5", "w") as file:
        group = file.create_group("df")
        group.attrs.update({"pandas_type": np.bytes_(b"frame"), "nblocks": 1, "ndim": 2})
        group["axis0"] = group["block0_items"] = np.arange(15)
        group["axis1"] = np.arange(N_EVENTS)
        jets[:, 14] = 0
        group.create_dataset("block0_values", data=jets, chunks=(15, 15), compression="gzip")
    columns = {"m": rng.random(N_EVENTS), "pt": ak.Array(rng.random((N_EVENTS, 2)).tolist())}
    with uproot.recreate(folder / "tree.root") as file:
        tree = file.mktree("Events", {"m": np.dtype("f8"), "pt": "var * float64"})
        for start in range(0, N_EVENTS, 50):
            tree.extend({name: values[start : start + 50] for name, values in columns.items()})
    with uproot.recreate(folder / "ntuple.root") as file:
        file.mkrntuple("Events", columns)


def open_file(path: Path) -> Source:
    """Opens a file of any of the kinds as a producer or an offline verb would."""
    if path.stem == "table":
        return open_table(path, LHCO)
    if path.stem == "features":
        return open_source(LhcoFeaturesConfig("lhco_features", str(path)))
    features = (RootFeatureConfig("m", "m"), RootFeatureConfig("pt", "pt[0]"))
    return open_source(RootConfig("root", str(path), features=features))


def damage(rng: random.Random, content: bytes) -> bytes:
    """Returns a file's content, damaged."""
    damaged = bytearray(content)
    size = len(damaged)

    def place() -> int:
        edge = min(EDGE_NBYTES, size)
        way = rng.random()
        if way < 0.4:
            return rng.randrange(edge)
        return size - 1 - rng.randrange(edge) if way < 0.8 else rng.randrange(size)

    way = rng.randrange(6)
    if way == 0:
        for _ in range(rng.randint(1, 20)):
            damaged[place()] ^= 1 << rng.randrange(8)
    elif way == 1:
        for _ in range(rng.randint(1, 20)):
            damaged[place()] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    elif way == 2:
        del damaged[rng.randrange(size) :]
    elif way == 3:
        at = place()
        n = min(rng.choice([4, 64, 1024]), size - at)
        damaged[at : at + n] = bytes(n)
    elif way == 4:
        at, n = place(), rng.choice([1, 8, 100])
        damaged[at:at] = rng.randbytes(n)
    else:
        at, to = place(), place()
        stretch = damaged[at : at + rng.choice([4, 8, 64])]
        damaged[to : to + len(stretch)] = stretch
    return bytes(damaged)


def read_all(path: Path) -> str:
    """Reads a file to its end; returns what became of it."""
    source = None
    try:
        source = open_file(path)
        n_left = 100 * N_EVENTS
        while n_left > 0 and (n_read := len(source.read(64))):
            n_left -= n_read
    except StreamError as error:
        return f"refused: {type(error).__name__}"
    except Exception as error:  # noqa: BLE001 - anything else is what is looked for
        return f"WRONG: {type(error).__name__}: {error}"[:160]
    else:
        return "read" if n_left > 0 else "WRONG: more events than bytes"
    finally:
        if source is not None:
            source.close()


def work(pipe: Connection, folder: str, first: int, cases: int, seed: int) -> None:
    """Reads cases one after the other and says before each which it is."""
    faulthandler.disable()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_NBYTES, MEMORY_NBYTES))
    files = sorted(path for path in Path(folder).iterdir() if path.is_file())
    for number in range(first, cases):
        rng = random.Random(seed * 1_000_003 + number)
        file = files[number % len(files)]
        path = Path(folder) / "damaged" / file.name
        path.write_bytes(damage(rng, file.read_bytes()))
        pipe.send((number, file.name, None))
        began = time.perf_counter()
        verdict = read_all(path)
        pipe.send((number, file.name, (verdict, time.perf_counter() - began)))
    pipe.send(None)


def measure(cases: int, seed: int) -> dict[str, Any]:
    """Returns what became of all cases."""
    results: dict[str, Counter[str]] = {}
    examples: dict[str, int] = {}
    slowest = (0.0, -1)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder))
        (Path(folder) / "damaged").mkdir()
        for path in Path(folder).iterdir():
            if path.is_file() and (verdict := read_all(path)) != "read":
                raise SystemExit(f"expected {path.name} to be read as it is; got {verdict}")
        number = 0
        while number < cases:
            spawn = multiprocessing.get_context("spawn")
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=work, args=(theirs, folder, number, cases, seed))
            process.start()
            theirs.close()
            name = ""
            while True:
                try:
                    said = ours.recv() if ours.poll(HANG_S) else "hang"
                except EOFError:
                    process.join()
                    said = f"died with {process.exitcode}"
                if said is None:
                    number = cases
                    break
                if isinstance(said, str):
                    process.kill()
                    record(results, examples, name, f"WRONG: {said}", number)
                    number += 1
                    break
                number, name, done = said
                if done is not None:
                    record(results, examples, name, done[0], number)
                    slowest = max(slowest, (done[1], number))
            process.kill()
            process.join()
    n_wrong = sum(n for found in results.values() for v, n in found.items() if "WRONG" in v)
    return {
        "cases": cases,
        "seed": seed,
        "wrong": n_wrong,
        "seconds": round(time.perf_counter() - began, 1),
        "slowest_s": round(slowest[0], 3),
        "slowest_case": slowest[1],
        "results": {name: dict(found) for name, found in sorted(results.items())},
        "examples": examples,
    }


def record(
    results: dict[str, Counter[str]],
    examples: dict[str, int],
    name: str,
    verdict: str,
    number: int,
) -> None:
    """Counts a verdict, and keeps the number of the first case of each that is wrong."""
    results.setdefault(name, Counter())[verdict] += 1
    if "WRONG" in verdict:
        examples.setdefault(f"{name}: {verdict}", number)


def main() -> int:
    """Runs the cases and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    result = measure(arguments.cases, arguments.seed)
    print(json.dumps(result, indent=1))
    return 1 if result["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
