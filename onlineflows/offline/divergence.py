"""How far apart two densities are: their marginals, the divergence of the whole, where they differ.

Everything is estimated from samples of each, with its Monte Carlo error.
"""

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlineflows.density import AnyDensity
from onlineflows.errors import ConfigError
from onlineflows.offline.distance import Distance, nats_to_truth
from onlineflows.offline.distances import wasserstein_distance
from onlineflows.offline.two_sample import feature_differences
from streams import EventSchema

N_REGIONS = 10
HISTOGRAM_BINS = 40
MIN_SAMPLES = 100
"""Fewer say nothing of a region that holds a tenth of them."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureShift:
    """How one feature's marginal differs, b less a.

    Args:
        name: of the feature.
        unit: of the feature.
        mean: shift of the mean, in standard deviations of a.
        mean_error: its Monte Carlo error.
        width: relative change of the standard deviation.
        width_error: its Monte Carlo error.
        ks: largest difference of the distribution functions.
        wasserstein: Wasserstein's distance W1, in the feature's unit.
        wasserstein_sigma: the same in standard deviations of a, those of a sample (n - 1).
        wasserstein_null: the same of two draws of as many samples from a: what finite samples give
            where nothing differs.
        edges: of a histogram, shape (bins + 1,), in the feature's unit.
        fractions_a, fractions_b: fractions of all samples in its bins, shape (bins,).
    """

    name: str
    unit: str
    mean: float
    mean_error: float
    width: float
    width_error: float
    ks: float
    wasserstein: float
    wasserstein_sigma: float
    wasserstein_null: float
    edges: Floats
    fractions_a: Floats
    fractions_b: Floats


@dataclass(frozen=True, slots=True)
class RegionShift:
    """How a region of the resonant feature m differs.

    Args:
        low, high: the region.
        fraction_a, fraction_b: fractions of the samples in it.
        ratio: b over a; None where a has none.
        ratio_error: its Monte Carlo error.
        jeffreys: Jeffreys' divergence of p(x | m), averaged over the region, in nats per event;
            None where a or b has fewer than two samples in the region.
        jeffreys_error: its Monte Carlo error.
        n_outside: samples left out of it since the other density gives them none; they would make
            it infinite, as those of `Distance`, whose sum over the regions they are.
    """

    low: float
    high: float
    fraction_a: float
    fraction_b: float
    ratio: float | None
    ratio_error: float | None
    jeffreys: float | None
    jeffreys_error: float | None
    n_outside: int


@dataclass(frozen=True, slots=True, eq=False)
class DensityComparison:
    """How far apart two densities of the same events are.

    Args:
        model: name of the model in both snapshots.
        seed: of the draws.
        features: how each marginal differs, in the schema's order.
        a_to_b: KL(a || b), from samples of a.
        b_to_a: KL(b || a), from samples of b.
        regions: the resonant feature's regions, equally full in both together.
        schema: of the events.
        x_a, x_b: the samples, shape (n, d) each.
    """

    model: str
    seed: int
    features: tuple[FeatureShift, ...]
    a_to_b: Distance
    b_to_a: Distance
    regions: tuple[RegionShift, ...]
    schema: EventSchema
    x_a: NDArray[np.float32]
    x_b: NDArray[np.float32]

    @property
    def jeffreys(self) -> float:
        """Jeffreys' divergence, KL(a || b) + KL(b || a), in nats per event."""
        return self.a_to_b.nats + self.b_to_a.nats

    @property
    def jeffreys_error(self) -> float:
        """Its Monte Carlo error: the two parts have samples of their own."""
        return math.hypot(self.a_to_b.error, self.b_to_a.error)

    @property
    def largest_shift(self) -> FeatureShift:
        """The feature whose marginal moved the most, by Wasserstein's distance in widths."""
        return max(self.features, key=lambda feature: feature.wasserstein_sigma)

    def document(self) -> dict[str, Any]:
        """Returns plain JSON types, without the samples."""
        features = []
        for feature in self.features:
            written = asdict(feature)
            names = ("edges", "fractions_a", "fractions_b")
            written["histogram"] = {
                name.removeprefix("fractions_"): written.pop(name).tolist() for name in names
            }
            features.append(written)
        return {
            "model": self.model,
            "n_samples": len(self.x_a),
            "seed": self.seed,
            "jeffreys": self.jeffreys,
            "jeffreys_error": self.jeffreys_error,
            "kl_a_to_b": asdict(self.a_to_b),
            "kl_b_to_a": asdict(self.b_to_a),
            "largest_shift": self.largest_shift.name,
            "features": features,
            "regions": [asdict(region) for region in self.regions],
        }


def compare_densities(
    a: AnyDensity, b: AnyDensity, *, n: int, seed: int, model: str = ""
) -> DensityComparison:
    """Returns how far apart two densities over the same schema are.

    Args:
        a: the first.
        b: the second.
        n: samples drawn from each.
        seed: of the draws.
        model: name of the model in both.

    Raises:
        ConfigError: there are too few samples.
        SchemaError: the schemas differ.
    """
    require_enough(n)
    a.schema.require_equal(b.schema, where="densities to compare")
    seeds = (int(s) for s in np.random.SeedSequence(seed).generate_state(3, np.uint32))
    x_a, x_b, again = (density.sample(n, next(seeds)) for density in (a, b, a))
    at_a, at_b = _LogRatios.of(a, b, x_a), _LogRatios.of(b, a, x_b)
    return DensityComparison(
        model=model,
        seed=seed,
        features=_feature_shifts(a.schema, x_a, x_b, again),
        a_to_b=nats_to_truth(at_a.own, at_a.other),
        b_to_a=nats_to_truth(at_b.own, at_b.other),
        regions=_region_shifts(at_a, at_b, a.schema),
        schema=a.schema,
        x_a=x_a,
        x_b=x_b,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _LogRatios:
    """What two densities say of samples of the first of them.

    Args:
        m: the resonant feature, shape (n,).
        own: log p(x) of the density that they are drawn from, shape (n,).
        other: log q(x) of the other, shape (n,).
        conditional: log p(x | m) - log q(x | m), shape (n,); not finite where q(x) is 0.
    """

    m: Floats
    own: Floats
    other: Floats
    conditional: Floats

    @classmethod
    def of(cls, p: AnyDensity, q: AnyDensity, x: NDArray[np.float32]) -> "_LogRatios":
        own, other = p.log_prob(x), q.log_prob(x)
        marginal = p.log_prob_resonant(x) - q.log_prob_resonant(x)
        with np.errstate(invalid="ignore"):  # inf - inf where q(m) is 0
            conditional = own - other - marginal
        return cls(x[:, 0].astype(np.float64), own, other, conditional)


def _feature_shifts(
    schema: EventSchema,
    x_a: NDArray[np.float32],
    x_b: NDArray[np.float32],
    again: NDArray[np.float32],
) -> tuple[FeatureShift, ...]:
    shifts = []
    for i, found in enumerate(feature_differences(x_a, x_b, schema.names)):
        a, b, a_again = (x[:, i].astype(np.float64) for x in (x_a, x_b, again))
        edges = np.histogram_bin_edges(
            [], HISTOGRAM_BINS, tuple(np.quantile(np.concatenate([a, b]), [0.001, 0.999]))
        )
        sigma = float(a.std(ddof=1)) or 1.0
        distance = wasserstein_distance(a, b)
        shifts.append(
            FeatureShift(
                name=found.name,
                unit=schema.features[i].unit,
                mean=found.mean,
                mean_error=found.mean_error,
                width=found.width,
                width_error=found.width_error,
                ks=found.ks,
                wasserstein=distance,
                wasserstein_sigma=distance / sigma,
                wasserstein_null=wasserstein_distance(a, a_again),
                edges=edges,
                fractions_a=np.histogram(a, edges)[0] / len(a),
                fractions_b=np.histogram(b, edges)[0] / len(b),
            )
        )
    return tuple(shifts)


def _region_shifts(
    at_a: _LogRatios, at_b: _LogRatios, schema: EventSchema
) -> tuple[RegionShift, ...]:
    """Returns the shifts in regions of m that are equally full in both samples together."""
    inner = np.quantile(np.concatenate([at_a.m, at_b.m]), np.linspace(0, 1, N_REGIONS + 1)[1:-1])
    edges = np.unique([schema.resonant.low, *inner, schema.resonant.high])
    places_a, places_b = (np.digitize(r.m, edges[1:-1]) for r in (at_a, at_b))
    return tuple(
        _region_shift(
            (float(low), float(high)),
            (len(at_a.m), len(at_b.m)),
            at_a.conditional[places_a == place],
            at_b.conditional[places_b == place],
        )
        for place, (low, high) in enumerate(pairwise(edges))
    )


def _region_shift(
    region: tuple[float, float], n: tuple[int, int], of_a: Floats, of_b: Floats
) -> RegionShift:
    fraction_a, fraction_b = len(of_a) / n[0], len(of_b) / n[1]
    ratio = fraction_b / fraction_a if len(of_a) else None
    relative = [(1 - f) / (f * k) for f, k in ((fraction_a, n[0]), (fraction_b, n[1])) if f]
    finite = [values[np.isfinite(values)] for values in (of_a, of_b)]
    means = [_mean(values) for values in finite]
    known = [pair for pair in means if pair is not None]
    is_known = len(known) == len(means)
    return RegionShift(
        low=region[0],
        high=region[1],
        fraction_a=fraction_a,
        fraction_b=fraction_b,
        ratio=ratio,
        ratio_error=None if ratio is None else ratio * math.sqrt(sum(relative)),
        jeffreys=sum(mean for mean, _ in known) if is_known else None,
        jeffreys_error=math.hypot(*(error for _, error in known)) if is_known else None,
        n_outside=len(of_a) + len(of_b) - sum(map(len, finite)),
    )


def _mean(values: Floats) -> tuple[float, float] | None:
    """Returns a mean and its error; None of fewer than two values."""
    if len(values) < 2:
        return None
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def require_enough(n: int) -> None:
    """Raises ConfigError where so few samples say nothing."""
    if n < MIN_SAMPLES:
        raise ConfigError(f"expected at least {MIN_SAMPLES} samples of each; got {n}")
