"""Prescales: of the events that pass a selection, one in so many is sent, and all are counted.

Whether an event is kept is a pure function of the seed and of its index, so that a stream that is
read again, from anywhere, keeps the same ones. One random number decides for all selections: what
is kept at 1 in 100 is also kept at 1 in 10, and another selection changes nothing for the rest.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replay.settings import PrescaleConfig
from replay.sources.expressions import Expression
from replay.sources.selection import PRESCALE, random_bits
from streams.errors import InputError, nearest
from streams.ledger import UNRECORDED
from streams.rows import KEPT_ROWS
from streams.schema import EventSchema

REMEMBERED = 4096
"""Pieces whose counts can be taken back one by one."""

MAX_SELECTIONS = 100


class Prescaler:
    """Decides which events are left out.

    Args:
        prescales: the selections; an event belongs to the first one that it passes.
        schema: what the expressions are over.
        seed: seed of the decisions.

    Raises:
        InputError: a name comes twice, or an expression can't be read, isn't over the schema's
            features, or isn't one number per event.

    Example:
        >>> from streams import LHCO
        >>> one_in_two = Prescaler((PrescaleConfig("light", "mjj < 2.5", 2),), LHCO, seed=1)
        >>> x = np.full((1000, 5), 2.0, dtype=np.float32)
        >>> x[::2, 0] = 3.0
        >>> selection, keep = one_in_two.choose(np.arange(1000), x)
        >>> int(selection.sum()), bool(keep[::2].all()), int(keep[1::2].sum())
        (500, True, 267)
    """

    def __init__(
        self, prescales: Sequence[PrescaleConfig], schema: EventSchema, *, seed: int
    ) -> None:
        require_prescales(prescales, schema.names)
        self._names = schema.names
        self._seed = seed
        self._expressions = tuple(_parsed(p) for p in prescales)
        # keep = 1 needs no number: 2^64 is none of 64 bits.
        self._is_thinned = np.array([False, *(p.keep > 1 for p in prescales)])
        limits = (2**64 // p.keep if p.keep > 1 else 0 for p in prescales)
        self._below = np.array([0, *limits], dtype=np.uint64)

    @property
    def n_selections(self) -> int:
        """How many selections there are."""
        return len(self._expressions)

    def choose(
        self, index: NDArray[np.int64], x: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Returns which selection each event belongs to, from 1, or 0 for none, and whether it is
        kept; both of shape (n,).

        Args:
            index: indices in the stream, shape (n,).
            x: features, shape (n, d), in the schema's units.
        """
        columns = {name: x[:, place] for place, name in enumerate(self._names)}
        selection = np.zeros(len(x), dtype=np.uint8)
        for number in range(self.n_selections, 0, -1):
            selection[self._passes(number, columns, len(x))] = number
        keep = np.ones(len(x), dtype=np.bool_)
        rows = np.flatnonzero(self._is_thinned[selection])
        bits = random_bits(self._seed, PRESCALE, index[rows].astype(np.uint64))
        keep[rows] = bits < self._below[selection[rows]]
        return selection, keep

    def _passes(
        self, number: int, columns: dict[str, NDArray[np.float32]], n: int
    ) -> NDArray[np.bool_] | slice:
        expression = self._expressions[number - 1]
        if expression is None:
            return slice(None)
        values = expression.evaluate(columns, n).values
        passes: NDArray[np.bool_] = (values != 0.0) & ~np.isnan(values)
        return passes


def require_prescales(prescales: Sequence[PrescaleConfig], names: Sequence[str] | None) -> None:
    """Raises InputError unless prescales can be carried out.

    Args:
        prescales: the selections.
        names: the features' names; None where they aren't known yet.
    """
    if len(prescales) > MAX_SELECTIONS:
        raise InputError(f"prescales: expected at most {MAX_SELECTIONS}; got {len(prescales)}")
    known: list[str] = []
    for prescale in prescales:
        if prescale.name in known or prescale.name == UNRECORDED:
            raise InputError(
                f"prescales: expected names that differ, none of them {UNRECORDED!r}; got "
                f"{prescale.name!r}"
            )
        known.append(prescale.name)
        expression = _parsed(prescale)
        if expression is not None and names is not None:
            _require_features(prescale, expression, names)


def _require_features(
    prescale: PrescaleConfig, expression: Expression, names: Sequence[str]
) -> None:
    for unknown in sorted(expression.branches.difference(names)):
        raise InputError(
            f"prescales.{prescale.name}.select: expected features of the schema; got {unknown!r}; "
            f"{nearest(unknown, names)}"
        )
    expression.evaluate({name: np.zeros(1) for name in names}, 1)  # refuses lists


def _parsed(prescale: PrescaleConfig) -> Expression | None:
    if not prescale.select.strip():
        return None
    return Expression(prescale.select, where=f"prescales.{prescale.name}.select")


class PrescaleCounts:
    """What passed each selection and what was kept, in all and by lumisection.

    A rewind takes back what was counted from a position on; one that goes further back than is
    remembered takes back everything, and leaves events that are `UNRECORDED`, as does what another
    process has counted.

    Args:
        prescales: the selections.
    """

    def __init__(self, prescales: Sequence[PrescaleConfig]) -> None:
        self._prescales = tuple(prescales)
        self._recent: deque[tuple[int, int, NDArray[np.int64]]] = deque()
        self._forgotten_event = -1
        self._forget()

    def _forget(self) -> None:
        self._older = np.zeros((len(self._prescales), 2), dtype=np.int64)
        self._newest: dict[int, NDArray[np.int64]] = {}

    def record(
        self, first_event: int, lumisection: int, selected: NDArray[np.int64] | None
    ) -> None:
        """Counts a piece: what passed and what was kept of each selection, shape (n, 2)."""
        if selected is None:
            return
        self._add(lumisection, selected)
        self._recent.append((first_event, lumisection, selected))
        if len(self._recent) > REMEMBERED:
            self._forgotten_event = self._recent.popleft()[0]
        if len(self._newest) > KEPT_ROWS:
            self._older += self._newest.pop(min(self._newest))

    def rewind(self, next_event: int) -> None:
        """Takes back everything from an event index on."""
        while self._recent and self._recent[-1][0] >= next_event:
            _, lumisection, selected = self._recent.pop()
            self._add(lumisection, -selected)
        if next_event <= self._forgotten_event:
            self._forgotten_event = -1
            self._forget()

    def _add(self, lumisection: int, selected: NDArray[np.int64]) -> None:
        known = self._newest.get(lumisection)
        if known is None and self._newest and lumisection < min(self._newest):
            self._older += selected
        else:
            self._newest[lumisection] = selected if known is None else known + selected

    def in_brief(self) -> dict[str, tuple[int, int]]:
        """Returns what passed and what was kept, by selection."""
        rows = zip(self._prescales, self._total(), strict=True)
        return {prescale.name: (int(passed), int(kept)) for prescale, (passed, kept) in rows}

    def _total(self) -> NDArray[np.int64]:
        total: NDArray[np.int64] = self._older + sum(self._newest.values())
        return total

    def document(self, n_prescaled: int) -> dict[str, Any]:
        """Returns the counts as plain JSON types.

        Args:
            n_prescaled: events that were left out by a prescale, as the ledger says.
        """
        total = self._total()
        n_known = int((total[:, 0] - total[:, 1]).sum())
        return {
            "selections": [
                {
                    "name": prescale.name,
                    "select": prescale.select,
                    "keep": prescale.keep,
                    "passed": int(passed),
                    "kept": int(kept),
                }
                for prescale, (passed, kept) in zip(self._prescales, total, strict=True)
            ],
            UNRECORDED: n_prescaled - n_known,
            "lumisections": [
                {"lumisection": n, "passed": row[:, 0].tolist(), "kept": row[:, 1].tolist()}
                for n, row in sorted(self._newest.items())
            ],
        }
