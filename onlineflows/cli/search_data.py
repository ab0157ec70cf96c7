"""The streams of `bench search`: the stand-in's, or a labelled file split into stream and test."""

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onlineflows.bench.search import SearchData
from onlineflows.cli.events import Events, collected
from onlineflows.errors import DataError
from onlineflows.offline.regions import Regions
from onlineflows.offline.scores import Evaluation
from onlineflows.settings import ValidateConfig
from replay.settings import LhcoFeaturesConfig, StandinConfig
from replay.sources import open_source
from replay.sources.standin import StandinSource
from replay.sources.standin_density import StandinDensity
from streams import LHCO

STANDIN = "standin"
CEILING_EVENTS = (2_000_000, 60_000)
"""Background and signal that the stand-in's ceilings are trained with, of the whole spectrum."""
TEST_SHARE = 0.3
"""Of a file's background: what is tested on."""


def open_standin(
    validate: ValidateConfig, n_events: int, signal_fraction: float, seed: int
) -> SearchData:
    """Returns a stream of the stand-in; all streams are tested on the same events.

    Args:
        validate: regions, and numbers and seed of the test events.
        n_events: of the stream.
        signal_fraction: probability that an event is signal.
        seed: of the stream and of the events that ceilings are trained with.
    """
    source = StandinSource(
        StandinConfig(n_events=n_events, signal_fraction=signal_fraction, seed=seed)
    )
    share = min(1.0, n_events / 1_000_000)
    n_background, n_signal = (round(share * n) for n in CEILING_EVENTS)
    # Test events are of other seeds than streams: TEST_BACKGROUND, TEST_SIGNAL beside STREAM.
    x, label = StandinDensity().sample(n_background, n_signal, seed=1000 + seed)
    return SearchData(
        LHCO,
        source.read(n_events).x,
        standin_evaluation(validate),
        background=x[label == 0],
        signal=x[label == 1],
    )


@functools.lru_cache(maxsize=1)
def standin_evaluation(validate: ValidateConfig) -> Evaluation:
    """Returns labelled events of the signal region with the exact likelihood ratio."""
    truth = StandinDensity()
    x, label = truth.sample(validate.test_background, validate.test_signal, seed=validate.seed)
    inside = Regions(validate.signal_region, validate.sidebands).in_signal_region(x[:, 0])
    x, label = x[inside], label[inside]
    return Evaluation(x, label, truth.optimal_score(x, validate.signal_region))


def open_file(
    path: str, validate: ValidateConfig, n_events: int, signal_fraction: float, seed: int
) -> SearchData:
    """Returns a stream of a file of LHC Olympics features with truth labels.

    A random part of the background is tested on, with half of the signal that isn't in the
    stream; the other half trains the supervised ceiling. There is no background left over for the
    idealised anomaly detector.

    Args:
        path: the file.
        validate: regions.
        n_events: of the stream at most; 0 for as many as there are.
        signal_fraction: share of signal in the stream, exactly.
        seed: of the split.

    Raises:
        DataError: the file has no labels, or too little signal for the fraction.
    """
    events, label = labelled_file(path)
    rng = np.random.default_rng(seed)
    background, signal = (rng.permutation(np.flatnonzero(label == kind)) for kind in (0, 1))
    n_test = round(TEST_SHARE * len(background))
    streamed = background[n_test:]
    if n_events:
        streamed = streamed[: round((1 - signal_fraction) * n_events)]
    n_signal = round(signal_fraction / (1 - signal_fraction) * len(streamed))
    if n_signal > len(signal) // 2:
        raise DataError(
            f"{path}: expected at least {2 * n_signal} signal events; got {len(signal)}: ask for "
            "a smaller signal fraction"
        )
    spare = signal[n_signal:]
    tested, trained = spare[: len(spare) // 2], spare[len(spare) // 2 :]
    tests = np.concatenate([background[:n_test], tested])
    regions = Regions(validate.signal_region, validate.sidebands)
    return SearchData(
        LHCO,
        events.x[rng.permutation(np.concatenate([streamed, signal[:n_signal]]))],
        Evaluation(events.x[tests], label[tests]).within(regions),
        background=events.x[streamed],
        signal=events.x[trained],
        has_own_background=False,
    )


@functools.lru_cache(maxsize=1)
def labelled_file(path: str) -> tuple[Events, NDArray[np.uint8]]:
    """Returns the events of a file of LHC Olympics features, with truth labels.

    Raises:
        DataError: it has none.
    """
    events = collected(open_source(LhcoFeaturesConfig(type="lhco_features", paths=(path,))))
    if events.label is None:
        raise DataError(f"{path}: expected truth labels; got none; use the R&D set")
    return events, events.label


def dataset_name(dataset: str) -> str:
    """Returns how a data set is called in records."""
    return STANDIN if dataset == STANDIN else Path(dataset).name.split(".")[0]
