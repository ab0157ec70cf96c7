"""Tan's likelihood ratios: densities of the features beside m, which only says where to look."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.density import AnyDensity
from onlineflows.errors import DataError
from onlineflows.offline.inputs import Events, MethodInputs, Scores, Trained, Training
from onlineflows.offline.metrics import auc
from onlineflows.offline.quadrature import log_ratio, log_sum, marginalised
from onlineflows.offline.regions import Interval

LARGEST_RATIO = 10.0
"""A larger λ counts as this one in means: where both densities are next to nothing, their quotient
is noise, and a single event decided the mean (up to 1e13 for affine flows).
"""


@dataclass(frozen=True, slots=True)
class RatioSummary:
    """λ = p_background / p_data of labelled events, as in table 2 of Tan 2020.

    Args:
        signal: mean λ of signal.
        background: mean λ of background; near 1, since it is so over the data.
        difference: between the two, positive.
        auc: of -λ as a score.
        capped: share of the events whose λ is above `LARGEST_RATIO`.
    """

    signal: float
    background: float
    difference: float
    auc: float
    capped: float


def tan(inputs: MethodInputs, training: Training) -> Trained:
    """Returns -log λ, where λ(x') = p_background(x') / p_data(x'); higher is more signal-like.

    Densities of x' alone are taken as they are: those of Tan's mass localisation or of his
    bootstrap (`online.ratio_learner`). From densities of (m, x'), m is integrated out, over the
    signal region for the data and over the sidebands for the background: mass localisation.

    Args:
        inputs: densities "data" and "background".
        training: regions and nodes.

    Raises:
        DataError: a density has neither all features nor all but m; regions leave its support.

    Reference:
        S. Tan 2020.
    """
    data, background = inputs.density_of("data"), inputs.density_of("background")
    regions, nodes = training.config.regions, training.config.nodes

    def score(x: Events) -> Scores:
        above = _log_prob(data, x, [regions.signal_region], nodes)
        return log_ratio(above, _log_prob(background, x, regions.sidebands, nodes))

    return Trained(score)


def summarise_ratio(log_lambda: Scores, label: NDArray[np.integer[Any]]) -> RatioSummary:
    """Returns the means of λ for signal and background, and how well it tells them apart.

    Args:
        log_lambda: log λ, shape (n,), finite.
        label: 1 for signal, shape (n,).
    """
    ratio = np.exp(np.minimum(log_lambda, np.log(LARGEST_RATIO)))
    signal, background = float(ratio[label == 1].mean()), float(ratio[label == 0].mean())
    value = auc(-log_lambda, label).value
    capped = float(np.mean(log_lambda > np.log(LARGEST_RATIO)))
    return RatioSummary(signal, background, abs(signal - background), value, capped)


def _log_prob(density: AnyDensity, x: Events, intervals: Sequence[Interval], nodes: int) -> Scores:
    """Returns log p(x'), averaged over intervals of m where the density knows it."""
    missing = x.shape[1] - density.schema.n_features
    if missing == 1:
        return density.log_prob(x[:, 1:])
    if missing != 0:
        raise DataError(
            f"expected a density of {x.shape[1]} features, or of all but the resonant one; got "
            f"one of {list(density.schema.names)}"
        )
    parts = [marginalised(density, x, interval, nodes=nodes) for interval in intervals]
    mean: Scores = log_sum(parts) - np.log(len(parts))
    return mean
