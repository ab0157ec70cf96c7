"""The bump hunt: is there more in the signal region than a falling spectrum expects?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, ndtri
from scipy.stats import norm

from onlineflows.errors import DataError
from onlineflows.offline.dijet import (
    FEWEST,
    DijetFit,
    Floats,
    Spectrum,
    best_of,
    candidates,
    fit_dijet,
    profiled,
)
from onlineflows.offline.metrics import Value
from onlineflows.offline.regions import Interval

CUTS = (1.0, 1e-1, 1e-2, 1e-3)
"""Fractions of the events outside the signal region that the cuts of a bump hunt keep."""
SMALLEST_P = 1e-300


@dataclass(frozen=True, slots=True, eq=False)
class Bump:
    """What is found in the signal region of one spectrum.

    Args:
        spectrum: the spectrum after the cut.
        fit: the background fitted outside the signal region, by the best dijet function.
        observed: events in the signal region.
        background: events expected there from the fit, with the error of the fit and of the choice
            of the function.
        z_local: significance of the signal region, negative for a deficit.
        z_gaussian: the same from the background's value and error alone, in closed form: a check.
    """

    spectrum: Spectrum
    fit: DijetFit
    observed: float
    background: Value
    z_local: float
    z_gaussian: float

    @property
    def p_local(self) -> float:
        """Probability of so large an excess without signal."""
        return float(norm.sf(self.z_local))

    @property
    def signal(self) -> Value:
        """Events above the background, with the error of both."""
        variance = self.spectrum.scale * self.observed + self.background.error**2
        return Value(self.observed - self.background.value, float(np.sqrt(variance)))


def hunt(
    spectrum: Spectrum,
    signal_region: Interval,
    *,
    guard: float = 0.0,
    at_least: int = FEWEST,
    energy: float = 13.0,
) -> Bump:
    """Returns the local significance of the signal region of a spectrum.

    The profile likelihood has the dijet function and its parameters as nuisance parameters and a
    free number of signal events in the signal region, which counts as one bin: the test statistic
    is the fall of the deviance when that bin is left out of the fit. Significance is its root, by
    Wilks's theorem. With signal and without, each is free to take the function that describes it
    best, at a penalty for each parameter: a function that the sidebands prefer by chance makes no
    signal where another describes everything nearly as well.

    Args:
        spectrum: after the cut; edges at the ends of the signal region.
        signal_region: low and high of m.
        guard: width on both sides of the signal region that is left out of the fit, too, where
            the signal is wider than its region.
        at_least: parameters of the dijet function at least.
        energy: of the collision, in the unit of m.

    Raises:
        ConfigError, DataError: see `fit_dijet`.

    Reference:
        Cowan, Cranmer, Gross, Vitells 2010 (1007.1727), equation 12; the choice of the function:
        Dauncey, Kenzie, Wardle, Davies 2014 (1408.6865).
    """
    inside, left_out = spectrum.inside(signal_region), spectrum.around(signal_region, guard)
    fits = candidates(spectrum, mask=left_out, at_least=at_least, energy=energy)
    joint = best_of([_fit_with_region(spectrum, left_out, signal_region, fit) for fit in fits])
    fit, background = best_of(fits), profiled(fits, lambda fit: fit.integral(signal_region))
    counts = float(spectrum.counts[inside].sum())
    excess = spectrum.scale * counts - background.value
    root = np.sqrt(max(joint.penalised - fit.penalised, 0.0))
    return Bump(
        spectrum=spectrum,
        fit=fit,
        observed=spectrum.scale * counts,
        background=background,
        z_local=float(np.copysign(root, excess)),
        z_gaussian=gaussian_significance(
            counts, background.value / spectrum.scale, background.error / spectrum.scale
        ),
    )


def _fit_with_region(
    spectrum: Spectrum, left_out: NDArray[np.bool_], region: Interval, fit: DijetFit
) -> DijetFit:
    """Returns the fit without signal: to the sidebands and the signal region as one bin."""
    inside = spectrum.inside(region)
    first, last = np.flatnonzero(inside)[[0, -1]]
    edges = np.delete(spectrum.edges, np.arange(first + 1, last + 1))
    merged = np.concatenate(
        [
            spectrum.counts[:first],
            [spectrum.counts[inside].sum()],
            spectrum.counts[last + 1 :],
        ]
    )
    guarded = np.concatenate([left_out[:first], [False], left_out[last + 1 :]])
    return fit_dijet(
        Spectrum(edges, merged, spectrum.scale),
        mask=guarded,
        n_parameters=len(fit.parameters),
        energy=fit.energy,
    )


def gaussian_significance(observed: float, background: float, error: float) -> float:
    """Returns the significance of a count over a background with a Gaussian constraint.

    Negative for a deficit. The closed form of the profile likelihood of Poisson(n | s + b) times
    Gauss(b0 | b, error).

    Args:
        observed: n.
        background: b0, positive.
        error: of b0.

    Reference:
        Rolke, Lopez, Conrad 2005 (physics/0403059); the conditional maximum of b solves a
        quadratic equation.
    """
    centred = background - error**2
    b = 0.5 * (centred + np.sqrt(centred**2 + 4 * observed * error**2))
    if observed == 0:
        b = max(centred, 0.0)
    log_ratio = observed * np.log(observed / b) if observed > 0 else 0.0
    pull = 0.0 if error == 0 else (background - b) ** 2 / (2 * error**2)
    q = 2 * (log_ratio - observed + b + pull)
    return float(np.copysign(np.sqrt(max(q, 0.0)), observed - background))


@dataclass(frozen=True, slots=True)
class Search:
    """The most significant window of a scan, and how unusual it is anywhere.

    Args:
        window: low and high of m.
        p_local: of that window.
        z_global: significance given that every window was looked at; where no toy reaches the
            data's, that of one toy in `n_toys`, a lower limit.
        p_global: fraction of toys whose most significant window is at least as significant, with
            its binomial error.
        n_toys: pseudo-experiments.
    """

    window: Interval
    p_local: float
    z_global: float
    p_global: Value
    n_toys: int


def search(
    spectrum: Spectrum,
    fit: DijetFit,
    rng: np.random.Generator,
    *,
    n_toys: int = 1000,
    widths: Sequence[int] = (2, 3, 4, 5, 6),
    progress: Callable[[], None] = lambda: None,
) -> Search:
    """Returns the most significant window of a spectrum and its global significance.

    The normalisation of the background is that of the fit, also in the toys: one that is taken
    from each toy, or forgotten, makes the global p-value wrong without a word.

    Args:
        spectrum: what is scanned.
        fit: its background.
        rng: draws the toys.
        n_toys: pseudo-experiments of the background.
        widths: of the windows, in bins.
        progress: called after each thousand toys.

    Raises:
        DataError: the spectrum has fewer bins than a window.

    Reference:
        Choudalakis 2011 (1101.0390), the BumpHunter.
    """
    expected = fit.expected(spectrum.edges) / spectrum.scale
    if len(expected) < max(widths):
        raise DataError(
            f"expected at least {max(widths)} bins for the widest window; got {len(expected)}"
        )
    p, (start, width) = _scan(spectrum.counts, expected, widths)
    above = 0
    for done in range(0, n_toys, 1000):
        toys = rng.poisson(expected, (min(1000, n_toys - done), len(expected)))
        above += int(np.count_nonzero(_smallest_p(toys.astype(float), expected, widths) <= p))
        progress()
    fraction = above / n_toys
    error = np.sqrt(max(fraction * (1 - fraction), 1 / n_toys) / n_toys)
    return Search(
        window=(float(spectrum.edges[start]), float(spectrum.edges[start + width])),
        p_local=p,
        z_global=float(-ndtri(max(fraction, 1 / n_toys))),
        p_global=Value(fraction, float(error)),
        n_toys=n_toys,
    )


def _scan(counts: Floats, expected: Floats, widths: Sequence[int]) -> tuple[float, tuple[int, int]]:
    """Returns the smallest p-value of all windows, the window's first bin and its width."""
    best, where = 1.0, (0, widths[0])
    for width in widths:
        p = _window_p(counts[None], expected, width)[0]
        if p.min() < best:
            best, where = float(p.min()), (int(p.argmin()), width)
    return best, where


def _smallest_p(toys: Floats, expected: Floats, widths: Sequence[int]) -> Floats:
    smallest: Floats = np.min(
        [_window_p(toys, expected, width).min(axis=1) for width in widths], axis=0
    )
    return smallest


def _window_p(counts: Floats, expected: Floats, width: int) -> Floats:
    """Returns P(n >= counts | expected) of every window, shape (..., windows).

    For counts that aren't whole numbers the incomplete gamma function interpolates.
    """
    observed = np.lib.stride_tricks.sliding_window_view(counts, width, axis=-1).sum(-1)
    mean = np.lib.stride_tricks.sliding_window_view(expected, width).sum(-1)
    p = np.where(observed > mean, gammainc(np.maximum(observed, 1e-9), mean), 1.0)
    clipped: Floats = np.maximum(p, SMALLEST_P)
    return clipped


def thresholds(score: NDArray[np.floating[Any]], keep: Sequence[float]) -> NDArray[np.float64]:
    """Returns the scores above which these fractions of the events are, shape (len(keep),).

    Args:
        score: of the events that define the cut, such as those outside the signal region.
        keep: fractions from 0 to 1; 1 keeps everything.

    Raises:
        DataError: there are too few events for the smallest fraction.
    """
    smallest = min(keep)
    if len(score) * smallest < 1:
        raise DataError(
            f"expected at least {1 / smallest:.0f} events to keep a fraction of {smallest}; "
            f"got {len(score)}"
        )
    found = np.quantile(score, [1 - fraction for fraction in keep])
    return np.where(np.asarray(keep) >= 1, -np.inf, found)
