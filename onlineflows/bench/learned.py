"""What a run over a stream in memory leaves: its learner, density and bytes."""

from onlineflows.bench.labelled import LabelledTruth
from onlineflows.bench.learning import BLOCK_EVENTS, feed
from onlineflows.density import AnyDensity
from onlineflows.errors import DataError
from onlineflows.mixture import Mixture
from onlineflows.online.learner import Learner
from onlineflows.settings import LearnerConfig, SnapshotConfig


def learned(
    truth: LabelledTruth, config: LearnerConfig, n: int, *, seed: int, fraction: float
) -> Learner:
    """Returns a learner after one pass over n events, none of which is kept."""
    read = truth.open(seed, fraction)
    learner = Learner(truth.schema, config)
    while learner.n_seen < n:
        feed(learner, read(min(BLOCK_EVENTS, n - learner.n_seen))[0])
    learner.finish()
    return learner


def ensemble_of(learner: Learner) -> AnyDensity:
    """Returns the density of the first model: the mean over all of its θ.

    Raises:
        DataError: there were too few events for one.
    """
    first = learner.config.models[0]
    densities = [learner.density(first.name, replica) for replica in range(1 + first.replicas)]
    found = tuple(density for density in densities if density is not None)
    if not found:
        raise DataError(f"expected enough events for a density; got {learner.n_seen}")
    return found[0] if len(found) == 1 else Mixture(found)


def share_of(learner: Learner) -> float:
    """Returns the share of all events that are in the first model's region."""
    # Not of the accepted ones: an event that no model takes isn't accepted.
    return learner.models[learner.config.models[0].name].n_taken / learner.n_seen


def nbytes_of(learner: Learner) -> int:
    """Returns the bytes of a snapshot: every θ, marginal maps, and the padded manifest."""
    models = learner.models.values()
    thetas = sum(model.thetas().nbytes for model in models)
    maps = sum(a.nbytes for model in models for a in model.map_arrays().values())
    return thetas + maps + SnapshotConfig().manifest_nbytes
