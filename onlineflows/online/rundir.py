"""The folder of one run: ledger, snapshots, private checkpoints, report."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from onlineflows.errors import ConfigError
from onlineflows.online.durable import write_file

LANE = "lane-"
"""Begin of the name of a lane's folder, before its number."""

Start = Literal["fresh", "resume", "overwrite", "continue"]


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Names of what a run leaves behind.

    Args:
        path: the run's folder, ``runs/<name>``.
    """

    path: Path

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Returns the run directory that a path means: itself, or the one that a snapshot in it
        belongs to; None for a snapshot elsewhere.
        """
        for folder in (path, *path.resolve().parents[:2]):
            directory = cls(folder)
            if directory.config.is_file():
                return directory
        return None

    @property
    def ledger(self) -> Path:
        """The accounts of both ends, written when the run ends."""
        return self.path / "ledger.json"

    @property
    def config(self) -> Path:
        """The configuration that the run was started with, as JSON."""
        return self.path / "config.json"

    @property
    def prescales(self) -> Path:
        """What passed and what was kept of each prescaled selection, left by the producer."""
        return self.path / "prescales.json"

    @property
    def snapshots(self) -> Path:
        """The folder of snapshots, with the link `latest`."""
        return self.path / "snapshots"

    @property
    def checkpoints(self) -> Path:
        """The learner's private state."""
        return self.path / "checkpoints"

    @property
    def report(self) -> Path:
        """What validation writes."""
        return self.path / "report"

    def check(self, start: Start) -> None:
        """Looks whether a run may begin in the folder; changes nothing.

        Raises:
            ConfigError: an earlier run is there, and nobody said what should become of it.
        """
        leftovers = [p for p in (self.ledger, self.snapshots, self.checkpoints) if p.exists()]
        if start == "fresh" and leftovers:
            raise ConfigError(
                f"{self.path}: expected no earlier run; got {', '.join(p.name for p in leftovers)}:"
                " use --resume to go on with it, --overwrite to delete it, or another run.name"
            )

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return self.checkpoints.is_dir() and any(self.checkpoints.glob("*.checkpoint"))

    @property
    def has_ended(self) -> bool:
        """Whether a run has ended here and left nothing to go on from."""
        return self.ledger.exists() and not self.has_checkpoint

    def resolve(self, start: Start) -> Start:
        """Returns what "continue" means here: a checkpoint is gone on from; what was killed
        before its first one begins anew; a run that has ended is not touched.
        """
        if start != "continue":
            return start
        if self.has_checkpoint:
            return "resume"
        return "fresh" if self.ledger.exists() else "overwrite"

    def prepare(self, start: Start) -> None:
        """Makes the folder ready for a run.

        Args:
            start: "fresh": there must be no earlier run; "resume": go on with an earlier one;
                "overwrite": delete what an earlier run left; "continue": see `resolve`.

        Raises:
            ConfigError: an earlier run is there, or the folder can't be written.
        """
        start = self.resolve(start)
        self.check(start)
        try:
            if start == "overwrite":
                for folder in (self.snapshots, self.checkpoints, self.report):
                    shutil.rmtree(folder, ignore_errors=True)
                self.ledger.unlink(missing_ok=True)
                self.config.unlink(missing_ok=True)
                self.prescales.unlink(missing_ok=True)
            if start != "resume":
                self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{self.path}: expected a folder to write to; got {error}") from error

    def write_config(self, document: str) -> None:
        """Leaves the configuration that the run was started with; only its owner may read it.

        Raises:
            ConfigError: the disk refused.
        """
        try:
            write_file(self.config, document.encode(), mode=0o600)
        except OSError as error:
            raise ConfigError(
                f"{self.config}: expected to write the configuration there; got {error}; free "
                "space or choose another run.directory"
            ) from error


def lane_folders(path: Path) -> list[Path]:
    """Returns the folders of a run's lanes, in the order of their numbers; none without lanes."""
    lanes = [p for p in path.glob(f"{LANE}*") if is_number(p.name.removeprefix(LANE))]
    return sorted(lanes, key=lambda p: int(p.name.removeprefix(LANE)))


def is_number(name: str) -> bool:
    """Returns whether a name, such as that of a snapshot's folder, is a number.

    Example:
        >>> is_number("000012"), is_number("²"), is_number("٣")
        (True, False, False)
    """
    return name.isascii() and name.isdecimal()
