"""The bounded buffers that events live in while they last.

A buffer is fed preprocessed events and yields the mini-batches that become due. Its size in bytes
is fixed at construction. What it yields is a pure function of the configuration, the seed and the
events in their order: neither the sizes of the feeds nor a restart from `state` changes it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import CheckpointError
from onlineflows.settings import BufferConfig, require_sizes_that_fit

Events = NDArray[np.float32]


class Buffer(ABC):
    """Holds a bounded number of events and yields mini-batches of fresh and remembered ones.

    Every mini-batch holds `n_fresh` events that are used for the first time, so that an event is
    trained on as soon as `n_fresh` of them have arrived.
    """

    n_fresh: int
    """Fresh events in each mini-batch."""
    n_fed: int
    """Events fed so far."""
    n_first_used: int
    """Events that have been in a mini-batch at least once."""
    n_uses: int
    """Events yielded so far, repeats included."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of the event store; constant for life."""

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Events that it holds at most."""

    @property
    def fill(self) -> float:
        """Share of the capacity that holds events, from 0 to 1."""
        return min(1.0, self.n_fed / self.capacity)

    @abstractmethod
    def feed(self, z: Events) -> Iterator[Events]:
        """Takes events in and yields each mini-batch as it becomes due.

        The iterator must be exhausted. Yielded arrays are the caller's.

        Args:
            z: preprocessed events, shape (n, d).
        """

    @abstractmethod
    def drain(self) -> Iterator[Events]:
        """Yields the mini-batches that are still owed once the stream has ended."""

    @abstractmethod
    def state(self) -> dict[str, NDArray[np.generic]]:
        """Returns everything a restart needs, as named arrays of fixed sizes."""

    @abstractmethod
    def load(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Takes up the state that another buffer of the same configuration returned.

        Raises:
            CheckpointError: the state is of another configuration.
        """

    def _load_arrays(
        self, state: Mapping[str, NDArray[np.generic]], into: Mapping[str, NDArray[np.generic]]
    ) -> None:
        for name, target in into.items():
            found = state.get(name)
            if found is None or found.shape != target.shape or found.dtype != target.dtype:
                got = "nothing" if found is None else f"{found.dtype} {found.shape}"
                raise CheckpointError(
                    f"buffer state {name!r}: expected {target.dtype} {target.shape}; got {got}"
                )
        for name, target in into.items():
            target[...] = state[name]


class WindowBuffer(Buffer):
    """A window over the newest events in which each event is used exactly `uses` times.

    The stream is cut into segments of `capacity // uses` events; the window holds the newest
    `uses` of them. While a segment arrives, lane 0 uses its events in the order of arrival, and
    lane j goes once through segment (current - j) in a random order of its own. A mini-batch takes
    the same number of events from each lane, so it mixes the present with the recent past, and an
    event has been used once for every lane when its segment is overwritten.

    Args:
        n_features: features of an event.
        capacity: events in the window.
        uses: uses of each event.
        batch_size: events of a mini-batch once all lanes are running.
        seed: seed of the random orders.
    """

    def __init__(
        self, n_features: int, *, capacity: int, uses: int, batch_size: int, seed: int
    ) -> None:
        require_sizes_that_fit(BufferConfig("window", capacity, uses), batch_size)
        self.n_fresh = batch_size // uses
        self.n_fed = self.n_first_used = self.n_uses = 0
        self._uses = uses
        self._seed = seed
        self._segment_events = capacity // uses // self.n_fresh * self.n_fresh
        # Slot s % uses holds segment s.
        self._store = np.zeros((uses, self._segment_events, n_features), dtype=np.float32)
        self._orders: dict[tuple[int, int], NDArray[np.intp]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the event store; constant for life."""
        return self._store.nbytes

    @property
    def capacity(self) -> int:
        """Events in the window."""
        return self._uses * self._segment_events

    def feed(self, z: Events) -> Iterator[Events]:
        """Takes events in and yields each mini-batch as it becomes due."""
        start = 0
        while start < len(z):
            segment, position = divmod(self.n_fed, self._segment_events)
            room = self.n_fresh - position % self.n_fresh
            part = z[start : start + room]
            self._write(segment, slice(position, position + len(part)), part)
            self.n_fed += len(part)
            start += len(part)
            if len(part) == room:
                yield self._mini_batch(segment, position + room - self.n_fresh)

    def drain(self) -> Iterator[Events]:
        """Yields the mini-batches that are still owed once the stream has ended."""
        segment, position = divmod(self.n_first_used, self._segment_events)
        last = (self.n_fed - 1) // self._segment_events if self.n_fed else -1
        while segment <= last + self._uses - 1:
            for tick in range(position, self._segment_events, self.n_fresh):
                batch = self._mini_batch(segment, tick)
                if len(batch):
                    yield batch
            segment, position = segment + 1, 0

    def _length(self, segment: int) -> int:
        """Events that have arrived of a segment."""
        return min(max(self.n_fed - segment * self._segment_events, 0), self._segment_events)

    def _mini_batch(self, segment: int, position: int) -> Events:
        """Collects what every lane owes for this position of the current segment."""
        end = position + self.n_fresh
        fresh = self._read(segment, slice(position, min(end, self._length(segment))))
        lanes = [fresh]
        for lane in range(1, self._uses):
            past = segment - lane
            if past >= 0 and self._length(past):
                lanes.append(self._read(past, self._order(past, lane)[position:end]))
        self.n_first_used += len(fresh)
        batch = self._join(lanes)
        self.n_uses += len(batch)
        return batch

    def _write(self, segment: int, rows: slice, part: Events) -> None:
        self._store[segment % self._uses, rows] = part

    def _read(self, segment: int, rows: slice | NDArray[np.intp]) -> Events:
        found: Events = self._store[segment % self._uses][rows]
        return found

    def _join(self, lanes: list[Events]) -> Events:
        return np.concatenate(lanes)

    def _order(self, segment: int, lane: int) -> NDArray[np.intp]:
        """The random order in which a lane goes through a segment; a pure function of the seed."""
        if (segment, lane) not in self._orders:
            # One order per lane is in use at any time: forget the lane's previous one.
            self._orders = {k: v for k, v in self._orders.items() if k[1] != lane}
            rng = np.random.default_rng((self._seed, segment, lane))
            self._orders[segment, lane] = rng.permutation(self._length(segment))
        return self._orders[segment, lane]

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Returns everything a restart needs, as named arrays of fixed sizes."""
        counters = np.array([self.n_fed, self.n_first_used, self.n_uses], dtype=np.int64)
        return {"store": self._store.copy(), "counters": counters}

    def load(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Takes up the state that another buffer of the same configuration returned."""
        counters = np.zeros(3, dtype=np.int64)
        self._load_arrays(state, {"store": self._store, "counters": counters})
        self.n_fed, self.n_first_used, self.n_uses = (int(c) for c in counters)
        self._orders = {}


class ReservoirBuffer(Buffer):
    """A uniform sample of all events seen (Vitter 1985, algorithm R), mixed with fresh ones.

    A mini-batch holds `batch_size // uses` fresh events, each used once, and random draws (with
    replacement) from the reservoir. An event is used `uses` times on average over the stream.

    Args:
        n_features: features of an event.
        capacity: events in the reservoir.
        uses: mean number of uses of an event.
        batch_size: events of a mini-batch.
        seed: seed of the draws.
    """

    def __init__(
        self, n_features: int, *, capacity: int, uses: int, batch_size: int, seed: int
    ) -> None:
        require_sizes_that_fit(BufferConfig("reservoir", capacity, uses), batch_size)
        self.n_fresh = batch_size // uses
        self.n_fed = self.n_first_used = self.n_uses = 0
        self._n_remembered = self.n_fresh * (uses - 1)
        self._seed = seed
        self._store = np.zeros((capacity, n_features), dtype=np.float32)
        self._fresh = np.zeros((self.n_fresh, n_features), dtype=np.float32)
        self._use_counts = np.zeros(capacity, dtype=np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of the event store; constant for life."""
        return self._store.nbytes + self._fresh.nbytes + self._use_counts.nbytes

    @property
    def capacity(self) -> int:
        """Events in the reservoir."""
        return len(self._store)

    @property
    def use_counts(self) -> NDArray[np.int64]:
        """How often each event in the reservoir has been used, shape (events held,)."""
        return self._use_counts[: min(self.n_first_used, len(self._store))].copy()

    def feed(self, z: Events) -> Iterator[Events]:
        """Takes events in and yields each mini-batch as it becomes due."""
        start = 0
        while start < len(z):
            position = self.n_fed % self.n_fresh
            part = z[start : start + self.n_fresh - position]
            self._fresh[position : position + len(part)] = part
            self.n_fed += len(part)
            start += len(part)
            if self.n_fed % self.n_fresh == 0:
                yield self._mini_batch(self.n_fresh)

    def drain(self) -> Iterator[Events]:
        """Yields the incomplete last mini-batch, if there is one."""
        waiting = self.n_fed - self.n_first_used
        if waiting:
            yield self._mini_batch(waiting)

    def _mini_batch(self, n_fresh: int) -> Events:
        # One generator per mini-batch: nothing but counters has to survive a restart.
        rng = np.random.default_rng((self._seed, self.n_first_used))
        held = min(self.n_first_used, len(self._store))
        rows = rng.integers(held, size=self._n_remembered if held else 0)
        np.add.at(self._use_counts, rows, 1)
        batch: Events = np.concatenate([self._fresh[:n_fresh], self._store[rows]])
        self._remember(self._fresh[:n_fresh], rng)
        self.n_uses += len(batch)
        return batch

    def _remember(self, fresh: Events, rng: np.random.Generator) -> None:
        """Offers fresh events to the reservoir: the t-th event of the stream enters slot s if s
        drawn uniformly from 0..t-1 is one of the slots (Vitter 1985, algorithm R).
        """
        capacity = len(self._store)
        ordinals = np.arange(self.n_first_used, self.n_first_used + len(fresh))
        slots = np.where(ordinals < capacity, ordinals, rng.integers(np.maximum(ordinals + 1, 1)))
        enters = slots < capacity
        # Assignment in order: where two fresh events meet in a slot the later one stays.
        self._store[slots[enters]] = fresh[enters]
        self._use_counts[slots[enters]] = 1
        self.n_first_used += len(fresh)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Returns everything a restart needs, as named arrays of fixed sizes."""
        return {
            "store": self._store.copy(),
            "fresh": self._fresh.copy(),
            "use_counts": self._use_counts.copy(),
            "counters": np.array([self.n_fed, self.n_first_used, self.n_uses], dtype=np.int64),
        }

    def load(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Takes up the state that another buffer of the same configuration returned."""
        counters = np.zeros(3, dtype=np.int64)
        self._load_arrays(
            state,
            {
                "store": self._store,
                "fresh": self._fresh,
                "use_counts": self._use_counts,
                "counters": counters,
            },
        )
        self.n_fed, self.n_first_used, self.n_uses = (int(c) for c in counters)


def make_buffer(config: BufferConfig, n_features: int, *, batch_size: int, seed: int) -> Buffer:
    """Returns the buffer that the configuration asks for, empty.

    Raises:
        ConfigError: capacity, uses and batch size don't fit together.
    """
    kinds = {"window": WindowBuffer, "reservoir": ReservoirBuffer}
    return kinds[config.kind](
        n_features, capacity=config.capacity, uses=config.uses, batch_size=batch_size, seed=seed
    )
