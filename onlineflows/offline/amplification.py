"""Amplification: how many events of the truth are as good as samples of a model.

The support is cut into N_q cells of equal probability under the truth. The mean squared difference
between the model's probabilities of the cells and 1 / N_q is compared with what N independent
events of the truth would have, (1 / N) (1 / N_q) (1 - 1 / N_q): that N is the model's equivalent
number of events (GANplification: Butter et al. 2020, 2008.06545).
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import DataError

Events = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Cells of equal probability: medians split them, feature after feature.

    Args:
        features: the feature that each level splits, length k.
        thresholds: of each level the 2^level medians, k arrays.
        n_truth: events that the medians were taken of.
    """

    features: tuple[int, ...]
    thresholds: tuple[NDArray[np.float64], ...]
    n_truth: int

    @classmethod
    def of(cls, truth: Events, *, features: tuple[int, ...]) -> Self:
        """Returns 2^k cells with equal numbers of the given events.

        Args:
            truth: many events of the true density, shape (n, d).
            features: which feature to split at each of the k levels; the same one k times gives
                quantiles of one feature.

        Raises:
            DataError: there are too few events.
        """
        n_cells = 2 ** len(features)
        if len(truth) < 100 * n_cells:
            raise DataError(
                f"expected at least {100 * n_cells} events for {n_cells} cells; got {len(truth)}"
            )
        groups, thresholds = [truth], []
        for feature in features:
            cuts, halves = [], []
            for events in groups:
                values, middle = events[:, feature], len(events) // 2
                cuts.append(float(np.partition(values, middle)[middle]))
                right = values >= cuts[-1]
                halves += [events[~right], events[right]]
            groups = halves
            thresholds.append(np.array(cuts))
        return cls(features, tuple(thresholds), len(truth))

    def __len__(self) -> int:
        return 1 << len(self.features)

    def count(self, x: Events) -> NDArray[np.int64]:
        """Returns how many events lie in each cell, shape (N_q,)."""
        index = np.zeros(len(x), dtype=np.intp)
        for feature, cut in zip(self.features, self.thresholds, strict=True):
            index = 2 * index + (x[:, feature] >= cut[index])
        return np.bincount(index, minlength=len(self))


@dataclass(frozen=True, slots=True)
class Amplification:
    """Quantile error of a model and what it is worth.

    Args:
        n_cells: N_q.
        mse: mean squared error of the cells' probabilities, without what the finite number of
            samples and of true events add; may be negative where it is small.
        mse_error: its standard error.
        n_equivalent: events of the truth with the same error; infinite where the error is not
            above zero.
        low: n_equivalent one standard error down.
        high: n_equivalent one standard error up.
    """

    n_cells: int
    mse: float
    mse_error: float
    n_equivalent: float
    low: float
    high: float

    def document(self) -> dict[str, float | None]:
        """Returns plain JSON types; infinite numbers become None."""
        numbers = {
            "n_cells": self.n_cells,
            "mse": self.mse,
            "mse_error": self.mse_error,
            "n_equivalent": self.n_equivalent,
            "low": self.low,
            "high": self.high,
        }
        return {name: v if math.isfinite(v) else None for name, v in numbers.items()}


def amplification(counts: NDArray[np.integer[Any]], n_truth: int) -> Amplification:
    """Returns the quantile error of a model's samples and its equivalent number of events.

    For a model with probabilities p_j, E[sum_j (x_j - 1/N_q)^2] of n samples is the model's own
    plus (1 - sum_j p_j^2) / n, to which the cells' finite number of true events adds a term of the
    same form: both are subtracted. The error is that of a sum of squares of nearly Gaussian terms.

    Args:
        counts: samples in each cell, shape (N_q,).
        n_truth: events that the cells were made with.

    Raises:
        DataError: there are no samples.
    """
    n, n_cells = int(counts.sum()), len(counts)
    if n == 0 or n_cells < 2:
        raise DataError(f"expected samples in at least 2 cells; got {n} in {n_cells}")
    share = counts / n
    one_event = (1 / n_cells) * (1 - 1 / n_cells)
    noise = one_event * (1 / n + 1 / n_truth)
    squared = (share - 1 / n_cells) ** 2
    mse = float(squared.mean()) - noise
    # var((d + e)^2) = 4 d^2 v + 2 v^2 for a bias d and a noise e of variance v.
    signal = max(mse, 0.0)
    error = math.sqrt((4 * signal * noise + 2 * noise**2) / n_cells)

    def worth(value: float) -> float:
        return one_event / value if value > 0 else math.inf

    return Amplification(n_cells, mse, error, worth(mse), worth(mse + error), worth(mse - error))
