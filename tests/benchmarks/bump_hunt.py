"""Whether local significances of the bump hunt are standard normal, and what a signal still gives.

``python tests/benchmarks/bump_hunt.py`` draws spectra of the stand-in's background from its closed
form, `--spectra` for each number of events in `--events`, without signal and with one of so many
events in the signal region as are 3.5 times the root of the background there, and hunts in each of
them in two ways: by one function of three or more parameters, chosen by the likelihood ratio, with
its own error; and as `onlineflows.offline.bumphunt.hunt` does. It prints one JSON document: for
each way mean and width of the significance without signal, how often it exceeds 1.645 (which a
standard normal number does in 5 % of all cases) and 2 (2.3 %), the mean with signal, and in how
many of the spectra with signal it exceeds what 5 % of those without do.
"""

import argparse
import json
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from onlineflows.offline.bumphunt import gaussian_significance, hunt
from onlineflows.offline.dijet import Spectrum, aligned_edges, choose_fit
from replay.sources.standin import Mixture, standin_constants
from streams import LHCO

REGION, FIT_RANGE = (3.3, 3.7), (2.9, 6.9)
EDGES = aligned_edges(REGION, *FIT_RANGE)
GUARD = float(EDGES[1] - EDGES[0])
SIGNAL_SIGMA = 3.5
WAYS = ("one function", "profiled")


def shares(mixture: Mixture) -> NDArray[np.float64]:
    """Returns the probability of each bin for one kind of event, in closed form."""
    low, high = LHCO.low[0], LHCO.high[0]
    u = np.log((EDGES - low) / (high - EDGES))
    below = np.zeros(len(EDGES))
    for weight, mean, factor in zip(mixture.weights, mixture.means, mixture.cholesky, strict=True):
        below += weight * ndtr((u - mean[0]) / factor[0, 0])
    return np.diff(below)


def significances(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Returns the significance of one spectrum in both ways."""
    spectrum = Spectrum(EDGES, counts.astype(float))
    region = (REGION[0] - GUARD, REGION[1] + GUARD)
    one = choose_fit(spectrum, mask=spectrum.inside(region), at_least=3).integral(REGION)
    observed = float(counts[spectrum.inside(REGION)].sum())
    return (
        gaussian_significance(observed, one.value, one.error),
        hunt(spectrum, REGION, guard=GUARD).z_local,
    )


def measure(n_events: int, n_spectra: int) -> dict[str, dict[str, float]]:
    """Returns what is found at one number of events, by the way of hunting."""
    constants, rng = standin_constants(), np.random.default_rng([20_881, n_events])
    background, signal = shares(constants.background), shares(constants.signal)
    inside = Spectrum(EDGES, background).inside(REGION)
    n_signal = SIGNAL_SIGMA * np.sqrt(n_events * background[inside].sum()) / signal[inside].sum()
    means = n_events * background, n_events * background + n_signal * signal
    without, with_signal = (
        np.array([significances(rng.poisson(mean)) for _ in range(n_spectra)]) for mean in means
    )
    return {
        way: {
            "mean": without[:, i].mean(),
            "width": without[:, i].std(ddof=1),
            "above_1.645": (without[:, i] > 1.645).mean(),
            "above_2": (without[:, i] > 2).mean(),
            "mean_with_signal": with_signal[:, i].mean(),
            "power_at_5_percent": (with_signal[:, i] > np.quantile(without[:, i], 0.95)).mean(),
        }
        for i, way in enumerate(WAYS)
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, nargs="+", default=[40_000, 200_000, 1_000_000])
    parser.add_argument("--spectra", type=int, default=600)
    given = parser.parse_args(arguments)
    found = {f"{n:,}": measure(n, given.spectra) for n in given.events}
    rounded = {
        n: {way: {k: round(float(v), 3) for k, v in row.items()} for way, row in ways.items()}
        for n, ways in found.items()
    }
    print(json.dumps({"spectra": given.spectra, "events": rounded}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
