"""A stream from files: rows in order or shuffled, thinned or not, in bounded memory."""

import contextlib
import glob
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from replay.settings import SelectionConfig
from replay.sources.clock import Timed, read_clock
from replay.sources.integrity import Stamp, describe, verify
from replay.sources.pool import PooledReader, ReaderPool
from replay.sources.reader import Reader, Rows
from replay.sources.screening import screen
from replay.sources.selection import Block, RowOrder, Thinning
from streams import Events, EventSchema, InputError, SourceFile


class FileSource:
    """A `streams.Source` over one or several files of one format.

    Args:
        readers: the files, in the order of the stream; closed with the source.
        selection: which rows, in which order.
        stamps: what the files were like before they were opened: each read is checked against
            it. Empty for files that nobody watches.

    Raises:
        InputError: the files differ in schema or labels, the row range is empty, a signal
            fraction is asked for that the labels can't give, or times make no stream.
    """

    def __init__(
        self,
        readers: Sequence[Reader],
        selection: SelectionConfig,
        stamps: Sequence[Stamp] = (),
    ) -> None:
        self._readers = tuple(readers)
        self._stamps = tuple(stamps)
        self._position = 0
        self._held: tuple[int, Rows] | None = None
        self._files: tuple[SourceFile, ...] | None = None
        _require_alike(self._readers)
        blocks = _blocks(self._readers, selection)
        self._screened = screen(self._readers, blocks)
        self._clock = read_clock(self._readers, blocks)
        self._order = RowOrder(
            blocks,
            shuffle=selection.shuffle,
            seed=selection.seed,
            group_rows=self._readers[0].shuffle_rows,
        )

    @property
    def schema(self) -> EventSchema:
        """What the events are."""
        return self._readers[0].schema

    @property
    def has_label(self) -> bool:
        """Whether the events come with truth labels."""
        return self._readers[0].has_label

    @property
    def n_events(self) -> int:
        """How many event indices the stream has."""
        return self._order.n_events

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """The files; their digests are computed at the first use."""
        if self._files is None:
            stamps = self._stamps or (None,) * len(self._readers)
            paths = [reader.path for reader in self._readers]
            self._files = tuple(map(describe, paths, stamps))
        return self._files

    def verify(self) -> Iterator[None]:
        """Reads all files again, for their digests alone; yields now and then.

        Raises:
            InputError: one has another digest than at the begin of the run, or is gone.
        """
        return verify([reader.path for reader in self._readers], self.files)

    def read(self, n: int) -> Events:
        """Returns the next events, n of them except at the end of the stream.

        Raises:
            InputError: a file is damaged there, or was changed since the run began; the position
                is unchanged.
        """
        first = self._position
        stop = min(first + n, self.n_events)
        parts = []
        while first < stop:
            rows, group_first = self._group_at(first)
            part = slice(first - group_first, min(stop - group_first, len(rows)))
            parts.append(_take(rows, part))
            first += len(parts[-1])
        rows = _join(parts, self.schema.n_features, self.has_label)
        events = Events(self._position, rows.x, rows.status, rows.label, rows.time_s)
        self._position = max(first, self._position)
        return events

    def seek(self, index: int) -> None:
        """Makes the event with this index the next one to be read.

        Raises:
            InputError: the index lies outside the stream.
        """
        if not 0 <= index <= self.n_events:
            raise InputError(
                f"expected an event index from 0 to {self.n_events}; got {index}; in "
                f"{self._readers[0].path}; are these the files and settings of the first run?"
            )
        self._position = index

    def locate(self, event: int) -> tuple[str, int]:
        """Returns the name of the file that holds an event, and its row there, from 0."""
        group, first = self._order.group_at(event)
        blocks = self._order.blocks(group)
        order = self._order.rows(group, sum(block.n_kept for block in blocks))
        row = event - first if order is None else int(order[event - first])
        for block in blocks:
            if row < block.n_kept:
                break
            row -= block.n_kept
        keep = block.keep
        kept = row if keep is None else int(np.flatnonzero(keep)[row])
        return self._readers[block.reader].path.name, block.start + kept

    def close(self) -> None:
        """Closes all files; safe to call twice."""
        self._held = None
        for reader in self._readers:
            reader.close()

    def _group_at(self, position: int) -> tuple[Rows, int]:
        """Returns the group of rows around a position and its first position."""
        group, first = self._order.group_at(position)
        if self._held is None or self._held[0] != group:
            self._held = None  # free it before the next one is read
            parts = [self._read(block) for block in self._order.blocks(group)]
            rows = _join(parts, self.schema.n_features, self.has_label)
            order = self._order.rows(group, len(rows))
            self._held = (group, rows if order is None else _take(rows, order))
        return self._held[1], first

    def _read(self, block: Block) -> Rows:
        """Returns the rows of a block, unless the file isn't what it was."""
        reader = self._readers[block.reader]
        time_s = None
        try:
            rows = reader.read_rows(block.start, block.stop, block.keep)
            if self._clock is not None and isinstance(reader, Timed):
                time_s = self._clock.arrivals(reader.read_times(block.start, block.stop), block)
        finally:
            # Also where it can't be read: that it was changed is then the better explanation.
            if self._stamps:
                where = f"rows {block.start} to {block.stop}"
                self._stamps[block.reader].require(reader.path, where)
        status = rows.status
        if self._screened is not None:
            status = self._screened.mark(status, block.first_row, block.keep)
        return Rows(rows.x, status, rows.label, time_s)


def open_files(
    paths: Sequence[str] | str, open_one: Callable[[Path], Reader], selection: SelectionConfig
) -> FileSource:
    """Returns the stream over files named by paths or patterns.

    Args:
        paths: a file name or several; ``*``, ``?`` and ``[...]`` are patterns, expanded in
            sorted order.
        open_one: opens one file.
        selection: which rows, in which order.

    Raises:
        InputError: a file is missing or can't be used; files opened before it are closed.
    """
    pool = ReaderPool(open_one)
    with contextlib.ExitStack() as opened:
        opened.callback(pool.close)
        found = find_files(paths)
        stamps = [Stamp.of(path) for path in found]
        source = FileSource([PooledReader(path, pool) for path in found], selection, stamps)
        opened.pop_all()  # from here on the source closes them
    return source


def find_files(paths: Sequence[str] | str) -> tuple[Path, ...]:
    """Returns the files that paths and patterns name, in the order given.

    Raises:
        InputError: none are given, one is missing, or a pattern fits none.
    """
    if isinstance(paths, str):
        paths = (paths,)
    if not paths:
        raise InputError("expected at least one path in source.paths; got none")
    found: list[Path] = []
    for path in paths:
        matches = [path] if Path(path).exists() else sorted(glob.glob(path, recursive=True))  # noqa: PTH207 (absolute patterns too)
        if not matches:
            raise InputError(
                f"expected an existing file or a pattern that fits one; got {path!r} "
                f"(relative paths start at {Path.cwd()}); give one with --set source.paths=..."
            )
        found.extend(Path(match) for match in matches)
    for file in found:
        if not file.is_file():
            raise InputError(f"expected a file; got the folder {str(file)!r}; name its files")
    return tuple(found)


def _require_alike(readers: Sequence[Reader]) -> None:
    if not readers:
        raise InputError("expected at least one file; got none")
    first = readers[0]
    for other in readers[1:]:
        first.schema.require_equal(other.schema, where=f"{other.path} beside {first.path}")
        if first.has_label != other.has_label:
            raise InputError(
                f"expected truth labels in all files or in none; {first.path} has them: "
                f"{first.has_label}, {other.path}: {other.has_label}"
            )


def _blocks(readers: Sequence[Reader], selection: SelectionConfig) -> list[Block]:
    """Returns the blocks of the selected rows, thinned; reads the labels once where needed."""
    blocks = _row_blocks(readers, selection)
    fraction = selection.signal_fraction
    if fraction is None:
        return blocks
    where = f"source.selection.signal_fraction for {readers[0].path}"
    if not 0.0 <= fraction <= 1.0:
        raise InputError(f"expected a fraction from 0 to 1; got {fraction}; in {where}")
    if not readers[0].has_label:
        raise InputError(f"expected truth labels to thin by; the file has none; in {where}")
    labels = [readers[b.reader].read_labels(b.start, b.stop) for b in blocks]
    n_signal = sum(int(label.sum()) for label in labels)
    n_background = sum(len(label) for label in labels) - n_signal
    if (fraction > 0.0 and n_signal == 0) or (fraction < 1.0 and n_background == 0):
        raise InputError(
            f"expected both kinds of rows; got {n_background} of background and {n_signal} of "
            f"signal; in {where} = {fraction}"
        )
    thinning = Thinning.to_fraction(fraction, n_background, n_signal)
    return [
        _thin(block, thinning.keep(label, selection.seed, block.first_row))
        for block, label in zip(blocks, labels, strict=True)
    ]


def _row_blocks(readers: Sequence[Reader], selection: SelectionConfig) -> list[Block]:
    n_rows = sum(reader.n_rows for reader in readers)
    first = selection.first_row
    end = n_rows if selection.end_row is None else min(selection.end_row, n_rows)
    if not 0 <= first < end:
        raise InputError(
            f"expected 0 <= first_row < end_row within {n_rows} rows; got "
            f"first_row={first}, end_row={selection.end_row}; in source.selection for "
            f"{readers[0].path}"
        )
    blocks = []
    offset = 0
    for number, reader in enumerate(readers):
        low, high = max(0, first - offset), min(reader.n_rows, end - offset)
        for start in range(low, high, reader.block_rows):
            stop = min(start + reader.block_rows, high)
            blocks.append(Block(number, start, stop, offset + start, stop - start))
        offset += reader.n_rows
    return blocks


def _thin(block: Block, keep: NDArray[np.bool_]) -> Block:
    return Block(
        block.reader,
        block.start,
        block.stop,
        block.first_row,
        int(keep.sum()),
        np.packbits(keep),
    )


def _take(rows: Rows, which: slice | NDArray[np.int64]) -> Rows:
    label = None if rows.label is None else rows.label[which]
    time_s = None if rows.time_s is None else rows.time_s[which]
    return Rows(rows.x[which], rows.status[which], label, time_s)


def _join(parts: Sequence[Rows], n_features: int, has_label: bool) -> Rows:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        empty = np.zeros(0, dtype=np.uint8)
        return Rows(np.zeros((0, n_features), np.float32), empty, empty if has_label else None)
    labels = [part.label for part in parts if part.label is not None]
    times = [part.time_s for part in parts if part.time_s is not None]
    return Rows(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.status for part in parts]),
        np.concatenate(labels) if has_label else None,
        np.concatenate(times) if times else None,
    )
