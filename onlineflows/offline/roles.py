"""Which of a snapshot's models plays which role in a search."""

from collections.abc import Mapping

from onlineflows.offline.regions import Regions
from onlineflows.region import Region


def models_by_role(learned: Mapping[str, Region], regions: Regions) -> dict[str, str]:
    """Returns the names of the models to search with, by the roles of `MethodInputs.densities`.

    "data" is the narrowest window that holds signal region and sidebands, or else a model of
    everything; "background" the one that leaves out the signal region and least beside it. A role
    that no model can play is left out.

    Args:
        learned: each model's region, by name.
        regions: what is searched.

    Example:
        >>> window, everything = Region(inside=(3.0, 4.0)), Region()
        >>> sideband = Region(outside=(3.3, 3.7))
        >>> models_by_role({"a": everything, "b": window, "c": sideband}, Regions())
        {'data': 'b', 'background': 'c'}
    """
    intervals = (regions.signal_region, *regions.sidebands)
    low, high = min(i[0] for i in intervals), max(i[1] for i in intervals)
    windows = {n: r.inside for n, r in learned.items() if r.inside is not None}
    covering = {n: i for n, i in windows.items() if i[0] <= low and high <= i[1]}
    without = {n: r.outside for n, r in learned.items() if r.outside is not None}
    inner_low, inner_high = regions.signal_region
    blind = {n: i for n, i in without.items() if i[0] <= inner_low and inner_high <= i[1]}
    everything = [n for n, r in learned.items() if r.is_everything]
    chosen = {"data": _narrowest(covering) or next(iter(everything), None)}
    chosen["background"] = _narrowest(blind)
    return {role: name for role, name in chosen.items() if name is not None}


def _narrowest(intervals: Mapping[str, tuple[float, float]]) -> str | None:
    return min(intervals, key=lambda n: intervals[n][1] - intervals[n][0], default=None)
