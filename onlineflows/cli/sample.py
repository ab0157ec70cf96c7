"""`onlineflows sample`: events drawn from a snapshot, written to a file."""

from pathlib import Path

from onlineflows.cli.chosen import chosen_density
from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output
from onlineflows.cli.progress import progress
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
    n_rejected = n_on_edge = 0
    with (
        open_sink(target, density.schema) as sink,
        progress("sampled", n_events, quiet=output.quiet) as track,
    ):
        for number, start in enumerate(range(0, n_events, CHUNK_EVENTS)):
            # A seed for each chunk: a longer sample begins with the shorter one.
            draw = density.draw(min(CHUNK_EVENTS, n_events - start), seed * 1_000_003 + number)
            n_rejected += draw.n_rejected
            n_on_edge += draw.n_on_edge
            sink.write(draw.x)
            track(start + len(draw.x))
    document = {"file": target, "n_events": n_events, "n_rejected": n_rejected, "seed": seed}
    output.result(
        document | {"n_on_edge": n_on_edge},
        f"{target}: {n_events:,} events ({', '.join(density.schema.names)}); {n_on_edge:,} of them "
        f"exactly on an edge of the support, {n_rejected:,} draws that were not finite replaced",
    )
    return DONE
