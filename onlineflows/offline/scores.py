"""How a method is rated: its score on truth-labelled events that it was never trained on."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import DataError
from onlineflows.offline.metrics import SicCurve, Value, auc, roc, sic, thin
from onlineflows.offline.regions import Regions

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


def average(results: list[MethodResult]) -> MethodResult:
    """Returns the mean of several results of one method, with their spread as error.

    The curves are averaged at equal background, even in log FPR.

    Args:
        results: at least two, all on the same evaluation events.

    Raises:
        DataError: fewer than two results.
    """
    if len(results) < 2:
        raise DataError(f"expected at least 2 results to average; got {len(results)}")
    lowest = max(float(r.curve.fpr[0]) for r in results)
    fpr = np.geomspace(lowest, 1.0, CURVE_POINTS)
    tpr = np.array([np.interp(np.log(fpr), np.log(r.curve.fpr), r.curve.tpr) for r in results])
    sics = tpr / np.sqrt(fpr)
    return MethodResult(
        auc=_mean_and_spread([r.auc.value for r in results]),
        max_sic=_mean_and_spread([r.max_sic.value for r in results]),
        curve=SicCurve(tpr.mean(axis=0), fpr, sics.mean(axis=0), sics.std(axis=0, ddof=1)),
        n_train_sr=round(float(np.mean([r.n_train_sr for r in results]))),
        n_train_sb=round(float(np.mean([r.n_train_sb for r in results]))),
    )


def _mean_and_spread(values: list[float]) -> Value:
    return Value(float(np.mean(values)), float(np.std(values, ddof=1)))
