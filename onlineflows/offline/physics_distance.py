"""FPD and KPD: the two distances of generative models that the field's packages report."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.errors import DataError
from onlineflows.offline.metrics import Value

Events = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]

CENTRAL = (16.275, 83.725)
"""Percentiles whose half distance is the error of KPD, as in the jetnet package."""


def frechet_distance(
    mean_a: Floats, covariance_a: Floats, mean_b: Floats, covariance_b: Floats
) -> float:
    """Returns the squared Fréchet distance of two Gaussians.

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). The trace of the root is the sum of the
    roots of the eigenvalues of C_a^(1/2) C_b C_a^(1/2), which is symmetric.

    Reference:
        Dowson and Landau, J. Multivariate Anal. 12 (1982) 450.
    """
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ covariance_b @ root)
    shift = mean_a - mean_b
    trace = np.trace(covariance_a) + np.trace(covariance_b)
    return float(shift @ shift + trace - 2 * np.sqrt(np.clip(cross, 0, None)).sum())


def fpd(
    real: Events,
    generated: Events,
    *,
    rng: np.random.Generator,
    min_samples: int = 20_000,
    max_samples: int = 50_000,
    n_points: int = 10,
    n_batches: int = 20,
) -> Value:
    """Returns the Fréchet physics distance: what is left for infinitely many events.

    Features are divided by the largest |x| of the real ones. The Fréchet distance of batches drawn
    with replacement has a bias that falls like 1 / N: a line through the means at `n_points` batch
    sizes, even in 1 / N, is extrapolated to 0, with intercept and slope not below 0.

    Args:
        real: events, shape (n, d).
        generated: events, shape (m, d).
        rng: draws the batches.
        min_samples: events of the smallest batches.
        max_samples: events of the largest batches.
        n_points: batch sizes.
        n_batches: batches of each size.

    Raises:
        DataError: the numbers of features differ.

    Reference:
        Kansal et al. 2022 (2211.10295), section IV; the settings are those of the jetnet package.
    """
    a, b = _normalised(real, generated)
    sizes = (1 / np.linspace(1 / min_samples, 1 / max_samples, n_points)).astype(int)
    means = np.array(
        [
            np.mean([_batch_frechet(*_batch(a, b, size, rng)) for _ in range(n_batches)])
            for size in sizes
        ]
    )
    return _extrapolated(1 / sizes, means)


def kpd(
    real: Events,
    generated: Events,
    *,
    rng: np.random.Generator,
    batch_size: int = 5000,
    n_batches: int = 10,
) -> Value:
    """Returns the kernel physics distance: the median of an unbiased MMD^2 over batches.

    The kernel is (x.y / d + 1)^4 on features divided by the largest |x| of the real ones. The
    error is half of the central 67.45 %.

    Args:
        real: events, shape (n, d).
        generated: events, shape (m, d).
        rng: draws the batches, with replacement.
        batch_size: events of each set in a batch.
        n_batches: batches.

    Raises:
        DataError: the numbers of features differ.

    Reference:
        Kansal et al. 2022 (2211.10295), section IV; the settings are those of the jetnet package.
    """
    a, b = _normalised(real, generated)
    values = [polynomial_mmd(*_batch(a, b, batch_size, rng)) for _ in range(n_batches)]
    low, high = np.percentile(values, CENTRAL)
    return Value(float(np.median(values)), float(high - low) / 2)


def polynomial_mmd(a: Floats, b: Floats) -> float:
    """Returns the unbiased estimate of MMD^2 with the kernel (x.y / d + 1)^4.

    Its expectation is 0 where both sets have one density; single values can be negative.

    Reference:
        Gretton et al., JMLR 13 (2012) 723, eq. 3.
    """
    within = [
        (_sum_of_kernel(x, x) - _diagonal_of_kernel(x)) / (len(x) * (len(x) - 1)) for x in (a, b)
    ]
    return sum(within) - 2 * _sum_of_kernel(a, b) / (len(a) * len(b))


def _sum_of_kernel(a: Floats, b: Floats, chunk: int = 1024) -> float:
    def part(rows: Floats) -> float:
        kernel = rows @ b.T
        kernel /= a.shape[1]
        kernel += 1
        np.square(kernel, out=kernel)
        return float(np.square(kernel, out=kernel).sum())

    return sum(part(a[i : i + chunk]) for i in range(0, len(a), chunk))


def _diagonal_of_kernel(a: Floats) -> float:
    return float((((a**2).sum(axis=1) / a.shape[1] + 1) ** 4).sum())


def _batch(a: Floats, b: Floats, size: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    return a[rng.integers(len(a), size=size)], b[rng.integers(len(b), size=size)]


def _batch_frechet(a: Floats, b: Floats) -> float:
    covariances = [np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b)]
    return frechet_distance(a.mean(axis=0), covariances[0], b.mean(axis=0), covariances[1])


def _normalised(real: Events, generated: Events) -> tuple[Floats, Floats]:
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise DataError(
            f"expected events with the same features; got {real.shape} and {generated.shape}"
        )
    largest = np.abs(real).max(axis=0).astype(np.float64)
    scale = np.where(largest > 0, largest, 1.0)
    return real / scale, generated / scale


def _extrapolated(inverse_n: Floats, values: Floats) -> Value:
    """The intercept of a line through the points, both of its parameters at least 0."""
    for columns in ((0, 1), (0,), (1,)):
        design = np.stack([np.ones_like(inverse_n), inverse_n], axis=1)[:, columns]
        found, *_ = np.linalg.lstsq(design, values, rcond=None)
        if (found >= 0).all():
            residual = values - design @ found
            freedom = max(len(values) - len(columns), 1)
            spread = float(residual @ residual) / freedom * np.linalg.inv(design.T @ design)
            if 0 not in columns:
                return Value(0.0, math.sqrt(float(residual @ residual) / freedom / len(values)))
            return Value(float(found[0]), math.sqrt(float(spread[0, 0])))
    return Value(0.0, 0.0)
