"""CWoLa: tells signal from background by learning signal region against sidebands.

On data, on samples of a snapshot, and without any sample: the ratio of two integrals of a density.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import DataError
from onlineflows.offline.classifier import assign_folds, train_ensemble
from onlineflows.offline.features import seen_features
from onlineflows.offline.inputs import Events, MethodInputs, Scores, Trained, Training
from onlineflows.offline.quadrature import log_ratio, log_sum, marginalised, nodes_in
from onlineflows.offline.regions import Regions, select


def cwola(inputs: MethodInputs, training: Training) -> Trained:
    """Returns a classifier of signal region against sidebands.

    The classifier sees all features but the resonant one. Where both regions have the same mixture
    but for the signal fraction, its score is a monotone function of the likelihood ratio of signal
    to background; features that drift with m are what breaks this.

    Args:
        inputs: events "data".
        training: regions, classifier; its generator draws folds and seeds.

    Raises:
        TooFewEventsError: too few events in a region.

    Reference:
        Metodiev, Nachman, Thaler 2017 (1708.02949), theorem 1; as a bump hunt: Collins, Howe,
        Nachman 2018 (1805.02664).
    """
    if training.config.mass == "input":
        raise DataError("expected mass 'left_out' or 'removed' for CWoLa: m tells the regions")
    x = inputs.events_of("data")
    chosen = select(x[:, 0], training.config.regions)
    taken = x[chosen.index]
    seen = seen_features(taken[chosen.target == 0], training.config.mass)
    ensemble = train_ensemble(
        seen(taken),
        chosen.target,
        chosen.weight,
        config=training.config.trees,
        rng=training.rng,
        progress=training.progress,
    )
    return Trained(
        lambda events: ensemble.score(seen(events)), chosen.n_signal_region, chosen.n_sidebands
    )


def cwola_ratio(inputs: MethodInputs, training: Training) -> Trained:
    """Returns the ratio that CWoLa's classifier estimates, from a density and without samples.

    It is p(x' | signal region) / p(x' | sidebands), each an integral of p(m, x') over m by
    Gauss-Legendre quadrature; the strips have equal weights, as in `select`. The score is its
    logarithm: no sampling noise and no classifier, so that what is lost is the density's fault.

    Args:
        inputs: density "data", whose support holds signal region and sidebands.
        training: regions, nodes.

    Raises:
        DataError: a region lies outside the density's support.
    """
    density, regions = inputs.density_of("data"), training.config.regions
    nodes = training.config.nodes
    for interval in (regions.signal_region, *regions.sidebands):
        nodes_in(interval, nodes, density)  # raises unless the model reaches there

    def score(x: Events) -> Scores:
        inside = marginalised(density, x, regions.signal_region, nodes=nodes)
        strips = [marginalised(density, x, strip, nodes=nodes) for strip in regions.sidebands]
        return log_ratio(inside, log_sum(strips) - np.log(len(strips)))

    return Trained(score)


@dataclass(frozen=True, slots=True, eq=False)
class Hunted:
    """One window of a hunt: events scored by classifiers that they had no part in.

    Args:
        regions: signal region and sidebands.
        index: the events inside, rows of the data, shape (n,).
        score: their scores, shape (n,).
        fold: the outer fold that each was left out with, shape (n,): a cut is made per fold.
    """

    regions: Regions
    index: NDArray[np.intp]
    score: Scores
    fold: NDArray[np.intp]

    def passing(self, efficiency: float) -> NDArray[np.intp]:
        """Returns the rows of the data among the highest scores, the same fraction per fold."""
        kept = np.zeros(len(self.index), dtype=np.bool_)
        for fold in np.unique(self.fold):
            members = np.flatnonzero(self.fold == fold)
            n_kept = round(efficiency * len(members))
            kept[members[np.argsort(-self.score[members], kind="stable")[:n_kept]]] = True
        return self.index[kept]


def cwola_hunt(x: Events, windows: Sequence[Regions], training: Training) -> Iterator[Hunted]:
    """Yields a scan over windows in which the data are searched by themselves.

    Nested k-fold: of `folds` outer folds each is scored by an ensemble trained on the others,
    which leaves one of them out at a time to know when to stop, and averages.

    Args:
        x: unlabelled events, shape (n, d), the resonant feature first.
        windows: what to search, one after the other.
        training: classifier (its own regions aren't used); told of each of the
            folds * (folds - 1) classifiers of a window.

    Raises:
        TooFewEventsError: a region of a window holds too few events.

    Reference:
        Collins, Howe, Nachman 2018 (1805.02664), 2019 (1902.02634).
    """
    folds = training.config.trees.folds
    trees = replace(training.config.trees, folds=max(folds - 1, 2))
    for regions in windows:
        chosen = select(x[:, 0], regions)
        taken = x[chosen.index]
        fold = assign_folds(chosen.target, folds, training.rng)
        inner = replace(training, config=replace(training.config, regions=regions, trees=trees))
        score = np.empty(len(taken))
        for left_out in range(folds):
            held = fold == left_out
            trained = cwola(MethodInputs(events={"data": taken[~held]}), inner)
            score[held] = trained.score(taken[held])
        yield Hunted(regions, chosen.index, score, fold)
