"""Events that can't be used: counted by reason, and some of them kept for inspection."""

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from replay.settings import QuarantineConfig
from streams.errors import InputError
from streams.ledger import UNRECORDED
from streams.schema import EventSchema
from streams.source import Status

log = logging.getLogger(__name__)

REMEMBERED = 4096
"""Pieces with bad events whose counts can be taken back one by one."""


@runtime_checkable
class Located(Protocol):
    """A source that can say where an event comes from."""

    def locate(self, event: int) -> tuple[str, int]:
        """Returns the name of the file that holds an event, and its row there, from 0."""
        ...


def reasons_of(status: NDArray[np.uint8]) -> dict[str, int]:
    """Returns how many events are bad, by reason.

    Args:
        status: one `streams.Status` for each event, shape (n,).

    Example:
        >>> reasons_of(np.array([0, 4, 1, 4, 6], dtype=np.uint8))
        {'not_a_number': 2, 'too_large': 1}
    """
    counts = np.bincount(status, minlength=len(Status))
    return {s.name.lower(): int(counts[s]) for s in Status if s.is_bad and counts[s]}


class BadEvents:
    """Counts by reason of the bad events before a producer's position.

    A rewind takes back what it counted from a position on. One that goes further back than is
    remembered, or behind the beginning of this process, leaves events whose reason is
    `UNRECORDED`: the sum is that of the ledger, always.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[int, Mapping[str, int]]] = deque()
        self._before: dict[str, int] = {}
        self._before_event = 0

    def record(self, first_event: int, reasons: Mapping[str, int]) -> None:
        """Counts the bad events of the piece that begins at an event index."""
        if not reasons:
            return
        self._recent.append((first_event, reasons))
        if len(self._recent) > REMEMBERED:
            self._before_event, oldest = self._recent.popleft()
            self._before = _sum(self._before, oldest)

    def rewind(self, next_event: int) -> None:
        """Forgets everything from an event index on."""
        while self._recent and self._recent[-1][0] >= next_event:
            self._recent.pop()
        if self._before and next_event <= self._before_event:
            self._before = {}

    def document(self, n_bad: int) -> dict[str, int]:
        """Returns the number of bad events by reason.

        Args:
            n_bad: how many there are, as the ledger says.
        """
        total = self._before
        for _, reasons in self._recent:
            total = _sum(total, reasons)
        unrecorded = n_bad - sum(total.values())
        return total if not unrecorded else _sum(total, {UNRECORDED: unrecorded})


class Quarantine:
    """Keeps the first bad events of a stream in a Parquet file that only its owner may read.

    The columns are ``event`` (index in the stream), ``reason``, ``file``, ``row`` and the
    schema's features as far as they could be computed. The file appears complete or not at all;
    it is written anew at the end of each lumisection that brought something, and at the end of the
    run. A disk that refuses costs the file, not the run.

    Args:
        config: where to, and how many events.
        schema: the features.
        epoch: the run; a file of another one is not overwritten.
        locate: says where an event comes from; None for a computed stream.

    Raises:
        InputError: there is a file of another run, or the folder can't be written.
    """

    def __init__(
        self,
        config: QuarantineConfig,
        schema: EventSchema,
        *,
        epoch: str,
        locate: Callable[[int], tuple[str, int]] | None,
    ) -> None:
        self._path = Path(config.path)
        self._limit = config.limit
        self._schema = schema
        self._epoch = epoch
        self._locate = locate
        self._rows: list[dict[str, Any]] = self._earlier()
        self._taken_to = self._rows[-1]["event"] + 1 if self._rows else 0
        self._is_saved = False
        self._warned = False
        try:
            self._write()
        except OSError as error:
            raise InputError(
                f"quarantine.path: expected a file that can be written; got {error}"
            ) from error

    @property
    def n_events(self) -> int:
        """Events kept so far."""
        return len(self._rows)

    def take(self, first_event: int, x: NDArray[np.float32], status: NDArray[np.uint8]) -> None:
        """Keeps the bad ones of consecutive events, unless they were here before.

        Args:
            first_event: index of the first.
            x: features, shape (n, d).
            status: one `streams.Status` each, shape (n,).
        """
        room = self._limit - len(self._rows)
        if room <= 0:
            return
        bad = np.flatnonzero(status >= int(Status.BAD_INPUT))
        bad = bad[bad >= self._taken_to - first_event][:room]
        for row in bad.tolist():
            event = first_event + row
            file, number = self._locate(event) if self._locate else ("", -1)
            values = dict(zip(self._schema.names, x[row].tolist(), strict=True))
            reason = Status(int(status[row])).name.lower()
            kept = {"event": event, "reason": reason, "file": file, "row": number}
            self._rows.append({**kept, "values": values})
            self._taken_to = event + 1
            self._is_saved = False

    def save(self) -> None:
        """Writes the file if there is anything new."""
        if self._is_saved:
            return
        try:
            self._write()
        except OSError as error:
            if not self._warned:
                log.error("bad events can't be kept at %s: %s; the run goes on", self._path, error)
            self._warned = True

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {
            "event": pa.array([r["event"] for r in self._rows], pa.int64()),
            "reason": pa.array([r["reason"] for r in self._rows], pa.string()),
            "file": pa.array([r["file"] for r in self._rows], pa.string()),
            "row": pa.array([r["row"] for r in self._rows], pa.int64()),
        }
        for name in self._schema.names:
            columns[name] = pa.array([r["values"][name] for r in self._rows], pa.float32())
        table = pa.table(columns, metadata={"epoch": self._epoch})
        temporary = self._path.with_name(f".{self._path.name}.partial")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                pq.write_table(table, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)
        self._is_saved = True

    def _earlier(self) -> list[dict[str, Any]]:
        """What an earlier attempt at the same run has left."""
        if not self._path.exists():
            return []
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(self._path)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(
                f"quarantine.path: expected no file, or one of this run; got {error}; at "
                f"{self._path}"
            ) from error
        if (table.schema.metadata or {}).get(b"epoch") != self._epoch.encode():
            raise InputError(
                f"quarantine.path: expected no file, or one of this run; got another run's; at "
                f"{self._path}; move it away or choose another"
            )
        names = ("event", "reason", "file", "row")
        return [
            {**{n: r[n] for n in names}, "values": {n: r[n] for n in self._schema.names}}
            for r in table.to_pylist()
        ]


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
