"""The health of a daemon: a file that its loop renews each second, and the verb that reads it.

There is no thread: a loop that hangs stops renewing the file, and that is what shows.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from onlineflows.cli.exits import DONE, FAILED
from onlineflows.cli.output import Output
from onlineflows.errors import ConfigError
from onlineflows.online.rundir import lane_folders

logger = logging.getLogger(__name__)

FILES = {"train": "health.json", "replay": "health-replay.json"}
"""Name of the file of each kind of daemon in the run directory."""

MAX_AGE_S = 30.0
"""A file that is older is stale."""

LIVE = ("waiting", "running")
ENDED = ("ended", "stopped")
"""States that are healthy: while the file is fresh, and at any time."""


class HealthFile:
    """The file of one daemon, replaced as a whole.

    Args:
        folder: the run directory.
        process: "train" or "replay".
        makes_folder: whether to make the folder; without it and without a folder nothing is
            written.
        wall: the time of day, Unix seconds.
    """

    def __init__(
        self,
        folder: Path,
        process: str,
        *,
        makes_folder: bool = False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._makes_folder = makes_folder
        self._path = folder / FILES[process]
        self._process = process
        self._wall = wall
        self._warned = False

    def write(self, state: str, counters: Mapping[str, Any]) -> None:
        """Replaces the file; where the disk refuses, says so once."""
        document = {
            "process": self._process,
            "pid": os.getpid(),
            "state": state,
            "updated_unix_s": round(self._wall(), 3),
            **counters,
        }
        temporary = self._path.with_name(f".{self._path.name}.partial")
        try:
            if self._makes_folder:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            elif not self._path.parent.is_dir():
                return
            # Not synced: after a crash of the machine there is no daemon that could be healthy.
            temporary.write_text(json.dumps(document))
            temporary.replace(self._path)
        except OSError as error:
            if not self._warned:
                logger.warning("no health file can be written", extra={"problem": str(error)})
            self._warned = True


def health(
    folder: Path, output: Output, *, max_age_s: float, wall: Callable[[], float] = time.time
) -> int:
    """Prints how the daemons of a run are; returns 0 where all are well and 1 where one isn't.

    Raises:
        ConfigError: no daemon has left a health file there.
    """
    documents = last_words(folder, max_age_s=max_age_s, wall=wall)
    if not documents:
        raise ConfigError(
            f"{folder}: expected {' or '.join(FILES.values())} of a daemon that runs or ran; got "
            "none; name a run directory such as runs/demo"
        )
    lines = [
        f"{name}: {'healthy' if d['healthy'] else 'UNHEALTHY'}: {d['state']}, {d['reason']}"
        for name, d in documents.items()
    ]
    output.result(documents, "\n".join(lines))
    return DONE if all(d["healthy"] for d in documents.values()) else FAILED


def last_words(
    folder: Path, *, max_age_s: float = MAX_AGE_S, wall: Callable[[], float] = time.time
) -> dict[str, dict[str, Any]]:
    """Returns what each daemon of a run has said of itself last, by name (see `judge`)."""
    return {name: judge(path, max_age_s, wall()) for name, path in _files_in(folder).items()}


def _files_in(folder: Path) -> dict[str, Path]:
    """Health files by the daemon's name: of the run, and of the lanes within it."""
    found = {name: folder / file for name, file in FILES.items()}
    for lane in lane_folders(folder):
        found |= {f"{name} {lane.name}": lane / file for name, file in FILES.items()}
    return {name: path for name, path in found.items() if path.is_file()}


def judge(path: Path, max_age_s: float, now: float) -> dict[str, Any]:
    """Returns what a health file says, whether that is healthy, and why.

    Args:
        path: the file.
        max_age_s: age from which on a file of a daemon that should run is stale.
        now: the time of day, Unix seconds.
    """
    try:
        document = json.loads(path.read_text())
        state, age_s = document["state"], now - float(document["updated_unix_s"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return {"state": "unknown", "healthy": False, "reason": f"unreadable: {error!r}"}
    is_fresh = age_s <= max_age_s
    healthy = state in ENDED or (state in LIVE and is_fresh)
    reason = f"last sign of life {age_s:.0f} s ago"
    if state in LIVE and not is_fresh:
        reason += ": its loop hangs, or it was killed"
    if "error" in document:
        reason += f": {document['error']}"
    return {**document, "age_s": round(age_s, 3), "healthy": healthy, "reason": reason}
