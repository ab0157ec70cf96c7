"""Events of a source as a torch dataset: of files, of a computed stream, of arrays."""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from onlineflows.errors import ConfigError
from streams import Events, Source, Status, why_not_finite

SHARE_EVENTS = 32_768
"""Consecutive events that a worker takes before it leaves as many to each of the others."""


class SourceDataset(IterableDataset[Tensor]):
    """The selected events of a source as tensors of shape (batch_size, d), the last may be shorter.

    Each iteration reads the source from its beginning. Give batch_size=None to the DataLoader:
    batches are made here. With several workers, each reads every so many-th stretch of
    `SHARE_EVENTS` events (fewer where the source is short), so that every event comes once, in
    another order; each worker ends with a batch of its own.

    Args:
        source: an open source, which is left open; or a function that opens one, which each
            iteration, and each worker, calls for its own. Workers need the latter: copies of an
            open file share its position.
        batch_size: events of a tensor.

    Attributes:
        withheld: events of this process's newest iteration that were left out, by `streams.Status`:
            not selected, or bad for a reason.

    Raises:
        ConfigError: the batch size isn't positive; while iterating, workers were given an open
            source.
        InputError: while iterating, the source can't be read on.

    Example:
        >>> import numpy as np
        >>> from torch.utils.data import DataLoader
        >>> from onlineflows.adapters.source_dataset import SourceDataset
        >>> from streams import ArraySource, EventSchema, Feature
        >>> schema = EventSchema((Feature("m", "TeV", 0, 10), Feature("y", "", -3, 3)))
        >>> events = np.ones((2500, 2), dtype=np.float32)
        >>> dataset = SourceDataset(lambda: ArraySource(schema, events), batch_size=1000)
        >>> [tuple(x.shape) for x in DataLoader(dataset, batch_size=None)]
        [(1000, 2), (1000, 2), (500, 2)]
    """

    def __init__(self, source: Source | Callable[[], Source], *, batch_size: int = 1024) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size: expected at least 1; got {batch_size}")
        self._source = source
        self._batch_size = batch_size
        self.withheld: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        self.withheld = Counter()
        if isinstance(self._source, Source):
            if worker is not None:
                raise ConfigError(
                    f"expected a function that opens the source, for each of {worker.num_workers} "
                    "workers to call; got one that is open: use num_workers=0, or give a function"
                )
            yield from self._batches(_shares(self._source, 0, 1, self._batch_size))
            return
        source = self._source()
        number, n_workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        try:
            yield from self._batches(_shares(source, number, n_workers, self._batch_size))
        finally:
            source.close()

    def _batches(self, stream: Iterator[Events]) -> Iterator[Tensor]:
        held: NDArray[np.float32] | None = None
        for events in stream:
            good = events.x[self._is_good(events)]
            held = good if held is None else np.concatenate([held, good])
            while len(held) >= self._batch_size:
                yield torch.from_numpy(held[: self._batch_size].copy())
                held = held[self._batch_size :]
        if held is not None and len(held):
            yield torch.from_numpy(held.copy())

    def _is_good(self, events: Events) -> NDArray[np.bool_]:
        status = events.status.copy()
        no_numbers = (status == Status.GOOD) & ~np.isfinite(events.x).all(axis=1)
        status[no_numbers] = why_not_finite(events.x[no_numbers])
        is_good: NDArray[np.bool_] = status == Status.GOOD
        for reason, n in zip(*np.unique(status[~is_good], return_counts=True), strict=True):
            self.withheld[Status(reason).name.lower()] += int(n)
        return is_good


def _shares(source: Source, number: int, n_workers: int, n_read: int) -> Iterator[Events]:
    """Yields the events that belong to one of several workers, at most n_read at a time."""
    n_events = source.n_events
    share = SHARE_EVENTS if n_events is None else min(SHARE_EVENTS, -(-n_events // n_workers))
    first = number * share
    while n_events is None or first < n_events:
        source.seek(first)
        end = first + share
        while first < end:
            events = source.read(min(n_read, end - first))
            if not len(events):
                return
            yield events
            first += len(events)
        first += (n_workers - 1) * share
