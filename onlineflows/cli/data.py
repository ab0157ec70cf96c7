"""`onlineflows data`: public files listed, fetched and verified, and particles made features."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import onlineflows
from onlineflows.cli.exits import DONE, FAILED
from onlineflows.cli.output import Output, require_folder
from onlineflows.cli.progress import progress
from onlineflows.errors import ConfigError
from replay.conversion import Conversion, convert
from replay.public.catalogue import CONFIGS, ZENODO, PublicFile, catalogue, find_public
from replay.public.examination import Examination, examine
from replay.public.fetching import Fetched, fetch, published_checksum
from replay.public.web import Patience, Web
from replay.settings import LhcoParticlesConfig

AGENT = f"onlineflows/{onlineflows.__version__}"
WIDTH = 170
"""Columns of a table where there is no terminal."""


def show_catalogue(output: Output) -> int:
    """Prints the public files that are known; returns the exit code."""
    table = Table(box=None, pad_edge=False)
    for title in ("name", "kind", "size", "events", "MD5", "licence", "what it is"):
        table.add_column(title, justify="right" if title in ("size", "events") else "left")
    for public in catalogue():
        table.add_row(
            public.name,
            public.kind,
            _size(public.size_mb),
            "?" if public.n_rows is None else f"{public.n_rows:,}",
            "known" if public.md5 else "asked",
            public.record.licence or "?",
            public.about,
        )
    console = Console(width=None if Console().is_terminal else WIDTH)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    readers = ", ".join(f"{kind} {config}" for kind, config in CONFIGS.items())
    lines += [
        "",
        "MD5: whether the published checksum is known here, or Zenodo is asked for it.",
        f"The configuration that reads it: {readers}.",
        "'onlineflows data fetch NAME' fetches a file; --json shows all that is known of each.",
    ]
    text = "\n".join(lines)
    output.result({"files": [_entry(public) for public in catalogue()]}, text)
    return DONE


def fetch_files(
    names: Sequence[str], output: Output, *, folder: Path, server: str, overwrite: bool
) -> int:
    """Fetches public files one after the other and prints what came; returns the exit code."""
    _require_address(server)
    wanted = [find_public(name) for name in names]
    patience = Patience()
    show = partial(progress, quiet=output.quiet, in_bytes=True)
    with Web(patience, AGENT) as web, _can_be_stopped():
        fetched = [
            fetch(
                public,
                folder,
                web,
                show,
                server=server,
                overwrite=overwrite,
                patience=patience,
            )
            for public in wanted
        ]
    documents = [_fetched_document(file) for file in fetched]
    output.result({"files": documents}, "\n\n".join(map(_fetched_text, fetched)))
    return DONE


def verify_files(paths: Sequence[Path], output: Output, *, server: str, offline: bool) -> int:
    """Looks at files and prints what they are; returns 1 if one isn't what it should be."""
    _require_address(server)
    show_bytes = partial(progress, quiet=output.quiet, in_bytes=True)
    show_events = partial(progress, quiet=output.quiet)
    with Web(Patience(connect_s=5.0, silence_s=10.0), AGENT) as web:
        asked = partial(published_checksum, web=None if offline else web, server=server)
        seen = [examine(path, asked, show_bytes, show_events) for path in paths]
    documents = [_examined_document(file) for file in seen]
    output.result({"files": documents}, "\n\n".join(map(_examined_text, seen)))
    return FAILED if any(file.problems for file in seen) else DONE


def convert_particles(
    config: LhcoParticlesConfig,
    features: Path,
    output: Output,
    *,
    jobs: int | None,
    overwrite: bool,
) -> int:
    """Clusters the jets of a particle file into a feature file; returns the exit code.

    Raises:
        ConfigError: there is no particle file, or the feature file exists already, or is that.
    """
    require_folder(features, "FEATURES")
    particles = Path(str(config.paths))
    if not particles.exists():
        raise ConfigError(f"PARTICLES: expected a file that exists; got {particles}")
    if features.exists():
        if features.samefile(particles):
            raise ConfigError(f"FEATURES: expected another file than PARTICLES; got {features}")
        if not overwrite:
            raise ConfigError(
                f"FEATURES: expected a file that doesn't exist; got {features}: give another name, "
                f"or replace it with --overwrite"
            )
    jobs = jobs or len(os.sched_getaffinity(0))
    start_s = time.perf_counter()
    with _can_be_stopped(), progress("clustered", quiet=output.quiet) as track:
        done = convert(config, features, jobs=jobs, track=track)
    elapsed_s = time.perf_counter() - start_s
    rate = (done.n_rows - done.n_resumed) / elapsed_s
    document = {
        "features": features,
        "n_rows": done.n_rows,
        "n_written": done.n_written,
        "left_out": done.left_out,
        "n_resumed": done.n_resumed,
        "has_label": done.has_label,
        "jobs": jobs,
        "elapsed_s": elapsed_s,
        "events_per_s": rate,
    }
    output.result(document, _converted_text(done, features, jobs, rate))
    return DONE


@contextmanager
def _can_be_stopped() -> Iterator[None]:
    """Says what becomes of the work when someone interrupts it."""
    try:
        yield
    except KeyboardInterrupt:
        print("stopped: the same command goes on from here", file=sys.stderr)
        raise


def _require_address(server: str) -> None:
    if not server.startswith(("https://", "http://")):
        raise ConfigError(f"--server: expected an address such as {ZENODO}; got {server!r}")


def _entry(public: PublicFile) -> dict[str, Any]:
    return {
        "name": public.name,
        "file": public.file,
        "about": public.about,
        "kind": public.kind,
        "n_rows": public.n_rows,
        "has_label": public.has_label,
        "size_mb": public.size_mb,
        "md5": public.md5,
        "licence": public.record.licence or None,
        "record": public.record.number,
        "title": public.record.title,
        "authors": public.record.authors,
        "doi": public.record.doi,
        "url": public.url(ZENODO),
        "config": public.config or None,
    }


def _fetched_document(file: Fetched) -> dict[str, Any]:
    return {
        "name": file.public.name,
        "path": file.path,
        "was_there": file.was_there,
        "nbytes": file.digests.nbytes,
        "md5": file.digests.md5,
        "sha256": file.digests.sha256,
        "published_md5": file.checksum.md5,
        "known_from": file.checksum.known_from,
    }


def _fetched_text(file: Fetched) -> str:
    public = file.public
    licence = public.record.licence or "see the record"
    done = "was there already" if file.was_there else "fetched"
    lines = [
        f"{file.path}: {file.digests.nbytes:,} bytes, {done}",
        *_checksum_lines(file),
        f"  licence {licence}; cite {public.record.authors}, doi:{public.record.doi}",
        *_next_lines(public, file.path),
    ]
    return "\n".join(lines)


def _next_lines(public: PublicFile, path: Path) -> list[str]:
    """Returns what can be done with a file."""
    replayed = f"  onlineflows run {public.config} --set source.paths={path}"
    if public.kind == "particles":
        return [f"  onlineflows data convert {path} features.h5", f"{replayed}  (slower)"]
    if public.has_label:
        return [f"{replayed} --set evaluation.paths={path}"]
    if public.kind == "features":
        return [f"  read by {public.config} without signal_fraction and [evaluation]: no labels"]
    return []


def _examined_document(file: Examination) -> dict[str, Any]:
    return {
        "path": file.path,
        "name": file.public.name if file.public else None,
        "is_sound": not file.problems,
        "problems": list(file.problems),
        "nbytes": file.digests.nbytes,
        "md5": file.digests.md5,
        "sha256": file.digests.sha256,
        "published_md5": file.checksum.md5,
        "known_from": file.checksum.known_from,
        "kind": file.content.kind,
        "n_rows": file.content.n_rows,
        "columns": list(file.content.columns),
        "n_signal": file.content.n_signal,
        "unusable": dict(file.content.unusable),
        "first_unusable_row": file.content.first_unusable,
    }


def _examined_text(file: Examination) -> str:
    content = file.content
    name = f"{file.public.name} ({file.public.about})" if file.public else "no public file"
    lines = [f"{file.path}: {name}", *_checksum_lines(file)]
    if content.kind is not None:
        label = "no labels" if content.n_signal is None else f"{content.n_signal:,} of them signal"
        lines.append(f"  {content.kind}: {content.n_rows:,} events, {label}")
        lines.append(f"  columns: {', '.join(content.columns)}")
    if content.unusable:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in content.unusable)
        lines.append(
            f"  events that can't be used, and are counted and passed over: {reasons}; the first "
            f"in row {content.first_unusable:,}"
        )
    lines += [f"  WRONG: {problem}" for problem in file.problems]
    if not file.problems:
        lines.append("  sound, as far as could be told")
    return "\n".join(lines)


def _checksum_lines(file: Fetched | Examination) -> list[str]:
    checksum, digests = file.checksum, file.digests
    if checksum.md5 is None:
        compared = f"compared with nothing: {checksum.known_from}"
    elif checksum.md5 == digests.md5:
        compared = f"as published ({checksum.known_from})"
    else:
        compared = f"not as published ({checksum.known_from})"
    return [f"  MD5 {digests.md5}, {compared}", f"  SHA-256 {digests.sha256}"]


def _converted_text(done: Conversion, features: Path, jobs: int, rate: float) -> str:
    left_out = ", ".join(f"{number:,} {reason}" for reason, number in done.left_out.items())
    processes = "1 process" if jobs == 1 else f"{jobs} processes"
    label = " and the label" if done.has_label else ""
    before = f"; {done.n_resumed:,} rows were done before" if done.n_resumed else ""
    return (
        f"{features}: {done.n_written:,} of {done.n_rows:,} events, 14 jet columns in GeV{label}\n"
        f"  left out: {left_out or 'none'}\n"
        f"  {rate:,.0f} events/s with {processes}{before}"
    )


def _size(size_mb: float | None) -> str:
    if size_mb is None:
        return "?"
    return f"{size_mb / 1000:.1f} GB" if size_mb >= 1000 else f"{size_mb:.0f} MB"
