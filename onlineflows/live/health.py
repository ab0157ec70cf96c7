"""Whether a run is well, for whoever asks over HTTP: by the age of each daemon's last word."""

from typing import Any

from onlineflows.live.state import RunState

MAX_AGE_S = 30.0
"""A daemon that says nothing for so long is taken for dead; a long write may keep it silent."""


def health_of(state: RunState, now: float) -> tuple[bool, dict[str, Any]]:
    """Returns whether all daemons of a run are well, and how each is, as plain JSON types.

    A run whose daemons were never heard isn't well.

    Args:
        state: what is known of it.
        now: seconds that never go back.
    """
    daemons = {}
    for name, standing in state.standings(now).items():
        is_fresh = standing.age_s is None or standing.age_s <= MAX_AGE_S
        healthy = standing.is_well or (standing.state == "silent" and is_fresh)
        daemons[name] = {
            "state": standing.state,
            "healthy": healthy,
            "text": standing.text,
            "age_s": None if standing.age_s is None else round(standing.age_s, 3),
        }
    healthy = bool(daemons) and all(d["healthy"] for d in daemons.values())
    return healthy, {"run": state.name, "healthy": healthy, "daemons": daemons}
