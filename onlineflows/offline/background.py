"""How much background passes a cut: five estimates that need no simulation, and their closure.

Each estimates the number of background events in the signal region whose score is at least a
threshold. They use: `direct` the sideband model and the spectrum's fit; `reciprocal` two densities
and the data; `sideband_fit` the spectrum after the cut, outside the signal region; `resonance_fit`
the same with a resonance, everywhere; `abcd` counts in four regions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.density import AnyDensity
from onlineflows.errors import DataError
from onlineflows.offline.bumphunt import hunt
from onlineflows.offline.dijet import DijetFit, Spectrum
from onlineflows.offline.metrics import Value
from onlineflows.offline.regions import Interval
from onlineflows.offline.resonance import fit_with_resonance

Array = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Score = Callable[[Array], Floats]
"""Of events, shape (n, d), to scores, shape (n,): higher is more signal-like."""


def direct(
    background: AnyDensity,
    score: Score,
    cuts: Floats,
    *,
    fit: DijetFit,
    region: Interval,
    n_samples: int,
    rng: np.random.Generator,
) -> list[Value]:
    """Returns the estimate from samples of p_bg(x' | m) in the signal region, one per cut.

    The sideband model gives the features at an m, the spectrum's fit gives m and the number of
    events.

    Args:
        background: model of the background, such as that of the sidebands.
        score: what is cut on.
        cuts: thresholds, shape (k,).
        fit: of the spectrum before the cut, without the signal region.
        region: the signal region.
        n_samples: events drawn; their statistical error is in the result.
        rng: draws m and the seed of the samples.

    Reference:
        Nachman and Shih 2020 (2001.04990), the direct integration of p_bg.
    """
    m = fit.sample(n_samples, region, rng)
    found = score(background.sample_given(m, seed=int(rng.integers(2**31))))
    total = fit.integral(region)
    estimates = []
    for cut in cuts:
        passed = float(np.mean(found >= cut))
        error = np.sqrt(max(passed * (1 - passed), 1 / n_samples) / n_samples)
        estimates.append(_product(total, Value(passed, float(error))))
    return estimates


def reciprocal(log_ratio: Array, passed: Sequence[Mask], *, total: Value) -> list[Value]:
    """Returns the estimate from the sum of 1 / R over the data that pass, one per cut.

    With R = p_data(x' | m) / p_bg(x' | m) the mean of 1 / R over data inside a cut is the
    integral of p_bg there, whatever the signal. Unlike the others it needs no samples; an error of
    either density enters directly.

    Args:
        log_ratio: ln R of the data in the signal region, shape (n,).
        passed: which of them pass each cut, on ln R itself or on anything else, shape (n,).
        total: background events in the signal region before the cut, such as the fit's.

    Raises:
        DataError: the shapes differ, or there are no events.

    Reference:
        Nachman and Shih 2020 (2001.04990): the background efficiency of R > R_c is the mean of
        1 / R over data with R > R_c.
    """
    shapes = {mask.shape for mask in passed}
    if len(log_ratio) == 0 or shapes - {log_ratio.shape}:
        raise DataError(
            f"expected a ratio of each event and whether it passes; got {log_ratio.shape} and "
            f"{sorted(shapes)}"
        )
    weight = np.exp(-np.asarray(log_ratio, dtype=np.float64))
    estimates = []
    for mask in passed:
        kept = np.where(mask, weight, 0.0)
        fraction = Value(float(kept.mean()), float(np.sqrt((kept**2).sum()) / len(kept)))
        estimates.append(_product(total, fraction))
    return estimates


def sideband_fit(
    before: DijetFit, after: Sequence[Spectrum], *, region: Interval, guard: float = 0.0
) -> list[Value]:
    """Returns the estimate from a dijet fit to the spectrum after each cut.

    Right as long as the cut doesn't bend the background's spectrum: the score must not depend on
    m, not even through the features. A cut's fit has at least the parameters that the spectrum
    needs before. Signal beside its region pulls it up: see `resonance_fit`.

    Args:
        before: the fit before the cuts.
        after: the spectrum after each cut; edges at the ends of the signal region.
        region: the signal region.
        guard: width beside the signal region that isn't fitted.
    """
    needed = len(before.parameters)
    return [hunt(found, region, guard=guard, at_least=needed).background for found in after]


def resonance_fit(
    before: DijetFit, after: Sequence[Spectrum], *, region: Interval, guard: float = 0.0
) -> list[Value]:
    """Returns the estimate from a fit of a dijet function and a resonance after each cut.

    As `sideband_fit`, with signal wherever it is. Where there is none, a bend of the background in
    the signal region may pass for one.

    Args:
        before: the fit before the cuts.
        after: the spectrum after each cut; edges at the ends of the signal region.
        region: the signal region.
        guard: width beside the signal region that the first fit leaves out.
    """
    needed = len(before.parameters)
    fits = (fit_with_resonance(found, region, guard=guard, at_least=needed) for found in after)
    return [fit.background for fit in fits]


def abcd(passed: Mask, in_region: Mask, in_sidebands: Mask) -> Value:
    """Returns the estimate B C / D from the other three of the four regions of one cut.

    A passes in the signal region, B fails there, C passes and D fails in the sidebands. Right where
    score and m are independent for the background: take `Decorrelated` scores, and sidebands far
    enough from the signal.

    Args:
        passed: which data pass the cut, shape (n,).
        in_region: which are in the signal region, shape (n,).
        in_sidebands: which are in the sidebands, shape (n,).

    Raises:
        DataError: no event fails in the sidebands.
    """
    b = int(np.count_nonzero(~passed & in_region))
    c = int(np.count_nonzero(passed & in_sidebands))
    d = int(np.count_nonzero(~passed & in_sidebands))
    if d == 0:
        raise DataError("expected events of the sidebands that fail the cut; got none")
    value = b * c / d
    relative = sum(1 / max(n, 1) for n in (b, c, d))
    return Value(value, float(max(value, b / d) * np.sqrt(relative)))


@dataclass(frozen=True, slots=True, eq=False)
class Decorrelated:
    """Thresholds that pass the same fraction of a background model at every m.

    Args:
        keep: the fractions, shape (k,).
        coefficients: of each threshold as a polynomial of (m - centre) / half, shape (k, degree
            + 1).
        centre: middle of the range of m.
        half: half its width.
    """

    keep: Floats
    coefficients: Floats
    centre: float
    half: float

    def passed(self, m: Array, score: Array, cut: int) -> Mask:
        """Returns which events pass the threshold of fraction `keep[cut]`, shape (n,)."""
        t = (np.asarray(m, dtype=np.float64) - self.centre) / self.half
        threshold = np.polynomial.polynomial.polyval(t, self.coefficients[cut])
        above: Mask = score >= threshold
        return above


def decorrelate(
    background: AnyDensity,
    score: Score,
    keep: Floats,
    *,
    interval: Interval,
    n_samples: int,
    rng: np.random.Generator,
) -> Decorrelated:
    """Returns thresholds at fixed background efficiency along m, from a model of the background.

    The score is computed for samples of p_bg(x' | m) at even m; in strips of m its quantiles are
    taken, and a parabola is laid through each of them. What the parabolas or the model miss is
    corrected by the counts of `abcd`.

    Args:
        background: the model.
        score: what is cut on.
        keep: fractions that shall pass, shape (k,).
        interval: of m, sidebands included.
        n_samples: events drawn.
        rng: draws m and the seed of the samples.

    Reference:
        Dolen, Harris, Marzani, Rappoccio, Tran 2016 (1603.00027), thresholds of a fixed rate.
    """
    low, high = interval
    n_strips = 16
    m = np.sort(rng.uniform(low, high, n_samples))
    found = score(background.sample_given(m, seed=int(rng.integers(2**31))))
    centre, half = 0.5 * (low + high), 0.5 * (high - low)
    strips = np.array_split(np.arange(n_samples), n_strips)
    middle = np.array([(m[strip].mean() - centre) / half for strip in strips])
    quantiles = np.array([np.quantile(found[strip], 1 - keep) for strip in strips])
    coefficients = np.polynomial.polynomial.polyfit(middle, quantiles, 2).T
    return Decorrelated(keep, coefficients, centre, half)


@dataclass(frozen=True, slots=True)
class Closure:
    """One line of a closure table.

    Args:
        method: name of the estimate.
        efficiency: background efficiency of the cut.
        predicted: events predicted, with the error that the method itself knows.
        true: events expected, with the error of the sample that they were counted in.
    """

    method: str
    efficiency: float
    predicted: Value
    true: Value

    @property
    def ratio(self) -> Value:
        """Predicted over true, with both errors."""
        ratio = self.predicted.value / self.true.value
        relative = np.hypot(
            self.predicted.error / max(self.predicted.value, 1e-9),
            self.true.error / self.true.value,
        )
        return Value(ratio, float(ratio * relative))


def _product(a: Value, b: Value) -> Value:
    return Value(a.value * b.value, float(np.hypot(a.error * b.value, b.error * a.value)))
