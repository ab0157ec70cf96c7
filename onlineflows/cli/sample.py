"""`onlineflows sample`: events drawn from a snapshot, written to a file."""

from pathlib import Path

from onlineflows.cli.exits import DONE
from onlineflows.cli.output import Output
from onlineflows.cli.progress import progress
from onlineflows.online.snapshot import read_snapshot
from replay.sinks import open_sink

CHUNK_EVENTS = 1 << 18


def sample(snapshot: Path, target: Path, output: Output, *, n_events: int, seed: int) -> int:
    """Draws events chunk by chunk and writes them; returns the exit code."""
    density = read_snapshot(snapshot).density()
    n_rejected = 0
    with (
        open_sink(target, density.schema) as sink,
        progress("sampled", n_events, quiet=output.quiet) as track,
    ):
        for number, start in enumerate(range(0, n_events, CHUNK_EVENTS)):
            # A seed for each chunk: a longer sample begins with the shorter one.
            draw = density.draw(min(CHUNK_EVENTS, n_events - start), seed * 1_000_003 + number)
            n_rejected += draw.n_rejected
            sink.write(draw.x)
            track(start + len(draw.x))
    output.result(
        {"file": target, "n_events": n_events, "n_rejected": n_rejected, "seed": seed},
        f"{target}: {n_events:,} events ({', '.join(density.schema.names)}); "
        f"{n_rejected:,} draws outside the support were replaced",
    )
    return DONE
