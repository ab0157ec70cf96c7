"""How well a score separates signal from background: ROC, AUC, SIC, each with its error."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from onlineflows.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """A receiver operating characteristic as exact counts.

    Point i keeps the events whose score is at least `threshold[i]`; tied scores enter together.
    The first point keeps nothing, the last one everything.

    Args:
        signal: signal events kept, shape (k,), rising.
        background: background events kept, shape (k,), rising.
        threshold: the smallest score kept, shape (k,), falling; +inf at the first point.
    """

    signal: NDArray[np.int64]
    background: NDArray[np.int64]
    threshold: Floats

    @property
    def n_signal(self) -> int:
        """All signal events."""
        return int(self.signal[-1])

    @property
    def n_background(self) -> int:
        """All background events."""
        return int(self.background[-1])

    @property
    def tpr(self) -> Floats:
        """True-positive rate: the fraction of signal kept."""
        return self.signal / self.n_signal

    @property
    def fpr(self) -> Floats:
        """False-positive rate: the fraction of background kept."""
        return self.background / self.n_background


@dataclass(frozen=True, slots=True)
class Value:
    """A number with its statistical error (one standard deviation)."""

    value: float
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class SicCurve:
    """Significance improvement TPR / sqrt(FPR) where enough background is left.

    Args:
        tpr: shape (k,), rising.
        fpr: shape (k,), rising.
        sic: shape (k,).
        error: one standard deviation of `sic`, shape (k,).
    """

    tpr: Floats
    fpr: Floats
    sic: Floats
    error: Floats

    def best(self) -> Value:
        """Returns the largest SIC with the error at that point.

        The maximum over a noisy curve is biased upwards, by less than its error when the floor of
        background events is respected; the same floor must be used on both sides of a comparison.
        """
        top = int(np.argmax(self.sic))
        return Value(float(self.sic[top]), float(self.error[top]))


def roc(score: NDArray[np.floating[Any]], label: NDArray[np.integer[Any]]) -> Roc:
    """Returns the ROC of a score with one point for each distinct value.

    Args:
        score: higher is more signal-like, shape (n,), finite.
        label: 1 for signal, 0 for background, shape (n,).

    Raises:
        DataError: shapes differ, a score isn't finite, or one of the classes is empty.
    """
    signal = _checked_labels(score, label)
    order = np.argsort(-score, kind="stable")
    ranked, hits = np.asarray(score, dtype=np.float64)[order], signal[order]
    last_of_tie = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    kept = np.cumsum(hits, dtype=np.int64)[last_of_tie]
    zero = np.zeros(1, dtype=np.int64)
    return Roc(
        signal=np.concatenate([zero, kept]),
        background=np.concatenate([zero, last_of_tie + 1 - kept]),
        threshold=np.concatenate([[np.inf], ranked[last_of_tie]]),
    )


def auc(score: NDArray[np.floating[Any]], label: NDArray[np.integer[Any]]) -> Value:
    """Returns the area under the ROC curve and its standard error.

    The area is the Mann-Whitney statistic with ties counted half. The error is DeLong's: the
    spread of each event's placement among the events of the other class.

    Args:
        score: higher is more signal-like, shape (n,), finite.
        label: 1 for signal, 0 for background, shape (n,).

    Raises:
        DataError: as in `roc`.

    Reference:
        DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988) 837; from mid-ranks as in Sun and Xu,
        IEEE Signal Processing Letters 21 (2014) 1389.
    """
    signal = _checked_labels(score, label)
    positive, negative = score[signal], score[~signal]
    m, n = len(positive), len(negative)
    pooled = rankdata(score)
    over_negative = (pooled[signal] - rankdata(positive)) / n
    over_positive = (pooled[~signal] - rankdata(negative)) / m
    spread = _sample_variance(over_negative) / m + _sample_variance(over_positive) / n
    return Value(float(over_negative.mean()), float(np.sqrt(spread)))


def sic(curve: Roc, *, min_background: int = 100) -> SicCurve:
    """Returns the significance improvement where at least `min_background` background is kept.

    The error propagates the binomial errors of TPR and FPR, which are independent:
    var(SIC) = var(TPR) / FPR + TPR^2 var(FPR) / (4 FPR^3).

    Args:
        curve: the exact ROC.
        min_background: floor of background events kept; below it the curve is mostly noise.

    Raises:
        DataError: the floor isn't positive, or there is less background than that.

    Reference:
        Gallicchio et al. 2011 (1012.2079), for the significance improvement characteristic.
    """
    if not 1 <= min_background <= curve.n_background:
        raise DataError(
            f"expected a floor between 1 and the {curve.n_background} background events of the "
            f"evaluation set; got {min_background}; evaluate on more events or lower min_background"
        )
    kept = curve.background >= min_background
    tpr, fpr = curve.tpr[kept], curve.fpr[kept]
    var_tpr = tpr * (1 - tpr) / curve.n_signal
    var_fpr = fpr * (1 - fpr) / curve.n_background
    error = np.sqrt(var_tpr / fpr + tpr**2 * var_fpr / (4 * fpr**3))
    return SicCurve(tpr=tpr, fpr=fpr, sic=tpr / np.sqrt(fpr), error=error)


def thin(fpr: Floats, n: int) -> NDArray[np.intp]:
    """Returns the indices of at most n points of a rising curve, even in log FPR, ends included.

    Args:
        fpr: false-positive rates, shape (k,), rising.
        n: most points to keep, at least 2.
    """
    if len(fpr) <= n:
        return np.arange(len(fpr))
    positive = fpr[fpr > 0]
    wanted = np.geomspace(positive[0], positive[-1], n - 2)
    picked = np.searchsorted(fpr, wanted).clip(0, len(fpr) - 1)
    return np.unique(np.concatenate([[0], picked, [len(fpr) - 1]]))


def _sample_variance(values: Floats) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


def _checked_labels(
    score: NDArray[np.floating[Any]], label: NDArray[np.integer[Any]]
) -> NDArray[np.bool_]:
    if score.ndim != 1 or score.shape != label.shape:
        raise DataError(
            f"expected one score and one label per event; got {score.shape} and {label.shape}"
        )
    if not np.isfinite(score).all():
        bad = int(np.count_nonzero(~np.isfinite(score)))
        raise DataError(f"expected finite scores; got {bad} of {len(score)} that are not")
    signal: NDArray[np.bool_] = label == 1
    n_signal, n_background = int(signal.sum()), int(np.count_nonzero(label == 0))
    if n_signal == 0 or n_background == 0 or n_signal + n_background != len(label):
        raise DataError(
            "expected labels 0 and 1 with events of both kinds; got "
            f"{n_signal} signal and {n_background} background among {len(label)} events"
        )
    return signal
