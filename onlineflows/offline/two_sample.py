"""Tests of whether two sets of events have the same density, each with the null it is judged by."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import kolmogorov
from scipy.stats import rankdata

from onlineflows.errors import DataError
from onlineflows.offline.classifier import TreesConfig, train_ensemble
from onlineflows.offline.distances import ks_distance
from onlineflows.offline.metrics import auc

Events = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TwoSampleResult:
    """A statistic of two sets of events beside what it is where both have one density.

    Args:
        statistic: larger is more different.
        null_mean: its mean where there is no difference.
        null_width: its standard deviation there.
        p_value: share of the null that is at least as large.
        n_a, n_b: events that the statistic was taken over.
        n_null: resamplings that the null was found by; 0 where it is known in closed form.
    """

    statistic: float
    null_mean: float
    null_width: float
    p_value: float
    n_a: int
    n_b: int
    n_null: int

    @property
    def pull(self) -> float:
        """Distance from the null in its widths."""
        return (self.statistic - self.null_mean) / self.null_width if self.null_width > 0 else 0.0

    def document(self) -> dict[str, float]:
        """Returns plain JSON types."""
        return {**asdict(self), "pull": self.pull}


@dataclass(frozen=True, slots=True)
class Difference:
    """How one feature differs between two sets of events.

    Args:
        name: the feature.
        mean, mean_error: difference b - a of the means in standard deviations of a, its error.
        width, width_error: ratio of the standard deviations b / a less 1, its error.
        ks: the largest difference of the distribution functions.
        ks_p: its p-value.
    """

    name: str
    mean: float
    mean_error: float
    width: float
    width_error: float
    ks: float
    ks_p: float


def auc_null_width(n_a: int, n_b: int) -> float:
    """Returns the standard deviation of an AUC where score and label have nothing in common.

    The variance of the Mann-Whitney statistic: (n_a + n_b + 1) / (12 n_a n_b); for n of each it is
    near (0.41)^2 / n.

    Example:
        >>> round(auc_null_width(10_000, 10_000), 4)
        0.0041
    """
    return math.sqrt((n_a + n_b + 1) / (12 * n_a * n_b))


def classifier_test(
    a: Events,
    b: Events,
    *,
    trees: TreesConfig,
    rng: np.random.Generator,
    n_permutations: int = 0,
) -> TwoSampleResult:
    """Returns the AUC of a classifier that was trained to tell b from a, on events it never saw.

    Half of the events train boosted trees, the other half test them. Without permutations the null
    is that of a score without information: mean 1/2 and `auc_null_width`. With them the trees are
    trained again on permuted labels, so that the null contains what training adds.

    Args:
        a: events, shape (n, d).
        b: events, shape (m, d).
        trees: settings of the classifier.
        rng: draws halves, folds and permutations.
        n_permutations: trainings on permuted labels.

    Raises:
        DataError: the numbers of features differ, or there are too few events.

    Reference:
        Classifier two-sample tests: Lopez-Paz and Oquab 2016 (1610.06545).
    """
    x, label = _pooled(a, b)
    statistic = _held_out_auc(x, label, trees, rng)
    n_a, n_b = (len(a) + 1) // 2, (len(b) + 1) // 2
    if n_permutations:
        null = np.array(
            [_held_out_auc(x, rng.permutation(label), trees, rng) for _ in range(n_permutations)]
        )
        return _against_null(statistic, null, n_a, n_b)
    return against_chance(statistic, n_a, n_b)


def against_chance(area: float, n_a: int, n_b: int) -> TwoSampleResult:
    """Returns an AUC beside that of a score without information: mean 1/2, `auc_null_width`."""
    width = auc_null_width(n_a, n_b)
    p_value = 0.5 * math.erfc((area - 0.5) / (width * math.sqrt(2)))
    return TwoSampleResult(area, 0.5, width, p_value, n_a, n_b, 0)


def sliced_wasserstein_test(
    a: Events, b: Events, *, rng: np.random.Generator, n_directions: int = 64, n_null: int = 200
) -> TwoSampleResult:
    """Returns the sliced Wasserstein distance with the null of permuted labels.

    Features are divided by their standard deviation in the pooled events, which a permutation
    doesn't change; directions are uniform on the sphere.

    Args:
        a: events, shape (n, d).
        b: events, shape (m, d).
        rng: draws directions and permutations.
        n_directions: projections that the distance is averaged over.
        n_null: permutations.

    Raises:
        DataError: the numbers of features differ.

    Reference:
        As a test of generative models in physics: Grossi, Letizia, Torre 2024 (2409.16336).
    """
    x, label = _pooled(a, b)
    width = x.std(axis=0)
    scaled = (x - x.mean(axis=0)) / np.where(width > 0, width, 1.0)
    directions = rng.standard_normal((x.shape[1], n_directions))
    directions /= np.linalg.norm(directions, axis=0)
    projected = scaled @ directions
    order = np.argsort(projected, axis=0)
    gaps = np.diff(np.take_along_axis(projected, order, axis=0), axis=0)
    signed = np.where(label == 1, 1 / len(b), -1 / len(a))

    def distance(mass: Floats) -> float:
        # W1 in one dimension is the area between the two distribution functions.
        between = np.abs(np.cumsum(mass[order], axis=0)[:-1])
        return float((between * gaps).sum(axis=0).mean())

    null = np.array([distance(rng.permutation(signed)) for _ in range(n_null)])
    return _against_null(distance(signed), null, len(a), len(b))


def feature_differences(a: Events, b: Events, names: tuple[str, ...]) -> tuple[Difference, ...]:
    """Returns how each feature differs between a and b, with errors.

    The errors of the widths are those of any distribution with a fourth moment: the variance of a
    sample variance is (kurtosis - 1) sigma^4 / n.

    Args:
        a: events, shape (n, d).
        b: events, shape (m, d).
        names: of the features.

    Raises:
        DataError: the numbers of features differ.
    """
    _pooled(a, b)
    return tuple(
        _difference(a[:, i].astype(np.float64), b[:, i].astype(np.float64), name)
        for i, name in enumerate(names)
    )


def correlation_differences(a: Events, b: Events) -> tuple[Floats, Floats]:
    """Returns the differences b - a of Spearman's rank correlations and their errors, (d, d) each.

    The variance of one rank correlation r of n events is near (1 + r^2 / 2) (1 - r^2)^2 / n in
    the middle (Bonett and Wright, Psychometrika 65 (2000) 23, after Fisher's transformation).

    Raises:
        DataError: the numbers of features differ.
    """
    _pooled(a, b)
    found = [np.atleast_2d(np.corrcoef(rankdata(x, axis=0), rowvar=False)) for x in (a, b)]
    variances = [
        (1 + r**2 / 2) * (1 - r**2) ** 2 / max(len(x) - 3, 1)
        for r, x in zip(found, (a, b), strict=True)
    ]
    errors: Floats = np.sqrt(variances[0] + variances[1])
    return found[1] - found[0], errors


def _difference(a: Floats, b: Floats, name: str) -> Difference:
    sigma = float(a.std(ddof=1)) or 1.0
    ratio = float(b.std(ddof=1)) / sigma
    relative = [(_kurtosis(x) - 1) / (4 * len(x)) for x in (a, b)]
    ks = ks_distance(a, b)
    effective = len(a) * len(b) / (len(a) + len(b))
    return Difference(
        name=name,
        mean=float(b.mean() - a.mean()) / sigma,
        mean_error=math.sqrt(1 / len(a) + ratio**2 / len(b)),
        width=ratio - 1,
        width_error=ratio * math.sqrt(max(sum(relative), 0.0)),
        ks=ks,
        ks_p=float(kolmogorov(math.sqrt(effective) * ks)),
    )


def _kurtosis(x: Floats) -> float:
    centred = x - x.mean()
    variance = float((centred**2).mean())
    return float((centred**4).mean()) / variance**2 if variance > 0 else 3.0


def _pooled(a: Events, b: Events) -> tuple[Floats, NDArray[np.intp]]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise DataError(
            "expected two sets of at least 2 events with the same features; got "
            f"{a.shape} and {b.shape}"
        )
    label = np.repeat(np.arange(2), [len(a), len(b)])
    return np.concatenate([a, b]).astype(np.float64), label


def _held_out_auc(
    x: Floats, label: NDArray[np.intp], trees: TreesConfig, rng: np.random.Generator
) -> float:
    train = np.zeros(len(x), dtype=bool)
    for kind in (0, 1):
        members = rng.permutation(np.flatnonzero(label == kind))
        train[members[: len(members) // 2]] = True
    # Each class has the same weight, however many events it has.
    share = np.bincount(label[train], minlength=2)
    weight = 1.0 / share[label[train]]
    ensemble = train_ensemble(
        x[train], label[train], weight * len(weight) / 2, config=trees, rng=rng
    )
    return auc(ensemble.score(x[~train]), label[~train]).value


def _against_null(statistic: float, null: Floats, n_a: int, n_b: int) -> TwoSampleResult:
    # The statistic itself is one draw of the null: a p-value of 0 can't be had from resampling.
    p_value = (1 + int(np.count_nonzero(null >= statistic))) / (1 + len(null))
    return TwoSampleResult(
        statistic, float(null.mean()), float(null.std(ddof=1)), p_value, n_a, n_b, len(null)
    )
