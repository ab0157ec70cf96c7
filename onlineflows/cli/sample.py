"""`onlineflows sample`: events drawn from a snapshot, written to a file."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onlineflows.cli.chosen import chosen_density
from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output
from onlineflows.cli.progress import progress
from onlineflows.density import Density
from onlineflows.mixture import Mixture
from onlineflows.online.snapshot import read_snapshot
from replay.sinks import open_sink

CHUNK_EVENTS = 1 << 18


def sample(
    snapshot: Path,
    target: Path,
    output: Output,
    *,
    n_events: int,
    seed: int,
    model: str | None = None,
    replica: str = "0",
) -> int:
    """Draws events chunk by chunk and writes them; returns the exit code."""
    density = chosen_density(read_snapshot(snapshot), model, replica)
    with open_sink(target, density.schema) as sink:
        drawn = draw_into(sink, density, n_events, seed, output)
    document = {"file": target, "n_events": n_events, "seed": seed, **asdict(drawn)}
    output.result(
        document, f"{target}: {n_events:,} events ({', '.join(density.schema.names)}); {drawn.text}"
    )
    return DONE


class EventSink(Protocol):
    """Where drawn events go."""

    def write(self, x: NDArray[np.float32]) -> None:
        """Appends events, shape (n, d)."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was not quite an event.

    Args:
        n_rejected, n_on_edge: see `density.Draw`.
    """

    n_rejected: int
    n_on_edge: int

    @property
    def text(self) -> str:
        """The same in words."""
        return (
            f"{self.n_on_edge:,} of them exactly on an edge of the support, {self.n_rejected:,} "
            "draws that were not finite replaced"
        )


def draw_into(
    sink: EventSink, density: Density | Mixture, n_events: int, seed: int, output: Output
) -> Drawn:
    """Draws events chunk by chunk into a sink, which stays open."""
    n_rejected = n_on_edge = 0
    with progress("sampled", n_events, quiet=output.quiet) as track:
        for number, start in enumerate(range(0, n_events, CHUNK_EVENTS)):
            # A seed for each chunk: a longer sample begins with the shorter one.
            draw = density.draw(min(CHUNK_EVENTS, n_events - start), seed * 1_000_003 + number)
            n_rejected += draw.n_rejected
            n_on_edge += draw.n_on_edge
            sink.write(draw.x)
            track(start + len(draw.x))
    return Drawn(n_rejected, n_on_edge)
