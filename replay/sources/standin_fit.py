"""Makes ``standin.json``: ``python -m replay.sources.standin_fit FILE`` (a feature file).

The only place of the producer that needs scikit-learn. The result depends on FILE and on the
version of scikit-learn alone; both are recorded. The shipped constants were made from 80,000
events of the LHC Olympics R&D set (Kasieczka, Nachman, Shih, Zenodo 4536377).
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replay.settings import LhcoFeaturesConfig
from replay.sources.hdf5 import open_features
from replay.sources.standin import CONSTANTS, log_abs_det, to_unbounded
from streams import LHCO, InputError, StreamError

BACKGROUND_COMPONENTS, SIGNAL_COMPONENTS = 30, 14
SMALLEST_MASS_TEV = 1e-6
"""A jet mass below this is the rounding of a massless jet, not a mass to be learned."""


def usable(x: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns which events lie in the open support and have no massless jet, shape (n,).

    Args:
        x: events of `streams.LHCO`, shape (n, 5).
    """
    has_mass = x[:, LHCO.names.index("mJ1")] > SMALLEST_MASS_TEV
    result: NDArray[np.bool_] = np.all((x > LHCO.low) & (x < LHCO.high), axis=1) & has_mass
    return result


def fit_mixture(x: NDArray[np.float32], n_components: int) -> dict[str, Any]:
    """Returns a Gaussian mixture fitted to events in unbounded coordinates, as a document.

    The fit sees standardised coordinates, so that its regularisation means the same in all.

    Args:
        x: events of `streams.LHCO`, shape (n, 5).
        n_components: Gaussians with full covariances.
    """
    from sklearn.mixture import GaussianMixture

    kept = x[usable(x)].astype(np.float64)
    u = to_unbounded(kept)
    centre, scale = u.mean(axis=0), u.std(axis=0)
    model = GaussianMixture(
        n_components, covariance_type="full", tol=1e-5, reg_covar=1e-4, max_iter=500, random_state=0
    )
    model.fit((u - centre) / scale)
    components = [
        {
            "weight": float(weight),
            "mean": (centre + scale * mean).tolist(),
            "covariance": (np.outer(scale, scale) * covariance).tolist(),
        }
        for weight, mean, covariance in zip(
            model.weights_, model.means_, model.covariances_, strict=True
        )
    ]
    # NLL in the units of the schema: the Jacobians of u(x) and of the standardisation.
    log_prob = model.score((u - centre) / scale) - np.log(scale).sum() + log_abs_det(u).mean()
    return {
        "n_events": len(kept),
        "n_left_out": len(x) - len(kept),
        "nll": float(-log_prob),
        "components": components,
    }


def fit_file(path: Path) -> dict[str, Any]:
    """Returns the whole document for a labelled feature file.

    Raises:
        InputError: the file can't be read or has no labels.
    """
    import sklearn

    source = open_features(LhcoFeaturesConfig(type="lhco_features", paths=(str(path),)))
    try:
        events = source.read(source.n_events)
        (file,) = source.files
    finally:
        source.close()
    if events.label is None:
        raise InputError(f"expected truth labels; got none; at {path}; use the R&D set")
    return {
        "made_by": "python -m replay.sources.standin_fit FILE",
        "file": asdict(file),
        "scikit_learn": sklearn.__version__,
        "schema": LHCO.to_dict(),
        "background": fit_mixture(events.x[events.label == 0], BACKGROUND_COMPONENTS),
        "signal": fit_mixture(events.x[events.label == 1], SIGNAL_COMPONENTS),
    }


def write_document(document: Mapping[str, Any], path: Path) -> None:
    """Writes a document as JSON with one line per component, numbers in full precision."""
    text = json.dumps(document)
    for before in ('{"weight"', '"file"', '"scikit_learn"', '"schema"', '"background"', '"signal"'):
        text = text.replace(before, "\n" + before)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> int:
    """Fits the file named on the command line and writes the constants beside this module."""
    if len(sys.argv) != 2:
        sys.stderr.write(f"{(__doc__ or '').splitlines()[0]}\n")
        return 2
    try:
        document = fit_file(Path(sys.argv[1]))
    except StreamError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    write_document(document, Path(__file__).with_name(CONSTANTS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
