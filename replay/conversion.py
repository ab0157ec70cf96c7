"""Particle files to feature files: jets clustered once, by several processes, in the file's order.

What is replayed from the feature file are the events that `replay.sources.particles` would send;
those that it wouldn't (not selected, or bad) are counted by reason and left out. The frame's index
holds each event's row in the particle file.
"""

import json
import logging
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replay.clustered import ROW, ClusteredRows
from replay.reconstruct import load_fastjet
from replay.settings import LhcoParticlesConfig
from replay.sources.integrity import Stamp
from replay.sources.particles import ParticleReader
from streams import InputError, Status

logger = logging.getLogger(__name__)

BLOCK_ROWS = 256
"""Rows per task: 4 MB of particles, some 0.1 s of clustering."""
AHEAD = 3
"""Tasks per process that are under way or wait to be written: this bounds the memory."""
FORMAT = 1
"""Another number makes conversions that were stopped begin again."""

Track = Callable[[int, int | None], None]
"""Shows progress: so many rows of so many."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion did.

    Args:
        n_rows: rows of the particle file.
        n_written: events of the feature file.
        left_out: how many events aren't in it, by the reason.
        has_label: whether it holds the truth.
        n_resumed: rows that an earlier call had done.
    """

    n_rows: int
    n_written: int
    left_out: dict[str, int]
    has_label: bool
    n_resumed: int


def convert(config: LhcoParticlesConfig, features: Path, *, jobs: int, track: Track) -> Conversion:
    """Writes the jets of a particle file into a feature file; goes on where a call was stopped.

    What has been done is in ``FEATURES.partial``, row by row, until the feature file appears under
    its name. It is used again if the particle file is the same, as far as its size and time tell,
    and so are the settings.

    Args:
        config: the one particle file in `paths`, its key, jet radius and threshold.
        features: the feature file, ending in .h5; an existing one is replaced.
        jobs: processes; 1 works in this one.
        track: called with the number of rows that are done, and of all.

    Raises:
        InputError: the particle file isn't one, is damaged, or was changed meanwhile; fastjet isn't
            installed; the disk is full; or a process was killed. What was done is kept, unless the
            particle file was changed.
    """
    particles = Path(_one_path(config))
    if features.suffix not in (".h5", ".hdf5"):
        raise InputError(f"expected a feature file that ends in .h5 or .hdf5; got {features}")
    stamp = Stamp.of(particles)
    with closing(ParticleReader(particles, config)) as reader:
        n_rows, has_label = reader.n_rows, reader.has_label
    origin = _origin(config, stamp, n_rows)
    with ClusteredRows(features, origin) as unfinished:
        n_resumed = unfinished.n_rows
        if n_resumed:
            logger.info("going on", extra={"n_rows": n_resumed, "n_total": n_rows})
        track(n_resumed, n_rows)
        starts = range(n_resumed, n_rows, BLOCK_ROWS)
        with _clustering(config, jobs) as cluster:
            for rows in cluster([(start, min(start + BLOCK_ROWS, n_rows)) for start in starts]):
                unfinished.append(rows)
                track(unfinished.n_rows, n_rows)
        if Stamp.of(particles) != stamp:
            unfinished.discard()
            raise InputError(
                f"expected the file as it was at the begin; got another size, time or file; at "
                f"{particles}; convert it again"
            )
        left_out = unfinished.counts()
        n_written = left_out.pop(Status.GOOD.name.lower(), 0)
        note = origin | {"n_written": n_written, "left_out": left_out}
        unfinished.finish(json.dumps(note), has_label=has_label)
    return Conversion(n_rows, n_written, left_out, has_label, n_resumed)


Task = tuple[int, int]
Cluster = Callable[[list[Task]], Iterator[NDArray[np.void]]]


@contextmanager
def _clustering(config: LhcoParticlesConfig, jobs: int) -> Iterator[Cluster]:
    """Yields what turns ranges of rows into clustered ones, in the order of the ranges."""
    if jobs <= 1:
        with closing(ParticleReader(Path(_one_path(config)), config)) as reader:
            yield lambda tasks: (_cluster(reader, *task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(config,)) as pool:
        waiting: deque[Future[NDArray[np.void]]] = deque()

        def run(tasks: list[Task]) -> Iterator[NDArray[np.void]]:
            for task in tasks:
                waiting.append(pool.submit(_cluster_here, task))
                if len(waiting) >= AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

        try:
            yield run
        except BrokenProcessPool as error:
            raise InputError(
                f"expected {jobs} processes that live; got one that was killed; is there memory "
                f"enough? Give the same command again, with fewer --jobs: what was done is kept"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _cluster(reader: ParticleReader, start: int, stop: int) -> NDArray[np.void]:
    """Returns clustered rows, shape (stop - start,), as `ROW`."""
    jets = reader.read_jets(start, stop)
    rows = np.zeros(stop - start, ROW)
    rows["jets"] = jets.table
    if jets.label is not None:
        rows["label"] = jets.label
    rows["mark"] = jets.status + 1
    return rows


_HERE: dict[str, ParticleReader] = {}
"""The particle file of a process of the pool, opened once when it begins."""


def _begin(config: LhcoParticlesConfig) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and stops us
    _HERE["reader"] = ParticleReader(Path(_one_path(config)), config)


def _cluster_here(task: Task) -> NDArray[np.void]:
    return _cluster(_HERE["reader"], *task)


def _one_path(config: LhcoParticlesConfig) -> str:
    return config.paths if isinstance(config.paths, str) else config.paths[0]


def _origin(config: LhcoParticlesConfig, stamp: Stamp, n_rows: int) -> dict[str, Any]:
    """Returns what the rows depend on."""
    fastjet = load_fastjet()
    return {
        "format": FORMAT,
        "particles": Path(_one_path(config)).name,
        "key": config.key,
        "nbytes": stamp.nbytes,
        "modified_ns": stamp.modified_ns,
        "n_rows": n_rows,
        "jet_radius": config.jet_radius,
        "min_leading_pt_gev": config.min_leading_pt_gev,
        "fastjet": str(fastjet.__version__),
    }
