"""How like the data a model's samples are: every two-sample test side by side."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.offline.classifier import TreesConfig
from onlineflows.offline.metrics import Value
from onlineflows.offline.physics_distance import fpd, kpd
from onlineflows.offline.two_sample import (
    Difference,
    TwoSampleResult,
    classifier_test,
    correlation_differences,
    feature_differences,
    sliced_wasserstein_test,
)

Events = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class LikenessConfig:
    """How much is compared.

    Args:
        n_events: of each set, for classifier, FPD and differences.
        n_sliced: of each set, for the sliced Wasserstein distance.
        n_null: permutations for that.
        n_directions: projections.
        n_permutations: trainings of the classifier on permuted labels; 0 for the null of a score
            without information.
        kernel_events: events of each set in a batch of KPD.
        trees: settings of the classifier.
    """

    n_events: int = 50_000
    n_sliced: int = 20_000
    n_null: int = 100
    n_directions: int = 32
    n_permutations: int = 0
    kernel_events: int = 5000
    trees: TreesConfig = field(default_factory=TreesConfig)


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """What the tests say.

    Args:
        classifier: AUC of a classifier that tells samples from data.
        sliced_wasserstein: that distance.
        fpd: Fréchet physics distance.
        kpd: kernel physics distance.
        features: differences of each feature, samples less data.
        correlations: differences of rank correlations, shape (d, d).
        correlation_errors: their errors, shape (d, d).
    """

    classifier: TwoSampleResult
    sliced_wasserstein: TwoSampleResult
    fpd: Value
    kpd: Value
    features: tuple[Difference, ...]
    correlations: NDArray[np.float64]
    correlation_errors: NDArray[np.float64]

    def document(self) -> dict[str, Any]:
        """Returns plain JSON types."""
        upper = np.triu_indices(len(self.correlations), k=1)
        difference, error = self.correlations[upper], self.correlation_errors[upper]
        return {
            "classifier_auc": self.classifier.document(),
            "sliced_wasserstein": self.sliced_wasserstein.document(),
            "fpd": asdict(self.fpd),
            "kpd": asdict(self.kpd),
            "features": [asdict(feature) for feature in self.features],
            "correlations": self.correlations.tolist(),
            "correlation_errors": self.correlation_errors.tolist(),
            "largest_correlation_difference": float(np.abs(difference).max(initial=0.0)),
            "correlation_chi2": float(((difference / error) ** 2).sum()),
            "n_correlations": len(difference),
        }


def likeness(
    data: Events,
    samples: Events,
    names: tuple[str, ...],
    *,
    config: LikenessConfig,
    rng: np.random.Generator,
) -> Likeness:
    """Returns every test of samples against data, on random ones of both where there are more.

    Args:
        data: events that the model should describe, at best not trained on, shape (n, d).
        samples: of the model, shape (m, d).
        names: of the features.
        config: how much is compared.
        rng: draws events, folds, directions and permutations.

    Raises:
        DataError: the numbers of features differ, or there are too few events.
    """
    a, b = (_some(x, config.n_events, rng) for x in (data, samples))
    few_a, few_b = (x[: config.n_sliced] for x in (a, b))
    n = min(len(a), len(b))
    correlations, errors = correlation_differences(a, b)
    return Likeness(
        classifier=classifier_test(
            a, b, trees=config.trees, rng=rng, n_permutations=config.n_permutations
        ),
        sliced_wasserstein=sliced_wasserstein_test(
            few_a, few_b, rng=rng, n_directions=config.n_directions, n_null=config.n_null
        ),
        fpd=fpd(a, b, rng=rng, min_samples=max(2 * n // 5, 2), max_samples=n),
        kpd=kpd(a, b, rng=rng, batch_size=min(config.kernel_events, n)),
        features=feature_differences(a, b, names),
        correlations=correlations,
        correlation_errors=errors,
    )


def _some(x: Events, n: int, rng: np.random.Generator) -> Events:
    """At most n random events, in random order."""
    return x[rng.permutation(len(x))[:n]]
