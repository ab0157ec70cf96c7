"""Falling spectra of the resonant feature, and the dijet functions fitted to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from scipy.stats import chi2

from onlineflows.errors import ConfigError, DataError
from onlineflows.offline.metrics import Value
from onlineflows.offline.regions import Interval

Floats = NDArray[np.float64]

N_PARAMETERS = (3, 4, 5)
"""Parameters of the dijet functions, fewest first."""
FEWEST = 4
"""Parameters that a choice begins with. Where a spectrum needs four, some ten thousand events can't
tell, and three predict a few per cent too little or too much with an error that doesn't know."""
ONE_MORE = float(chi2.isf(0.05, 1))
"""What one more parameter must lower the deviance by: it does by chance in 5 % of all spectra."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(5)
MAX_STEPS = 200
TOLERANCE = 1e-9
SMALLEST_CONTENT = 1e-300
"""Of a bin, where a function falls below all numbers: empty bins are divided by it."""
FINE = 4000
"""Points of the distribution function that draws of m are looked up in."""


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """A binned spectrum whose contents fluctuate as counts do.

    Events count as they are. Samples of a density learned from `n_seen` events don't: a bin holds
    n_seen / n_samples times its samples, but its variance has two parts, that of the events which
    the density was learned from (drawing more samples never lowers it) and that of the draw, in
    all mu (1 + n_seen / n_samples). Divided by that factor, the contents have mean and variance of
    a Poisson variable: `counts` are these effective counts, `scale` is the factor.

    Args:
        edges: of the bins, shape (k + 1,), in the unit of the resonant feature.
        counts: effective counts, shape (k,), not negative.
        scale: events that one effective count stands for.

    Raises:
        DataError: the shapes don't fit or a content is negative.

    Reference:
        Bohm and Zech 2014 (1309.1287), scaled Poisson distributions.
    """

    edges: Floats
    counts: Floats
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.counts.shape != (len(self.edges) - 1,) or not len(self.counts):
            raise DataError(
                f"expected one content per bin; got {self.counts.shape} for {len(self.edges)} edges"
            )
        if not (np.diff(self.edges) > 0).all() or not (self.counts >= 0).all():
            raise DataError("expected rising edges and contents that aren't negative")

    @classmethod
    def of_events(cls, m: NDArray[np.floating[Any]], edges: Floats) -> Self:
        """Returns the spectrum of events; those outside the edges are left out."""
        return cls(edges, np.histogram(m, edges)[0].astype(np.float64))

    @classmethod
    def of_samples(
        cls, m: NDArray[np.floating[Any]], edges: Floats, *, n_seen: int, n_samples: int
    ) -> Self:
        """Returns the spectrum that samples stand for, scaled to the events seen.

        Args:
            m: the samples' resonant feature after any cut, shape (n,).
            edges: of the bins.
            n_seen: events that the density was learned from.
            n_samples: samples drawn, before any cut.
        """
        scale = 1.0 + n_seen / n_samples
        counts = np.histogram(m, edges)[0] * (n_seen / (n_samples * scale))
        return cls(edges, counts, scale)

    @property
    def events(self) -> Floats:
        """Expected events in each bin, shape (k,)."""
        return self.scale * self.counts

    def inside(self, interval: Interval) -> NDArray[np.bool_]:
        """Returns which bins lie within an interval that begins and ends at edges.

        Raises:
            ConfigError: it does not.
        """
        for end in interval:
            if not np.isclose(self.edges, end, rtol=0, atol=1e-9).any():
                raise ConfigError(
                    f"expected an interval between edges of the spectrum; got {interval} with bins "
                    f"from {self.edges[0]} to {self.edges[-1]}: see aligned_edges"
                )
        return self._between(*interval)

    def around(self, interval: Interval, guard: float) -> NDArray[np.bool_]:
        """Returns which bins have their centre in an interval or no further from it than a guard.

        Args:
            interval: begins and ends at edges.
            guard: width on both sides; 0 for the bins `inside`.

        Raises:
            ConfigError: the interval does not.
        """
        self.inside(interval)
        return self._between(interval[0] - guard, interval[1] + guard)

    def _between(self, low: float, high: float) -> NDArray[np.bool_]:
        centres = 0.5 * (self.edges[1:] + self.edges[:-1])
        between: NDArray[np.bool_] = (centres > low) & (centres < high)
        return between


def aligned_edges(interval: Interval, low: float, high: float, n_inside: int = 4) -> Floats:
    """Returns even edges from about low to about high, `n_inside` bins of them in an interval.

    Args:
        interval: such as the signal region; begins and ends at edges.
        low: the first edge is the first possible one at or above it.
        high: the last edge is the last possible one at or below it.
        n_inside: bins in the interval.

    Raises:
        ConfigError: the interval isn't inside the range.

    Example:
        >>> aligned_edges((3.0, 4.0), 1.9, 6.1, n_inside=1)
        array([2., 3., 4., 5., 6.])
    """
    if not low < interval[0] < interval[1] < high:
        raise ConfigError(f"expected low < {interval} < high; got {low} and {high}")
    width = (interval[1] - interval[0]) / n_inside
    below = int((interval[0] - low) / width + 1e-9)
    above = int((high - interval[1]) / width + 1e-9)
    steps = np.arange(-below, n_inside + above + 1, dtype=np.float64)
    edges: Floats = interval[0] + width * steps
    return edges


@dataclass(frozen=True, slots=True, eq=False)
class DijetFit:
    """A dijet function with fitted parameters.

    f(m) = exp(p1) (1 - x)^p2 / x^(p3 + p4 ln x + p5 ln^2 x) with x = m / energy; three or four
    parameters leave out the last ones.

    Args:
        parameters: p1, p2, ..., shape (k,).
        covariance: their covariance, shape (k, k).
        deviance: twice the log-likelihood ratio to a perfect description of the fitted bins.
        n_bins: bins fitted.
        energy: of the collision, in the unit of m.
        scale: events per effective count of the spectrum.
    """

    parameters: Floats
    covariance: Floats
    deviance: float
    n_bins: int
    energy: float
    scale: float = 1.0

    @property
    def p_value(self) -> float:
        """Of the goodness of fit: the deviance against a chi-square.

        Reference:
            Baker and Cousins, Nucl. Instrum. Meth. 221 (1984) 437.
        """
        return float(chi2.sf(self.deviance, self.n_bins - len(self.parameters)))

    @property
    def penalised(self) -> float:
        """The deviance and `ONE_MORE` for each parameter: functions are compared by it."""
        return self.deviance + ONE_MORE * len(self.parameters)

    def expected(self, edges: Floats) -> Floats:
        """Returns the events expected in each bin, shape (k,)."""
        return self.scale * _contents(basis_of(edges, len(self.parameters), self.energy), self)

    def integral(self, interval: Interval) -> Value:
        """Returns the events expected in an interval with the error of the fit."""
        low, high = interval
        basis = basis_of(np.linspace(low, high, 33), len(self.parameters), self.energy)
        gradient = np.einsum("bq,bqk->k", at_nodes(basis, self.parameters), basis.phi)
        value = float(_contents(basis, self).sum())
        error = float(np.sqrt(gradient @ self.covariance @ gradient))
        return Value(self.scale * value, self.scale * error)

    def sample(self, n: int, interval: Interval, rng: np.random.Generator) -> Floats:
        """Returns n values of m inside an interval, drawn from the function, shape (n,)."""
        edges = np.linspace(*interval, FINE + 1)
        cumulative = np.concatenate([[0.0], np.cumsum(self.expected(edges))])
        m: Floats = np.interp(rng.random(n) * cumulative[-1], cumulative, edges)
        return m


def fit_dijet(
    spectrum: Spectrum,
    *,
    mask: NDArray[np.bool_] | None = None,
    n_parameters: int = 4,
    energy: float = 13.0,
) -> DijetFit:
    """Returns the dijet function that makes a spectrum most likely.

    The logarithm of the function is linear in its parameters, so that the Poisson likelihood has
    one maximum, found by Newton's method without starting values. Bins are integrated over.

    Args:
        spectrum: what to fit.
        mask: bins that are left out, shape (k,), such as the signal region.
        n_parameters: 3, 4 or 5.
        energy: of the collision, in the unit of m; all edges are below it.

    Raises:
        ConfigError: another number of parameters, or bins beyond the energy.
        DataError: fewer bins with content than parameters, or no maximum.

    Reference:
        The functions: Collins, Howe, Nachman 2018 (1805.02664) for three parameters, CDF 2008
        (0812.4036) for four, and one more power of ln x as customary at the LHC.
    """
    if n_parameters not in N_PARAMETERS:
        raise ConfigError(f"expected {N_PARAMETERS} parameters of a dijet fit; got {n_parameters}")
    if not 0 < spectrum.edges[0] < spectrum.edges[-1] < energy:
        raise ConfigError(
            f"expected bins between 0 and the energy {energy}; got {spectrum.edges[[0, -1]]}"
        )
    used = np.ones(len(spectrum.counts), dtype=np.bool_) if mask is None else ~mask
    counts = spectrum.counts[used]
    if np.count_nonzero(counts) < n_parameters:
        raise DataError(
            f"expected at least {n_parameters} bins with events for a fit of as many parameters; "
            f"got {np.count_nonzero(counts)}"
        )
    basis = basis_of(spectrum.edges, n_parameters, energy).of(used)
    return _maximise(counts, basis, energy, spectrum.scale)


def candidates(
    spectrum: Spectrum,
    *,
    mask: NDArray[np.bool_] | None = None,
    at_least: int = FEWEST,
    energy: float = 13.0,
) -> tuple[DijetFit, ...]:
    """Returns the fit of every dijet function that a spectrum may have, fewest parameters first.

    Args:
        spectrum: what to fit.
        mask: bins that are left out, shape (k,).
        at_least: parameters of the first one, such as those that the spectrum needed before a cut;
            fewer where fewer bins have content.
        energy: of the collision, in the unit of m.

    Raises:
        ConfigError, DataError: see `fit_dijet`.
    """
    filled = spectrum.counts > 0 if mask is None else (spectrum.counts > 0) & ~mask
    n_filled = int(np.count_nonzero(filled))
    first = max(min(at_least, n_filled), N_PARAMETERS[0])
    most = max(first, min(N_PARAMETERS[-1], n_filled - 1))
    return tuple(
        fit_dijet(spectrum, mask=mask, n_parameters=n, energy=energy)
        for n in range(first, most + 1)
    )


class Choice(Protocol):
    """A description of a spectrum, one of several with different numbers of parameters."""

    @property
    def penalised(self) -> float:
        """The deviance and `ONE_MORE` for each parameter."""
        ...


C = TypeVar("C", bound=Choice)


def best_of(fits: Sequence[C]) -> C:
    """Returns the fit with the fewest parameters that more don't improve significantly.

    Improvement is the fall of the deviance, a chi-square with one degree of freedom for each
    parameter that isn't needed.

    Args:
        fits: of one spectrum, such as `candidates`.

    Reference:
        Wilks, Ann. Math. Statist. 9 (1938) 60.
    """
    return min(fits, key=lambda fit: fit.penalised)


def choose_fit(
    spectrum: Spectrum,
    *,
    mask: NDArray[np.bool_] | None = None,
    at_least: int = FEWEST,
    energy: float = 13.0,
) -> DijetFit:
    """Returns the best of a spectrum's `candidates`, which says what the arguments are."""
    return best_of(candidates(spectrum, mask=mask, at_least=at_least, energy=energy))


def profiled(fits: Sequence[C], expected: Callable[[C], Value]) -> Value:
    """Returns the events that fits expect with an error that knows of the choice between them.

    The value is the best fit's. The error reaches as far as that of any of the fits does with a
    penalised deviance of at most one above the best: the envelope of their parabolas.

    Args:
        fits: of one spectrum, such as `candidates`.
        expected: the events that one of them expects, with its own error.

    Reference:
        Dauncey, Kenzie, Wardle, Davies 2014 (1408.6865), discrete profiling.
    """
    best = best_of(fits)
    value, error = expected(best), 0.0
    for fit in fits:
        room = 1.0 - (fit.penalised - best.penalised)
        if room >= 0:
            other = expected(fit)
            error = max(error, abs(other.value - value.value) + float(np.sqrt(room)) * other.error)
    return Value(value.value, error)


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """The functions that multiply the parameters in ln f, at the nodes of each bin.

    Args:
        phi: shape (bins, nodes, parameters).
        weight: of the nodes, shape (bins, nodes).
    """

    phi: Floats
    weight: Floats

    def of(self, bins: NDArray[np.bool_]) -> "Basis":
        """Returns the functions in some of the bins."""
        return Basis(self.phi[bins], self.weight[bins])


def basis_of(edges: Floats, n_parameters: int, energy: float) -> Basis:
    """Returns the functions of a dijet fit in the bins between edges."""
    half = 0.5 * np.diff(edges)[:, None]
    x = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * NODES) / energy
    log_x = np.log(x)
    terms = [np.ones_like(x), np.log1p(-x), -log_x, -(log_x**2), -(log_x**3)]
    return Basis(np.stack(terms[:n_parameters], axis=-1), half * WEIGHTS)


def at_nodes(basis: Basis, parameters: Floats) -> Floats:
    """Returns what each node adds to the content of its bin, shape (bins, nodes)."""
    values: Floats = basis.weight * np.exp(basis.phi @ parameters)
    return values


def _contents(basis: Basis, fit: DijetFit) -> Floats:
    contents: Floats = at_nodes(basis, fit.parameters).sum(axis=1)
    return contents


def _maximise(counts: Floats, basis: Basis, energy: float, scale: float) -> DijetFit:
    """Newton's method in coordinates in which the functions are orthogonal."""
    n_bins, n_nodes, k = basis.phi.shape
    ortho, to_ortho = np.linalg.qr(basis.phi.reshape(-1, k))
    turned = Basis(ortho.reshape(n_bins, n_nodes, k), basis.weight)
    centred = basis.weight.sum(axis=1)
    start = np.linalg.lstsq(
        turned.phi.mean(axis=1), np.log(np.maximum(counts, 0.5) / centred), rcond=None
    )[0]
    theta, deviance = start, _deviance(counts, at_nodes(turned, start).sum(axis=1))
    for _ in range(MAX_STEPS):
        nodes = at_nodes(turned, theta)
        mu = np.maximum(nodes.sum(axis=1), SMALLEST_CONTENT)
        slopes = np.einsum("bq,bqk->bk", nodes, turned.phi)
        information = slopes.T @ (slopes / mu[:, None])
        step = np.linalg.solve(information, slopes.T @ (counts / mu - 1.0))
        taken, lower = _shortened(counts, turned, theta, step, deviance)
        if taken is None or deviance - lower < TOLERANCE * (1 + abs(lower)):
            inverse = np.linalg.inv(to_ortho)
            covariance = inverse @ np.linalg.inv(information) @ inverse.T
            last = theta if taken is None else taken
            return DijetFit(inverse @ last, covariance, lower, n_bins, energy, scale)
        theta, deviance = taken, lower
    raise DataError(f"expected a dijet fit to converge in {MAX_STEPS} steps; it did not")


def _shortened(
    counts: Floats, basis: Basis, theta: Floats, step: Floats, deviance: float
) -> tuple[Floats | None, float]:
    """Returns the point after the longest step of 1, 1/2, ... that lowers the deviance."""
    for _ in range(40):
        tried = theta + step
        with np.errstate(over="ignore", invalid="ignore"):
            lower = _deviance(counts, at_nodes(basis, tried).sum(axis=1))
        if lower <= deviance:
            return tried, lower
        step = 0.5 * step
    return None, deviance


def _deviance(counts: Floats, mu: Floats) -> float:
    """Returns twice the log-likelihood ratio of the saturated model to this one."""
    terms = mu - counts + xlogy(counts, counts) - xlogy(counts, mu)
    total = float(2 * terms.sum())
    return total if np.isfinite(total) else np.inf
