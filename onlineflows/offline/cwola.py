"""CWoLa: tells signal from background by learning signal region against sidebands."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import DataError
from onlineflows.offline.classifier import TreesConfig, train_ensemble
from onlineflows.offline.metrics import SicCurve, Value, auc, roc, sic, thin
from onlineflows.offline.regions import Regions, select
from onlineflows.settings import ValidateConfig

CURVE_POINTS = 400
"""Points kept of each curve, even in log FPR."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Truth-labelled events that methods are tested on and never trained on.

    Args:
        x: features, shape (n, d), the resonant one first, in the schema's units.
        label: 1 for signal, 0 for background, shape (n,).
        optimum: log-likelihood ratio of signal to background on the classifier's features, where
            it is known, shape (n,); needs to be right in the signal region only.

    Raises:
        DataError: the shapes don't fit.
    """

    x: NDArray[np.floating[Any]]
    label: NDArray[np.integer[Any]]
    optimum: NDArray[np.floating[Any]] | None = None

    def __post_init__(self) -> None:
        n = len(self.x)
        if self.x.ndim != 2 or self.label.shape != (n,):
            raise DataError(
                "expected evaluation events of shape (n, d) with n labels; got "
                f"{self.x.shape} and {self.label.shape}"
            )
        if self.optimum is not None and self.optimum.shape != (n,):
            raise DataError(f"expected {n} optimal scores; got {self.optimum.shape}")

    def within(self, regions: Regions) -> Self:
        """Returns the events of the signal region only."""
        inside = regions.in_signal_region(self.x[:, 0])
        optimum = None if self.optimum is None else self.optimum[inside]
        return type(self)(self.x[inside], self.label[inside], optimum)


@dataclass(frozen=True, slots=True)
class MethodConfig:
    """What a method needs to know beside the events.

    Args:
        regions: signal region and sidebands.
        trees: settings of the classifier.
        min_background: floor of background events for the SIC.
    """

    regions: Regions = field(default_factory=Regions)
    trees: TreesConfig = field(default_factory=TreesConfig)
    min_background: int = 100

    @classmethod
    def from_settings(cls, settings: ValidateConfig) -> Self:
        """Returns the part of the validation settings that concerns a method."""
        return cls(
            regions=Regions(settings.signal_region, settings.sidebands),
            trees=TreesConfig(folds=settings.folds, threads=settings.threads),
            min_background=settings.min_background,
        )


@dataclass(frozen=True, slots=True, eq=False)
class MethodResult:
    """What a method's score achieves on the evaluation events of the signal region.

    The errors are those of rating one score on a finite evaluation set. A score that was trained
    where there is no signal is a random function of the features, and its AUC scatters around 1/2
    by much more than that.

    Args:
        auc: area under the ROC curve.
        max_sic: largest significance improvement above the floor of background events.
        curve: ROC and SIC above that floor, thinned.
        n_train_sr: training events in the signal region.
        n_train_sb: training events in the sidebands.
    """

    auc: Value
    max_sic: Value
    curve: SicCurve
    n_train_sr: int = 0
    n_train_sb: int = 0


def rate_score(
    score: NDArray[np.floating[Any]],
    label: NDArray[np.integer[Any]],
    *,
    min_background: int,
) -> MethodResult:
    """Returns AUC, SIC and the thinned curve of any score.

    Args:
        score: higher is more signal-like, shape (n,).
        label: 1 for signal, 0 for background, shape (n,).
        min_background: floor of background events for the SIC.

    Raises:
        DataError: see `roc` and `sic`.
    """
    full = sic(roc(score, label), min_background=min_background)
    kept = np.union1d(thin(full.fpr, CURVE_POINTS), np.argmax(full.sic))
    return MethodResult(
        auc=auc(score, label),
        max_sic=full.best(),
        curve=SicCurve(full.tpr[kept], full.fpr[kept], full.sic[kept], full.error[kept]),
    )


def cwola(
    train_x: NDArray[np.floating[Any]],
    evaluation: Evaluation,
    *,
    config: MethodConfig,
    rng: np.random.Generator,
    progress: Callable[[], None] = lambda: None,
) -> MethodResult:
    """Returns how well a classifier of signal region against sidebands finds the signal.

    The classifier sees all features but the resonant one. Where both regions have the same mixture
    but for the signal fraction, its score is a monotone function of the likelihood ratio of signal
    to background; features that drift with m are what breaks this. It is evaluated on the
    evaluation events in the signal region.

    Args:
        train_x: unlabelled events, data or samples of a density, shape (n, d), the resonant
            feature first.
        evaluation: truth-labelled events.
        config: regions, classifier, floor.
        rng: draws folds and seeds.
        progress: called after each of the classifier's models.

    Raises:
        DataError: too few events in a region, or the number of features differs.

    Reference:
        Metodiev, Nachman, Thaler 2017 (1708.02949), theorem 1; as a bump hunt: Collins, Howe,
        Nachman 2018 (1805.02664).
    """
    if train_x.ndim != 2 or train_x.shape[1] != evaluation.x.shape[1] or train_x.shape[1] < 2:
        raise DataError(
            "expected training events with the features of the evaluation events, at least two; "
            f"got {train_x.shape} and {evaluation.x.shape}"
        )
    tested = evaluation.within(config.regions)
    chosen = select(train_x[:, 0], config.regions)
    ensemble = train_ensemble(
        train_x[chosen.index, 1:],
        chosen.target,
        chosen.weight,
        config=config.trees,
        rng=rng,
        progress=progress,
    )
    rated = rate_score(
        ensemble.score(tested.x[:, 1:]), tested.label, min_background=config.min_background
    )
    return MethodResult(
        auc=rated.auc,
        max_sic=rated.max_sic,
        curve=rated.curve,
        n_train_sr=chosen.n_signal_region,
        n_train_sb=chosen.n_sidebands,
    )
