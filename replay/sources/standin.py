"""The stand-in: a closed-form density that looks like the LHC Olympics, sampled without end.

Background and signal are Gaussian mixtures with full covariances in the unbounded coordinates
u = log((x - low) / (high - x)) of the features' supports in `streams.LHCO`, fitted once to real
events by `replay.sources.standin_fit` and shipped as ``standin.json``. Samples always lie inside
the support, and the density (`replay.sources.standin_density`) is exactly normalised on it.
"""

import functools
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from replay.settings import StandinConfig
from streams import LHCO, Events, EventSchema, InputError, SourceFile, Status

BLOCK_EVENTS = 32_768
"""Events are generated in blocks of this size, each from a generator of its own: the events at
an index don't depend on how the stream is read. Changing it changes the stream."""

STREAM, TEST_BACKGROUND, TEST_SIGNAL = 0, 1, 2
"""The uses of a seed; each has random numbers of its own, so that test events are new even
where stream and test set are given the same seed."""

CONSTANTS = "standin.json"


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """A Gaussian mixture of K components over d unbounded coordinates u.

    Args:
        weights: shape (K,), sum 1.
        means: shape (K, d).
        cholesky: lower triangular factors of the covariances, shape (K, d, d).
    """

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    cholesky: NDArray[np.float64]

    @classmethod
    def from_document(cls, components: list[Mapping[str, Any]]) -> Self:
        """Returns the mixture of components given by weight, mean and covariance."""
        weights = np.array([c["weight"] for c in components])
        covariances = np.array([c["covariance"] for c in components])
        return cls(
            weights / weights.sum(),
            np.array([c["mean"] for c in components]),
            np.linalg.cholesky(covariances),
        )

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True, slots=True, eq=False)
class StandinConstants:
    """What ``standin.json`` holds: one mixture for each kind of event."""

    background: Mixture
    signal: Mixture


@functools.cache
def standin_constants() -> StandinConstants:
    """Returns the shipped constants."""
    text = importlib.resources.files("replay.sources").joinpath(CONSTANTS).read_text("utf-8")
    document = json.loads(text)
    LHCO.require_equal(EventSchema.from_dict(document["schema"]), where=CONSTANTS)
    return StandinConstants(
        background=Mixture.from_document(document["background"]["components"]),
        signal=Mixture.from_document(document["signal"]["components"]),
    )


def to_unbounded(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns u = log((x - low) / (high - x)) of events inside the open support of LHCO.

    Args:
        x: features, shape (n, 5), in the schema's units.
    """
    u: NDArray[np.float64] = np.log((x - LHCO.low) / (LHCO.high - x))
    return u


def log_abs_det(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns log |det du/dx| at the events whose unbounded coordinates are u, shape (n,).

    With the logistic function s, du/dx = 1 / ((high - low) s(u) s(-u)).
    """
    magnitude = np.abs(u)
    per_feature = magnitude + 2 * np.log1p(np.exp(-magnitude)) - np.log(LHCO.high - LHCO.low)
    result: NDArray[np.float64] = per_feature.sum(axis=1)
    return result


def sample_events(
    mixture: Mixture, n: int, generator: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Returns n independent events in random order and the component that each came from.

    Counts per component are multinomial and the events are permuted at the end, which is the
    same as n independent draws and needs one pass per coordinate. No BLAS: its results may
    depend on the number of threads.

    Args:
        mixture: over the unbounded coordinates of LHCO.
        n: events.
        generator: where the randomness comes from.

    Returns:
        Features, shape (n, 5), float32, strictly inside the support; components, shape (n,).
    """
    d = LHCO.n_features
    counts = generator.multinomial(n, mixture.weights)
    z = generator.standard_normal((d, n), dtype=np.float32)
    order = generator.permutation(n)
    means, cholesky = mixture.means.astype(np.float32), mixture.cholesky.astype(np.float32)
    low, high = _float32_interior()
    x = np.empty((n, d), dtype=np.float32)
    for i, feature in enumerate(LHCO.features):
        u = np.repeat(means[:, i], counts)
        for j in range(i + 1):
            u += np.repeat(cholesky[:, i, j], counts) * z[j]
        # Infinity is right for the exponential of a large -u: the event lands at the lower end.
        with np.errstate(over="ignore"):
            values = np.float32(feature.high - feature.low) / (1 + np.exp(-u))
        values += np.float32(feature.low)
        x[:, i] = np.clip(values, low[i], high[i])[order]
    return x, np.repeat(np.arange(len(mixture)), counts)[order]


def block_generator(seed: int, use: int, block: int) -> np.random.Generator:
    """Returns the generator of one block: counter-based, independent of all others.

    Args:
        seed: the user's.
        use: what the numbers are for: `STREAM`, `TEST_BACKGROUND` or `TEST_SIGNAL`.
        block: number of the block.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(use, block))
    return np.random.Generator(np.random.Philox(sequence))


class StandinSource:
    """A `streams.Source` of stand-in events with truth labels.

    Numpy may change its generators' distributions between versions (NEP 19): a run is resumed
    with the numpy that began it.

    Args:
        config: length, signal fraction, seed.

    Raises:
        InputError: the configuration makes no stream.

    Example:
        >>> source = StandinSource(StandinConfig(n_events=1000, signal_fraction=0.5))
        >>> source.seek(990)
        >>> len(source.read(100))
        10
    """

    def __init__(self, config: StandinConfig) -> None:
        _check(config)
        self._config = config
        self._position = 0
        self._held: tuple[int, NDArray[np.float32], NDArray[np.uint8]] | None = None
        constants = standin_constants()
        self._n_background = len(constants.background)
        self._mixture = mix(constants, config.signal_fraction)

    @property
    def schema(self) -> EventSchema:
        """The observables of the LHC Olympics."""
        return LHCO

    @property
    def has_label(self) -> bool:
        """Whether the events come with truth labels: always."""
        return True

    @property
    def n_events(self) -> int | None:
        """How many events the stream has; None when it doesn't end."""
        return self._config.n_events or None

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """None: the stream is computed."""
        return ()

    def read(self, n: int) -> Events:
        """Returns the next events, n of them except at the end of the stream."""
        first = self._position
        end = first + max(n, 0)
        if self.n_events is not None:
            end = max(first, min(end, self.n_events))
        x = [np.empty((0, LHCO.n_features), np.float32)]
        label = [np.empty(0, np.uint8)]
        for start in range(first - first % BLOCK_EVENTS, end, BLOCK_EVENTS):
            rows = slice(max(first - start, 0), end - start)
            block_x, block_label = self._block(start)
            x.append(block_x[rows])
            label.append(block_label[rows])
        self._position = end
        status = np.full(end - first, Status.GOOD, dtype=np.uint8)
        return Events(first, np.concatenate(x), status, np.concatenate(label))

    def seek(self, index: int) -> None:
        """Makes the event with this index the next one to be read.

        Raises:
            InputError: the index lies outside the stream.
        """
        if index < 0 or (self.n_events is not None and index > self.n_events):
            raise InputError(
                f"expected an event index from 0 to {self.n_events or 'any'}; got {index}; in the "
                f"stand-in; is source.n_events that of the first run?"
            )
        self._position = index

    def close(self) -> None:
        """Frees the block in memory; safe to call twice."""
        self._held = None

    def _block(self, start: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Returns features and labels of the whole block that starts at an index; keeps one."""
        if self._held is None or self._held[0] != start:
            generator = block_generator(self._config.seed, STREAM, start // BLOCK_EVENTS)
            x, component = sample_events(self._mixture, BLOCK_EVENTS, generator)
            self._held = (start, x, (component >= self._n_background).astype(np.uint8))
        return self._held[1:]


def mix(constants: StandinConstants, signal_fraction: float) -> Mixture:
    """Returns background and signal as one mixture; the background's components come first."""
    parts = (constants.background, constants.signal)
    fractions = (1.0 - signal_fraction, signal_fraction)
    return Mixture(
        np.concatenate([f * p.weights for f, p in zip(fractions, parts, strict=True)]),
        np.concatenate([p.means for p in parts]),
        np.concatenate([p.cholesky for p in parts]),
    )


def _check(config: StandinConfig) -> None:
    if not 0.0 <= config.signal_fraction <= 1.0:
        raise InputError(
            f"source.signal_fraction: expected a number from 0 to 1; got {config.signal_fraction}"
        )
    if config.n_events < 0:
        raise InputError(
            f"source.n_events: expected at least 1, or 0 for an endless stream; got "
            f"{config.n_events}"
        )
    if config.seed < 0:
        raise InputError(f"source.seed: expected a seed of at least 0; got {config.seed}")


@functools.cache
def _float32_interior() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the smallest and largest float32 strictly inside each feature's support."""
    low, high = LHCO.low.astype(np.float32), LHCO.high.astype(np.float32)
    return np.nextafter(low, high), np.nextafter(high, low)
