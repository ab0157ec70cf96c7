"""CATHODE: background drawn from the sidebands' density inside the signal region, and a classifier.

With stored events of the signal region as "data" it is the published method; with samples of a
snapshot it needs no stored event at all.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import TooFewEventsError
from onlineflows.offline.classifier import train_ensemble
from onlineflows.offline.features import seen_features
from onlineflows.offline.inputs import Events, MethodInputs, Trained, Training
from onlineflows.offline.regions import Interval

BANDWIDTH = 0.01
"""Of the kernel density estimate of m, in logit(m) over the signal region (2109.00546)."""


def cathode(inputs: MethodInputs, training: Training) -> Trained:
    """Returns a classifier of the signal region's events against background samples.

    The samples' m come from a kernel density estimate of the events' m, their other features from
    the interpolated p_background(x' | m). `oversample` samples are drawn per event; weights
    balance the classes.

    Args:
        inputs: events "data", of which those in the signal region are used; density "background".
        training: regions, classifier, oversample, mass; its generator draws samples and folds.

    Raises:
        TooFewEventsError: too few events in the signal region.

    Reference:
        Hallin et al. 2021 (2109.00546).
    """
    config, rng = training.config, training.rng
    region = config.regions.signal_region
    data = inside(inputs.events_of("data"), region)
    if len(data) < config.trees.folds:
        raise TooFewEventsError(
            f"expected at least {config.trees.folds} events in the signal region; got {len(data)}"
        )
    m = draw_masses(data[:, 0], region, round(config.oversample * len(data)), rng)
    background = inputs.density_of("background").sample_given(m, int(rng.integers(2**31)))
    return _against(data, background, training)


def idealised(inputs: MethodInputs, training: Training) -> Trained:
    """Returns CATHODE with a perfect background: the ceiling of everything weakly supervised.

    Args:
        inputs: events "data" and "background", the latter true background.
        training: regions, classifier, mass; its generator draws folds and seeds.

    Raises:
        TooFewEventsError: too few events in the signal region.

    Reference:
        The idealised anomaly detector of 2109.00546.
    """
    region = training.config.regions.signal_region
    data, background = (inside(inputs.events_of(r), region) for r in ("data", "background"))
    return _against(data, background, training)


def supervised(inputs: MethodInputs, training: Training) -> Trained:
    """Returns a classifier of true signal against true background: the ceiling of all.

    Args:
        inputs: events "signal" and "background".
        training: regions, classifier, mass; its generator draws folds and seeds.

    Raises:
        TooFewEventsError: too few events in the signal region.
    """
    region = training.config.regions.signal_region
    signal, background = (inside(inputs.events_of(r), region) for r in ("signal", "background"))
    return _against(signal, background, training)


def draw_masses(
    m: NDArray[np.floating[Any]], interval: Interval, n: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Returns values from a Gaussian kernel density estimate of m in logit(m), shape (n,).

    Args:
        m: values inside the interval, shape (k,).
        interval: outside which there is nothing.
        n: how many to draw.
        rng: draws them.
    """
    low, high = interval
    fraction = np.clip((m.astype(np.float64) - low) / (high - low), 1e-6, 1 - 1e-6)
    centre = rng.choice(np.log(fraction / (1 - fraction)), size=n)
    drawn = centre + BANDWIDTH * rng.standard_normal(n)
    result: NDArray[np.float64] = low + (high - low) / (1 + np.exp(-drawn))
    return result


def inside(x: Events, interval: Interval) -> Events:
    """Returns the events in an interval of m."""
    low, high = interval
    return x[(x[:, 0] >= low) & (x[:, 0] < high)]


def _against(one: Events, zero: Events, training: Training) -> Trained:
    """Returns a classifier of two sets of events that weigh the same."""
    seen = seen_features(zero, training.config.mass)
    target = np.repeat(np.array([1, 0], dtype=np.uint8), [len(one), len(zero)])
    weight = np.where(target == 1, 1.0, len(one) / max(len(zero), 1))
    ensemble = train_ensemble(
        np.concatenate([seen(one), seen(zero)]),
        target,
        weight,
        config=training.config.trees,
        rng=training.rng,
        progress=training.progress,
    )
    return Trained(lambda events: ensemble.score(seen(events)), len(one), len(zero))
