"""Events as the folder of npy files that sk_cathode's demos read.

Its data preparation (https://github.com/uhh-pd-ml/sk_cathode, demos/utils/data_preparation.py)
leaves ``innerdata_*.npy`` with the events of the signal region, ends excluded, and
``outerdata_*.npy`` with all others, each split into train, val and test (a half, a sixth, a third),
as float64 rows: the resonant feature, the others, a label.
"""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from replay.sinks.atomic import AtomicSink
from replay.sinks.npy import NpyWriter
from streams import EventSchema, InputError

PARTS = ("train", "val", "test")
ENDS = (1 / 2, 2 / 3, 1)
"""Where each part ends, as a fraction of all events."""
UNKNOWN = 0
"""The label of every event: what is drawn from a density has no truth."""


class Float64NpyWriter(NpyWriter):
    """An npy file in double precision."""

    DTYPE = "<f8"


class SkCathodeFolder:
    """Splits events into the six files; they appear when the sink is closed.

    As a context manager it is closed at the end, or, if an exception passes, discarded.

    Args:
        folder: made if needed; files of these names in it are replaced.
        schema: what the events are.
        signal_region: of the resonant feature, in its unit.
        n_events: how many there will be.

    Raises:
        InputError: there is no folder to make it in, or no event can be in the region.
    """

    def __init__(
        self,
        folder: Path,
        schema: EventSchema,
        *,
        signal_region: tuple[float, float],
        n_events: int,
    ) -> None:
        low, high = signal_region
        m = schema.resonant
        if not (low < high and m.low < high and low < m.high):
            raise InputError(
                f"expected a signal region inside the support of {m.label}, [{m.low:g}, "
                f"{m.high:g}]; got [{low:g}, {high:g}]"
            )
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"expected a folder to write to; got {error}") from error
        self._region = signal_region
        self._ends = [round(n_events * end) for end in ENDS]
        self._n_events = 0
        self._no_events = np.empty((0, schema.n_features), np.float32)
        # By region (1 inside, 0 outside) and part.
        self._names = {
            (inside, part): f"{kind}data_{name}.npy"
            for inside, kind in enumerate(("outer", "inner"))
            for part, name in enumerate(PARTS)
        }
        self._sinks = {
            name: AtomicSink(folder / name, schema, Float64NpyWriter)
            for name in self._names.values()
        }
        self.n_written = dict.fromkeys(self._sinks, 0)

    def write(self, x: NDArray[np.float32]) -> None:
        """Appends events, shape (n, d), in the schema's units.

        Raises:
            InputError: the disk is full or not writable.
        """
        index = self._n_events + np.arange(len(x))
        part = np.searchsorted(self._ends, index, side="right")
        low, high = self._region
        inside = (x[:, 0] > low) & (x[:, 0] < high)
        for (is_inside, number), name in self._names.items():
            self._append(name, x[(inside == is_inside) & (part == number)])
        self._n_events += len(x)

    def close(self) -> None:
        """Completes all files.

        Raises:
            InputError: the disk is full or not writable.
        """
        for name in self._sinks:
            self._append(name, self._no_events)  # an empty part has its columns, too
        with ExitStack() as stack:
            for sink in self._sinks.values():
                stack.callback(sink.close)

    def discard(self) -> None:
        """Removes the unfinished files."""
        for sink in self._sinks.values():
            sink.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _append(self, name: str, x: NDArray[np.float32]) -> None:
        self._sinks[name].write(x, np.full(len(x), UNKNOWN, np.uint8))
        self.n_written[name] += len(x)
