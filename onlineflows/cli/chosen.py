"""Which of a snapshot's densities a command means: ``--model`` and ``--replica``."""

from onlineflows.density import Density
from onlineflows.errors import ConfigError
from onlineflows.mixture import Mixture
from onlineflows.online.snapshot import Snapshot

ALL = "all"


def chosen_density(snapshot: Snapshot, model: str | None, replica: str) -> Density | Mixture:
    """Returns a model's density.

    Args:
        snapshot: where it is.
        model: its name; None for the first.
        replica: "0" for the central density, a number for one of the replicas, "all" for the
            mixture of them all.

    Raises:
        ConfigError: there's no such model or replica.
    """
    if replica == ALL:
        return snapshot.ensemble(model)
    if not replica.isdecimal():
        raise ConfigError(f"--replica: expected a number or {ALL!r}; got {replica!r}")
    return snapshot.density(model, int(replica))
