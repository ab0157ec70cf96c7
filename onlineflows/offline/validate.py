"""The comparison that a snapshot is judged by: CWoLa on data, on samples, on byte-equal events."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import TooFewEventsError
from onlineflows.offline.inputs import MethodConfig, MethodInputs
from onlineflows.offline.methods import best_possible, learned_nothing, search
from onlineflows.offline.scores import Evaluation, MethodResult, average
from onlineflows.settings import ValidateConfig

Progress = Callable[[str, int, int], None]
"""Told the curve in work, the classifiers trained so far and how many there will be."""


def _quiet(curve: str, done: int, total: int, /) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What is compared.

    Args:
        data: the events that the snapshot was trained on, shape (n, d), the resonant feature first.
        samples: events drawn from the snapshot, shape (n_samples, d).
        evaluation: truth-labelled events that neither was trained on.
        snapshot_nbytes: size of the snapshot.
    """

    data: NDArray[np.floating[Any]]
    samples: NDArray[np.floating[Any]]
    evaluation: Evaluation
    snapshot_nbytes: int

    @property
    def n_byte_equal(self) -> int:
        """Events of d float32 that fit into the snapshot's size, at most all of them."""
        return min(self.snapshot_nbytes // (4 * int(self.data.shape[1])), len(self.data))


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The curves, each on the same evaluation events.

    Args:
        data: trained on the data.
        snapshot: trained on samples of the snapshot.
        byte_equal: trained on the random fraction of the data that fits into the snapshot's size;
            mean over the draws, with their standard deviation as error.
        optimum: the exact likelihood ratio where it is known, else None.
        n_byte_equal: events in each draw.
        n_draws: draws.
        n_untrainable: draws with too few events to train on, counted as a random score.
        n_signal: evaluation signal in the signal region.
        n_background: evaluation background in the signal region.
        seconds: wall time of each curve.
    """

    data: MethodResult
    snapshot: MethodResult
    byte_equal: MethodResult
    optimum: MethodResult | None
    n_byte_equal: int
    n_draws: int
    n_untrainable: int
    n_signal: int
    n_background: int
    seconds: dict[str, float]

    @property
    def curves(self) -> dict[str, MethodResult]:
        """The curves by the names they have in the report."""
        named = {"data": self.data, "snapshot": self.snapshot, "byte_equal": self.byte_equal}
        return named if self.optimum is None else {**named, "optimum": self.optimum}


def compare(
    inputs: Inputs,
    settings: ValidateConfig,
    *,
    clock: Callable[[], float],
    progress: Progress = _quiet,
) -> Comparison:
    """Returns CWoLa on the data, on samples of the snapshot and on the byte-equal stored events.

    The byte-equal events are what a trigger with a prescale could have kept in the snapshot's
    size. Each curve has random numbers of its own, all derived from the seed.

    Args:
        inputs: data, samples, evaluation events, snapshot size.
        settings: regions, folds, draws, floor, seed.
        clock: monotonic seconds, for the wall times.
        progress: called after each trained classifier.

    Raises:
        DataError: too few data or samples in a region, or too few evaluation events.
    """
    config = MethodConfig.from_settings(settings)
    tested = inputs.evaluation.within(config.regions)
    steps = _Steps(progress, total=config.trees.folds * (2 + settings.draws))
    seeds = np.random.SeedSequence(settings.seed).spawn(2 + settings.draws)
    generators = [np.random.default_rng(seed) for seed in seeds]

    watch = _Watch(clock)
    with watch.timing("data"):
        step = steps.named("data")
        data = _cwola(inputs.data, tested, config, rng=generators[0], progress=step)
    with watch.timing("snapshot"):
        step = steps.named("snapshot")
        snapshot = _cwola(inputs.samples, tested, config, rng=generators[1], progress=step)
    with watch.timing("byte_equal"):
        step = steps.named("byte_equal")
        draws = [
            _byte_equal_draw(inputs, tested, config, rng=rng, progress=step)
            for rng in generators[2:]
        ]
    return Comparison(
        data=data,
        snapshot=snapshot,
        byte_equal=average(draws),
        optimum=best_possible(tested, config),
        n_byte_equal=inputs.n_byte_equal,
        n_draws=len(draws),
        n_untrainable=sum(draw.n_train_sr == 0 for draw in draws),
        n_signal=int(np.count_nonzero(tested.label == 1)),
        n_background=int(np.count_nonzero(tested.label == 0)),
        seconds=watch.seconds,
    )


class _Watch:
    """Wall time of named parts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        start = self._clock()
        yield
        self.seconds[name] = self._clock() - start


class _Steps:
    """Counts trained classifiers over all curves."""

    def __init__(self, progress: Progress, *, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def named(self, curve: str) -> Callable[[], None]:
        def step() -> None:
            self._done += 1
            self._progress(curve, self._done, self._total)

        return step


def _byte_equal_draw(
    inputs: Inputs,
    tested: Evaluation,
    config: MethodConfig,
    *,
    rng: np.random.Generator,
    progress: Callable[[], None],
) -> MethodResult:
    rows = rng.choice(len(inputs.data), size=inputs.n_byte_equal, replace=False)
    try:
        return _cwola(inputs.data[rows], tested, config, rng=rng, progress=progress)
    except TooFewEventsError:
        for _ in range(config.trees.folds):
            progress()
        return learned_nothing(tested, config)


def _cwola(
    x: NDArray[np.floating[Any]],
    tested: Evaluation,
    config: MethodConfig,
    *,
    rng: np.random.Generator,
    progress: Callable[[], None],
) -> MethodResult:
    inputs = MethodInputs(events={"data": x})
    return search("cwola", inputs, tested, config=config, rng=rng, progress=progress)
