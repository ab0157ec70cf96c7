"""When the rows of files were recorded: an expression's values become the stream's own time.

The stream's time begins with its first event and never falls. Where the recorded time falls, say
because another run begins, the next event comes at once, and time goes on from there; an event
without a time comes with the one before it. Both are counted. All times are read once when the
files are opened, so that those of any block are known without the blocks before it, whatever
part of the stream is read.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from replay.sources.reader import Reader
from replay.sources.selection import Block
from streams import InputError

log = logging.getLogger(__name__)

LARGEST_SHARE_OF_FALLS = 0.1
"""Recorded times that fall more often aren't those of a stream."""

Times = NDArray[np.float64]


@runtime_checkable
class Timed(Protocol):
    """A reader whose rows may have times."""

    @property
    def time_step_s(self) -> float | None:
        """Length of the clock's steps, 0 for none; None where rows have no times."""
        ...

    def read_times(self, start: int, stop: int) -> Times:
        """Returns when rows start to stop were recorded, in seconds, shape (stop - start,); NaN
        where that isn't known.

        Raises:
            InputError: the file is damaged there.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """Turns recorded times into the stream's own, block by block.

    Args:
        step_s: length of the recorded clock's steps; 0 for times that are taken as they are.
        first_row: number of each block's first row, ascending, shape (n_blocks,).
        arrived_s: the stream's time at the row before each block, and at the last row.
        recorded_s: the recorded time of that row; NaN before the first.
        step_row: first row of each step of the recorded clock, and one past the last row; empty
            where `step_s` is 0.
    """

    step_s: float
    first_row: NDArray[np.int64]
    arrived_s: Times
    recorded_s: Times
    step_row: NDArray[np.int64]

    def arrivals(self, times: Times, block: Block) -> Times:
        """Returns the stream's time at each kept row of a block, never falling.

        Args:
            times: when its rows were recorded, kept or not, shape (stop - start,).
            block: which one.
        """
        place = int(self.first_row.searchsorted(block.first_row))
        steps = np.diff(self.spread(times, place))
        arrivals: Times = self.arrived_s[place] + np.cumsum(_rises(steps))
        keep = block.keep
        return arrivals if keep is None else arrivals[keep]

    def spread(self, times: Times, place: int) -> Times:
        """Returns the recorded times of the row before a block and of its rows, shape (n + 1,).

        Where there is none, it is that of the row before. Those of one step of the clock are spread
        evenly over it.

        Args:
            times: as recorded, shape (n,).
            place: number of the block.
        """
        filled = _filled(times, float(self.recorded_s[place]))
        if not self.step_s:
            return filled
        row = self.first_row[place] - 1 + np.arange(len(filled))
        step = np.maximum(self.step_row.searchsorted(row, side="right") - 1, 0)
        first, end = self.step_row[step], self.step_row[step + 1]
        spread: Times = filled + self.step_s * (row - first) / (end - first)
        return spread


def read_clock(readers: Sequence[Reader], blocks: Sequence[Block]) -> Clock | None:
    """Returns the clock of a stream; None where its rows have no times.

    Args:
        readers: the files.
        blocks: all blocks, in the order of the files.

    Raises:
        InputError: no row has a time, times fall too often, or a file is damaged.
    """
    first = readers[0]
    if not isinstance(first, Timed) or first.time_step_s is None:
        return None
    clock = Clock(
        first.time_step_s,
        np.array([block.first_row for block in blocks], dtype=np.int64),
        np.zeros(len(blocks) + 1),
        np.full(len(blocks) + 1, np.nan),
        _steps(readers, blocks) if first.time_step_s else np.zeros(0, dtype=np.int64),
    )
    n_rows = n_falls = n_without = 0
    for place, (_, times) in enumerate(_times(readers, blocks)):
        steps = np.diff(clock.spread(times, place))
        clock.arrived_s[place + 1] = clock.arrived_s[place] + _rises(steps).sum()
        clock.recorded_s[place + 1] = _filled(times, float(clock.recorded_s[place]))[-1]
        n_rows += len(times)
        n_falls += int(np.count_nonzero(steps < 0.0))
        n_without += int(np.count_nonzero(~np.isfinite(times)))
    _judge(readers[0], n_rows, n_falls, n_without, float(clock.arrived_s[-1]))
    return clock


def _judge(reader: Reader, n_rows: int, n_falls: int, n_without: int, length_s: float) -> None:
    """Says what was found; refuses times that can't be those of a stream."""
    where = f"source.time for {reader.path}"
    if n_without == n_rows:
        raise InputError(
            f"expected times in seconds; got a number for none of {n_rows:,} rows; in {where}"
        )
    if n_falls > LARGEST_SHARE_OF_FALLS * n_rows:
        raise InputError(
            f"expected times that rise from row to row; they fall {n_falls:,} times in {n_rows:,} "
            f"rows; in {where}; sort the rows by time, or take a coarser clock, such as "
            f"luminosityBlock * 23.31 with source.time_step_s = 23.31"
        )
    doubtful = n_falls or n_without
    log.log(
        logging.WARNING if doubtful else logging.INFO,
        "recorded times: %d rows in %.3f s; times fall %d times, %d rows have none",
        n_rows,
        length_s,
        n_falls,
        n_without,
    )


def _times(readers: Sequence[Reader], blocks: Sequence[Block]) -> Iterator[tuple[Block, Times]]:
    for block in blocks:
        reader = readers[block.reader]
        if not isinstance(reader, Timed):
            raise InputError(f"expected times; got none; at {reader.path}")
        yield block, reader.read_times(block.start, block.stop)


def _steps(readers: Sequence[Reader], blocks: Sequence[Block]) -> NDArray[np.int64]:
    """Returns the first row of each step of a clock, and one past the last row: 8 bytes each."""
    steps = [np.array([blocks[0].first_row])]
    before = np.nan
    for block, times in _times(readers, blocks):
        filled = _filled(times, before)
        is_new = (filled[1:] != filled[:-1]) & ~np.isnan(filled[1:])
        is_new[0] &= block is not blocks[0]  # which begins with a step in any case
        steps.append(block.first_row + np.flatnonzero(is_new))
        before = float(filled[-1])
    last = blocks[-1]
    return np.concatenate([*steps, [last.first_row + last.stop - last.start]]).astype(np.int64)


def _filled(times: Times, before: float) -> Times:
    """Returns a time and those behind it, with the last known one where there is none."""
    known = np.concatenate([[before], times])
    place = np.where(np.isfinite(known), np.arange(len(known)), 0)
    filled: Times = known[np.maximum.accumulate(place)]
    return filled


def _rises(steps: Times) -> Times:
    """Returns steps of time where it rises, 0 where it falls or begins."""
    rises: Times = np.where(steps > 0.0, steps, 0.0)
    return rises
