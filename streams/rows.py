"""Counters of lumisections that are over, in bounded memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from streams.messages import Counts
from streams.protocol import counts_to_dict

KEPT_ROWS = 512
"""Lumisections that keep a row of their own."""


@dataclass(frozen=True, slots=True)
class Row:
    """The counters of one lumisection, or of several consecutive ones.

    Rows of disjoint sets of events add up; the addition is associative and commutative.
    """

    lumisection: int
    last_lumisection: int
    counts: Counts = field(default_factory=Counts)
    trained: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    lost: int = 0
    unaccounted: int = 0
    live_ns: int = 0
    dead_ns: int = 0

    def __add__(self, other: Self) -> "Row":
        return Row(
            lumisection=min(self.lumisection, other.lumisection),
            last_lumisection=max(self.last_lumisection, other.last_lumisection),
            counts=self.counts + other.counts,
            trained=self.trained + other.trained,
            skipped=add_reasons(self.skipped, other.skipped),
            lost=self.lost + other.lost,
            unaccounted=self.unaccounted + other.unaccounted,
            live_ns=self.live_ns + other.live_ns,
            dead_ns=self.dead_ns + other.dead_ns,
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the row as plain JSON types."""
        return {
            "lumisection": self.lumisection,
            "last_lumisection": self.last_lumisection,
            **counts_to_dict(self.counts),
            "trained": self.trained,
            "skipped": dict(sorted(self.skipped.items())),
            "lost": self.lost,
            "unaccounted": self.unaccounted,
            "live_ns": self.live_ns,
            "dead_ns": self.dead_ns,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Returns the row that `to_dict` described."""
        rest = dict(document)
        counts = Counts(**{name: rest.pop(name) for name in Counts.__struct_fields__})
        return cls(counts=counts, **rest)


def add_reasons(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    """Returns counters by reason, added.

    Example:
        >>> add_reasons({"non_finite": 1}, {"non_finite": 2, "out_of_support": 3})
        {'non_finite': 3, 'out_of_support': 3}
    """
    return {reason: a.get(reason, 0) + b.get(reason, 0) for reason in sorted({*a, *b})}


class Rows:
    """Rows by lumisection; beyond the newest few they are added into one.

    Merging is associative and commutative for rows of disjoint sets of events.

    Args:
        keep: how many lumisections keep a row of their own.

    Attributes:
        newest: these rows, by lumisection.
        older: the sum of all others, None where there are none.
    """

    def __init__(self, *, keep: int = KEPT_ROWS) -> None:
        self._keep = keep
        self.newest: dict[int, Row] = {}
        self.older: Row | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Row]:
        if self.older is not None:
            yield self.older
        yield from (self.newest[n] for n in sorted(self.newest))

    def add(self, row: Row) -> None:
        """Adds the row of one lumisection to what is known of it."""
        if self.older is not None and row.lumisection <= self.older.last_lumisection:
            self.older += row
            return
        known = self.newest.get(row.lumisection)
        self.newest[row.lumisection] = row if known is None else known + row
        while len(self.newest) > self._keep:
            self._absorb(min(self.newest))

    def _absorb(self, lumisection: int) -> None:
        row = self.newest.pop(lumisection)
        self.older = row if self.older is None else self.older + row

    def drop_from(self, lumisection: int) -> None:
        """Forgets the rows of this lumisection and of all after it that have one of their own."""
        self.newest = {n: row for n, row in self.newest.items() if n < lumisection}

    def merge(self, other: Self) -> "Rows":
        """Returns the rows of both."""
        merged = Rows(keep=self._keep)
        older = [rows.older for rows in (self, other) if rows.older is not None]
        if older:
            merged.older = older[0] if len(older) == 1 else older[0] + older[1]
        for rows in (self, other):
            for row in rows.newest.values():
                merged.add(row)
        return merged

    def total(self) -> Row:
        """Returns the sum of all rows."""
        total = Row(1, 1)
        for row in self:
            total += row
        return total

    def to_dict(self) -> dict[str, Any]:
        """Returns the rows as plain JSON types, oldest first."""
        return {
            "older": None if self.older is None else self.older.to_dict(),
            "rows": [self.newest[n].to_dict() for n in sorted(self.newest)],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], *, keep: int = KEPT_ROWS) -> Self:
        """Returns the rows that `to_dict` described."""
        rows = cls(keep=keep)
        if document["older"] is not None:
            rows.older = Row.from_dict(document["older"])
        for row in document["rows"]:
            rows.add(Row.from_dict(row))
        return rows
