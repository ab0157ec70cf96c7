"""A falling spectrum with a resonance on it: the background in the signal region where both fit.

Who leaves the signal region out of a fit still has the signal that is beside it, and after a tight
cut that is more than the background there. Here the resonance is part of the fit, everywhere.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares
from scipy.special import ndtr, xlogy

from onlineflows.offline.dijet import (
    FEWEST,
    NODES,
    ONE_MORE,
    WEIGHTS,
    DijetFit,
    Floats,
    Spectrum,
    at_nodes,
    basis_of,
    best_of,
    candidates,
    profiled,
)
from onlineflows.offline.metrics import Value
from onlineflows.offline.regions import Interval

N_SHAPE = 4
"""Numbers that a shape has."""
WIDTHS_OF_A_REGION = 3.0
"""A signal region is expected to be as wide as so many standard deviations of the peak's core."""
UNCERTAINTY = np.array([0.05, 0.15, 0.2, 0.2])
"""Standard deviations of what is expected of a shape: of the peak in widths of the signal region,
of the logarithms of width and tails. A strong signal overrules them; a weak one can't say more."""
SMALLEST_CONTENT = 1e-9
MAX_EVALUATIONS = 400


@dataclass(frozen=True, slots=True)
class Peak:
    """The shape of a resonance: a Gaussian core whose two tails fall exponentially.

    Args:
        mean: of the core.
        width: standard deviation of the core.
        below: where the lower tail begins, in widths below the mean; so steep is it, too.
        above: where the upper tail begins, in widths above the mean.

    Reference:
        Das 2016 (1603.08591), GaussExp, with a tail on both sides.
    """

    mean: float
    width: float
    below: float
    above: float

    def shares(self, edges: Floats) -> Floats:
        """Returns the fraction of the resonance in each bin, shape (k,)."""
        half = 0.5 * np.diff(edges)[:, None]
        z = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * NODES - self.mean) / self.width
        low, high = self.below, self.above
        exponent = np.where(z < -low, low * (0.5 * low + z), -0.5 * z**2)
        exponent = np.where(z > high, high * (0.5 * high - z), exponent)
        tails = np.exp(-0.5 * low**2) / low + np.exp(-0.5 * high**2) / high
        core = np.sqrt(2 * np.pi) * (ndtr(high) - ndtr(-low))
        contents = (half * WEIGHTS * np.exp(exponent)).sum(axis=1)
        shares: Floats = contents / (self.width * (core + tails))
        return shares


@dataclass(frozen=True, slots=True, eq=False)
class ResonanceFit:
    """A dijet function and a resonance that describe a spectrum together.

    Args:
        background: events expected in the signal region without the resonance, with the error of
            the fit.
        n_signal: events of the resonance, wherever they are; not negative.
        peak: its shape.
        n_parameters: of the dijet function.
        deviance: twice the log-likelihood ratio to a perfect description, with what the shape
            costs.
    """

    background: Value
    n_signal: float
    peak: Peak
    n_parameters: int
    deviance: float

    @property
    def penalised(self) -> float:
        """The deviance and `ONE_MORE` for each parameter of the dijet function."""
        return self.deviance + ONE_MORE * self.n_parameters


def fit_with_resonance(
    spectrum: Spectrum,
    region: Interval,
    *,
    guard: float = 0.0,
    at_least: int = FEWEST,
    energy: float = 13.0,
) -> ResonanceFit:
    """Returns the best fit of a dijet function and a resonance to a whole spectrum.

    The resonance has a free size and a shape of which only the rough is expected: in the middle of
    the signal region, with a core of a third of its width. Nothing of it is known from simulation.
    The number of parameters of the dijet function is chosen as everywhere, and the error reaches
    over every choice that describes the spectrum as well: see `dijet.profiled`.

    Args:
        spectrum: after a cut; edges at the ends of the signal region.
        region: the signal region.
        guard: width beside it that the fit which this one begins with leaves out.
        at_least: parameters of the dijet function at least, such as those needed before the cut.
        energy: of the collision, in the unit of m.

    Raises:
        ConfigError, DataError: see `dijet.fit_dijet`.
    """
    mask = spectrum.around(region, guard)
    starts = candidates(spectrum, mask=mask, at_least=at_least, energy=energy)
    fits = [_fit(spectrum, region, start) for start in starts]
    return replace(best_of(fits), background=profiled(fits, lambda fit: fit.background))


def _fit(spectrum: Spectrum, region: Interval, start: DijetFit) -> ResonanceFit:
    """Least squares of the deviance's signed roots, from a fit of the background alone."""
    counts, inside = spectrum.counts, spectrum.inside(region)
    k = len(start.parameters)
    basis = basis_of(spectrum.edges, k, start.energy)
    # In coordinates in which the functions are orthogonal, as in `fit_dijet`.
    to_ortho = np.linalg.qr(basis.phi.reshape(-1, k))[1]
    theta = to_ortho @ start.parameters
    inverse = np.linalg.inv(to_ortho)
    excess = counts[inside].sum() - at_nodes(basis, start.parameters)[inside].sum()
    size = max(float(np.sqrt(counts[inside].sum())), 1.0)

    def contents(p: Floats) -> Floats:
        found: Floats = at_nodes(basis, inverse @ p[:k]).sum(axis=1)
        return found

    def residuals(p: Floats) -> Floats:
        with np.errstate(over="ignore", invalid="ignore"):
            mu = contents(p) + size * p[k] * _peak(p[k + 1 :], region).shares(spectrum.edges)
            roots = _signed_roots(counts, np.maximum(mu, SMALLEST_CONTENT))
        return np.concatenate([roots, p[k + 1 :]])

    first = np.concatenate([theta, [max(excess, 1.0) / size], np.zeros(N_SHAPE)])
    lowest = np.full(len(first), -np.inf)
    lowest[k] = 0.0  # a resonance adds events
    found = least_squares(
        residuals, first, bounds=(lowest, np.inf), x_scale="jac", max_nfev=MAX_EVALUATIONS
    )
    jacobian = np.asarray(found.jac, dtype=np.float64)
    covariance = np.linalg.pinv(jacobian.T @ jacobian)[:k, :k]
    nodes = at_nodes(basis, inverse @ found.x[:k])
    gradient = np.einsum("bq,bqk->k", nodes[inside], basis.phi[inside]) @ inverse
    value = Value(
        spectrum.scale * float(nodes[inside].sum()),
        spectrum.scale * float(np.sqrt(gradient @ covariance @ gradient)),
    )
    n_signal = spectrum.scale * size * float(found.x[k])
    return ResonanceFit(value, n_signal, _peak(found.x[k + 1 :], region), k, 2 * float(found.cost))


def _peak(pulls: Floats, region: Interval) -> Peak:
    """Returns the shape that is so many standard deviations from the expected one."""
    low, high = region
    moved, width, below, above = UNCERTAINTY * np.clip(pulls, -10.0, 10.0)
    return Peak(
        mean=0.5 * (low + high) + float(moved) * (high - low),
        width=(high - low) / WIDTHS_OF_A_REGION * float(np.exp(width)),
        below=float(np.exp(below)),
        above=float(np.exp(above)),
    )


def _signed_roots(counts: Floats, mu: Floats) -> Floats:
    """Returns the root of what each bin adds to the deviance, with the sign of n - mu."""
    terms = 2 * (mu - counts + xlogy(counts, counts) - xlogy(counts, mu))
    roots: Floats = np.sign(counts - mu) * np.sqrt(np.maximum(terms, 0.0))
    return np.where(np.isfinite(roots), roots, -1e100)
