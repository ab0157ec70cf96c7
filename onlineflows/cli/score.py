"""`onlineflows score`: a snapshot's log density of the events in a file."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.cli.chosen import chosen_density
from onlineflows.cli.events import good_events, open_events
from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output, require_folder
from onlineflows.cli.progress import progress
from onlineflows.errors import ConfigError, DataError
from onlineflows.online.snapshot import read_snapshot


def score(
    snapshot: Path,
    data: Path,
    output: Output,
    *,
    target: Path | None,
    overrides: Sequence[str],
    model: str | None = None,
    replica: str = "0",
) -> int:
    """Evaluates log p(x) for every good event, in nats; returns the exit code."""
    if target is not None:
        require_folder(target, "--output")
        if target.suffix != ".npy":
            raise ConfigError(f"--output: expected a name ending in .npy; got {target.name}")
    read = read_snapshot(snapshot)
    density = chosen_density(read, model, replica)
    parts: list[NDArray[np.float64]] = []
    n_done = 0
    with (
        closing(open_events(data, read.schema, overrides)) as source,
        progress("scored", source.n_events, quiet=output.quiet) as track,
    ):
        for chunk in good_events(source):
            parts.append(density.log_prob(chunk.x))
            n_done += len(chunk.x)
            track(n_done)
    log_prob = np.concatenate(parts)
    if not len(log_prob):
        raise DataError(f"{data}: expected events to score; got none")
    if target is not None:
        _write(target, log_prob)
    document = _summary(log_prob) | {"file": data, "output": target}
    output.result(document, _text(document))
    return DONE


def _write(target: Path, log_prob: NDArray[np.float64]) -> None:
    try:
        with target.open("wb") as file:
            np.save(file, log_prob)
    except OSError as error:
        raise DataError(f"{target}: expected a file to write log p to; got {error}") from error


def _summary(log_prob: NDArray[np.float64]) -> dict[str, Any]:
    inside = log_prob[np.isfinite(log_prob)]
    n = len(inside)
    return {
        "n_events": len(log_prob),
        "n_outside_support": len(log_prob) - n,
        "mean_log_prob": float(inside.mean()) if n else None,
        "mean_log_prob_error": float(inside.std(ddof=1) / np.sqrt(n)) if n > 1 else None,
    }


def _text(document: dict[str, Any]) -> str:
    lines = [f"{document['file']}: {document['n_events']:,} events"]
    if document["mean_log_prob"] is not None:
        error = document["mean_log_prob_error"] or 0.0
        lines.append(f"mean log p = {document['mean_log_prob']:.4f} ± {error:.4f} nats per event")
    if document["n_outside_support"]:
        lines.append(f"{document['n_outside_support']:,} outside the support (log p = -inf)")
    if document["output"] is not None:
        lines.append(f"log p of each event: {document['output']}")
    return "\n".join(lines)
