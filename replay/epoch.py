"""The epoch of a run: the same for every attempt at it, and for nothing else."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from replay.settings import ReplayConfig
from streams.source import Source


def epoch_of(source: Source, *, seed: int, replay: ReplayConfig, config: Mapping[str, Any]) -> str:
    """Returns the epoch of a run: a function of its files, seed and configuration alone.

    A producer that is started again with the same ones continues the same epoch.

    Args:
        source: its schema, files and number of events.
        seed: the seed of the replay.
        replay: run number and lumisections.
        config: the configuration that decides which events come, plain JSON types. Leave out what
            may differ between attempts, such as the address.
    """
    document = {
        "schema": source.schema.fingerprint(),
        "files": [[f.name, f.nbytes, f.sha256] for f in source.files],
        "n_events": source.n_events,
        "seed": seed,
        "run": replay.run,
        "lumisection_events": replay.lumisection_events,
        "config": config,
    }
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
