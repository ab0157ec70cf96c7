"""Whether a file is what it should be: its checksum, its layout, and the events in it."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from replay.public.catalogue import Kind, PublicFile, public_file_of, public_file_with
from replay.public.download import Digests, Show, Track, digests_of
from replay.public.fetching import Checksum
from replay.sources.hdf5 import KEY, FeatureReader, PandasFixed
from replay.sources.particles import MAX_PARTICLES, N_VALUES, unpad
from replay.sources.reader import labels_from
from streams import InputError, Status

BLOCK_PARTICLES = 256
MAX_LABEL = 2
"""Of a key to a black box: 2 is the second decay of the third one's signal."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds.

    Args:
        kind: its layout; None for one that nothing here reads.
        n_rows: events.
        columns: their names, or how many there are without names.
        n_signal: events with a label other than 0; None where there are no labels.
        unusable: events that a source would count as bad, by reason.
        first_unusable: the row of the first of them, from 0.
    """

    kind: Kind | None
    n_rows: int = 0
    columns: tuple[str, ...] = ()
    n_signal: int | None = None
    unusable: tuple[tuple[str, int], ...] = ()
    first_unusable: int | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """What became of a look at a file.

    Args:
        path: the file.
        public: which public file it is, by its name or, failing that, by its checksum.
        digests: size and checksums.
        checksum: what they were compared with.
        content: what it holds.
        problems: why it isn't what it should be; none for a sound file.
    """

    path: Path
    public: PublicFile | None
    digests: Digests
    checksum: Checksum
    content: Content
    problems: tuple[str, ...]


def examine(
    path: Path, published: Callable[[PublicFile], Checksum], show_bytes: Show, show_events: Show
) -> Examination:
    """Returns what a file is and what is wrong with it.

    Args:
        path: the file.
        published: returns a public file's checksum.
        show_bytes: shows progress in bytes.
        show_events: shows progress in events.

    Raises:
        InputError: there is no such file, or it can't be read at all.
    """
    digests = digests_of(path, show_bytes)
    public = public_file_of(path) or public_file_with(digests.md5)
    if public is None:
        checksum = Checksum(None, "no public file has this name or checksum")
    else:
        checksum = published(public)
    problems = []
    if checksum.md5 not in (None, digests.md5):
        problems.append(f"expected the published MD5 {checksum.md5}; got {digests.md5}")
    if checksum.nbytes not in (None, digests.nbytes):
        problems.append(f"expected the published {checksum.nbytes:,} bytes; got {digests.nbytes:,}")
    try:
        with show_events(f"reading {path.name}") as track:
            content = _content_of(path, public, track)
    except InputError as error:
        content = Content(None)
        problems.append(str(error))
    else:
        problems += _misfits(content, public)
    return Examination(path, public, digests, checksum, content, tuple(problems))


def _misfits(content: Content, public: PublicFile | None) -> Iterator[str]:
    """Yields in what a readable file differs from what the catalogue says."""
    if public is None:
        return
    if content.kind != public.kind:
        yield f"expected {public.kind}; got {content.kind}"
    if public.n_rows not in (None, content.n_rows):
        yield f"expected {public.n_rows:,} events; got {content.n_rows:,}"
    has_label = content.n_signal is not None
    if public.kind != "labels" and public.has_label not in (None, has_label):
        yield (
            "expected a label column; got none"
            if public.has_label
            else "expected no label column; got one"
        )


def _content_of(path: Path, public: PublicFile | None, track: Track) -> Content:
    """Reads a whole file.

    Raises:
        InputError: it is damaged, or of no layout that is known.
    """
    if public is not None and public.kind == "labels":
        return _labels_in(path)
    with closing(PandasFixed(path, KEY)) as frame:
        if len(frame.columns) in (N_VALUES, N_VALUES + 1):
            return _particles_in(frame, track)
        columns = tuple(map(str, frame.columns))
    with closing(FeatureReader(path, KEY)) as reader:
        return _features_in(reader, columns, track)


def _features_in(reader: FeatureReader, columns: tuple[str, ...], track: Track) -> Content:
    found = _Found(reader.has_label)
    for start in range(0, reader.n_rows, reader.block_rows):
        stop = min(start + reader.block_rows, reader.n_rows)
        rows = reader.read_rows(start, stop)
        found.add(start, rows.status, rows.label)
        track(stop, reader.n_rows)
    return found.content("features", reader.n_rows, columns)


def _particles_in(frame: PandasFixed, track: Track) -> Content:
    """Looks at particles as they are: nothing is clustered."""
    has_label = len(frame.columns) > N_VALUES
    found = _Found(has_label)
    for start in range(0, frame.n_rows, BLOCK_PARTICLES):
        stop = min(start + BLOCK_PARTICLES, frame.n_rows)
        table = frame.read(frame.columns, start, stop)
        _, status = unpad(table[:, :N_VALUES].reshape(-1, MAX_PARTICLES, 3))
        where = f"the last column of {frame.path}"
        found.add(start, status, labels_from(table[:, N_VALUES], where) if has_label else None)
        track(stop, frame.n_rows)
    names = (f"{MAX_PARTICLES} x (pT, eta, phi)", *(["label"] if has_label else []))
    return found.content("particles", frame.n_rows, names)


def _labels_in(path: Path) -> Content:
    """Reads a key to a black box: one label per line."""
    try:
        lines = path.read_text("ascii").split()
        labels = np.array([float(line) for line in lines])
    except (OSError, ValueError) as error:
        raise InputError(f"expected a label per line; got {error}; at {path}") from error
    wrong = np.flatnonzero(~np.isin(labels, range(MAX_LABEL + 1)))
    if len(wrong):
        raise InputError(
            f"expected labels 0, 1 or 2; got {lines[wrong[0]]}; in line {wrong[0] + 1} of {path}"
        )
    return Content("labels", len(labels), ("label",), int((labels > 0).sum()))


class _Found:
    """Counts over the blocks of a file."""

    def __init__(self, has_label: bool) -> None:
        self._reasons: Counter[str] = Counter()
        self._first: int | None = None
        self._n_signal = 0 if has_label else None

    def add(self, start: int, status: NDArray[np.uint8], label: NDArray[np.uint8] | None) -> None:
        bad = np.flatnonzero(status >= Status.BAD_INPUT)
        self._reasons.update(Status(status[row]).name.lower() for row in bad)
        if len(bad) and self._first is None:
            self._first = start + int(bad[0])
        if label is not None and self._n_signal is not None:
            self._n_signal += int(label.sum())

    def content(self, kind: Kind, n_rows: int, columns: tuple[str, ...]) -> Content:
        reasons = tuple(self._reasons.most_common())
        return Content(kind, n_rows, columns, self._n_signal, reasons, self._first)
