"""ANODE: two densities, one with and one without the signal, and nothing else.

Likelihoods are averaged over replicas by handing over a mixture as density.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from onlineflows.offline.inputs import Events, MethodInputs, Scores, Trained, Training
from onlineflows.offline.quadrature import log_ratio, nodes_in, over_mass

QUANTILE_EVENTS = 100_000
"""Background samples from which the features' quantiles are read."""


def anode(inputs: MethodInputs, training: Training) -> Trained:
    """Returns the ratio log p_data(x' | m) - log p_background(x' | m) at each event's own m.

    Args:
        inputs: densities "data" and "background", both defined in the signal region.
        training: fiducial cut; its generator draws the samples by which that is made.

    Reference:
        Nachman, Shih 2020 (2001.04990).
    """
    data, background = inputs.density_of("data"), inputs.density_of("background")
    is_fiducial = _fiducial(inputs, training)

    def score(x: Events) -> Scores:
        above = data.log_prob_conditional(x)
        above[~is_fiducial(x)] = -np.inf
        return log_ratio(above, background.log_prob_conditional(x))

    return Trained(score)


def anode_marginal(inputs: MethodInputs, training: Training) -> Trained:
    """Returns ANODE's ratio with m integrated out over the signal region.

    Both conditional densities are averaged over the data's p(m): what CATHODE's classifier, which
    doesn't see m, estimates from samples; here by Gauss-Legendre quadrature, without samples.

    Args:
        inputs: densities "data" and "background", both defined in the signal region.
        training: regions, nodes, fiducial cut; its generator draws the samples by which the cut
            is made.

    Raises:
        DataError: the signal region leaves a density's support.
    """
    data, background = inputs.density_of("data"), inputs.density_of("background")
    region, nodes = training.config.regions.signal_region, training.config.nodes
    nodes_in(region, nodes, background)  # raises unless the background reaches there
    m, log_weight = nodes_in(region, nodes, data)
    log_weight = log_weight + data.log_prob_resonant(m)
    is_fiducial = _fiducial(inputs, training)

    def score(x: Events) -> Scores:
        above = over_mass(data.log_prob_conditional, x, m, log_weight)
        above[~is_fiducial(x)] = -np.inf
        return log_ratio(above, over_mass(background.log_prob_conditional, x, m, log_weight))

    return Trained(score)


def density_score(inputs: MethodInputs, _training: Training) -> Trained:
    """Returns how improbable an event is: -log2 p(x' | m) / (d - 1), bits per dimension.

    What is rare depends on the coordinates: in the schema's units here.

    Args:
        inputs: density "data".

    Reference:
        Tan 2020, where it is a score without any assumption about the signal.
    """
    density = inputs.density_of("data")

    def score(x: Events) -> Scores:
        log_prob = density.log_prob_conditional(x)
        finite = np.isfinite(log_prob)
        lowest = log_prob[finite].min() if finite.any() else 0.0
        bits: Scores = -np.where(finite, log_prob, lowest) / (np.log(2) * (x.shape[1] - 1))
        return bits

    return Trained(score)


def _fiducial(inputs: MethodInputs, training: Training) -> Callable[[Events], NDArray[np.bool_]]:
    """Returns which events are away from the ends of the background.

    ANODE (2001.04990) cuts on features scaled to [0, 1] by their smallest and largest values.
    Those of samples depend on how many are drawn: here the ends are quantiles.
    """
    cut = training.config.fiducial
    if cut == 0:
        return lambda x: np.ones(len(x), dtype=np.bool_)
    seed = int(training.rng.integers(2**31))
    x = inputs.density_of("background").sample(QUANTILE_EVENTS, seed)[:, 1:]
    low, high = np.quantile(x, (cut, 1 - cut), axis=0)
    return lambda x: ((x[:, 1:] > low) & (x[:, 1:] < high)).all(axis=1)
