"""Where the daemons of a run are asked and heard."""

from pathlib import Path

from onlineflows.online.rundir import lane_folders
from streams.console import Place


def places_of(folder: Path) -> dict[str, Place]:
    """Returns where daemons of a run are or will be, by name: "replay", "train", and "train
    lane-0" and so on for the lanes that there are. `Place.exists` says where one is, or was killed.
    """
    found = {"replay": Place.of(folder, "replay"), "train": Place.of(folder, "train")}
    return found | {f"train {p.name}": Place.of(p, "train") for p in lane_folders(folder)}
