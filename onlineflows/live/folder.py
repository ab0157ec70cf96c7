"""What a run leaves in its directory, read by somebody who only looks: nothing here fails.

A manifest is read without the flow that it describes, so that a watcher needs no torch; whoever
loads a snapshot checks it in full (`onlineflows.online.snapshot`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onlineflows.errors import SnapshotError
from onlineflows.online.history import newest, points_of, told
from onlineflows.online.rundir import RunDirectory, is_number, lane_folders
from onlineflows.online.seal import MAX_MANIFEST_NBYTES, unsealed
from streams.telemetry import ConsumerTelemetry, DriftAlarm, HistoryPoint

MANIFEST = "manifest.json"
N_SNAPSHOTS = 200
"""Snapshots that are listed: the newest."""


@dataclass(frozen=True, slots=True)
class SnapshotEntry:
    """What a list says of a snapshot.

    Args:
        name: of its folder.
        path: its folder.
        stamp: when it was written, ns: another run may leave one of the same name.
        nbytes: its size.
        manifest: what it says of itself.
    """

    name: str
    path: Path
    stamp: int
    nbytes: int
    manifest: Mapping[str, Any] = field(repr=False)

    @property
    def key(self) -> tuple[Path, int]:
        """Tells it from all others."""
        return self.path, self.stamp

    @property
    def n_seen(self) -> int:
        """Events that the learner had seen."""
        return int(self.manifest["n_seen"])

    @property
    def nll(self) -> float | None:
        """Mean NLL of the newest events then; None where it wasn't known."""
        found = newest(points_of(self.manifest["history"]))
        return None if found is None else found.nll

    @property
    def gate(self) -> Mapping[str, Any]:
        """What its gate said; empty where there was none."""
        gate: Mapping[str, Any] = self.manifest.get("gate", {})
        return gate


@dataclass(frozen=True, slots=True)
class Lane:
    """What one learner leaves.

    Args:
        snapshots: oldest first.
        condition: how its run ended; empty before.
        told: what its last snapshot and its ledger say, as the learner would have said it.
    """

    snapshots: tuple[SnapshotEntry, ...] = ()
    condition: str = ""
    told: ConsumerTelemetry | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What lies in a run directory.

    Args:
        lanes: of each learner, by its name: "train", or "train lane-0" and so on.
        signal_region: of the resonant feature, in its unit; None where no configuration says.
        sidebands: around it.
        ledger: the accounts of the whole run, as its producer and first learner wrote them; empty
            before its end.
    """

    lanes: Mapping[str, Lane] = field(default_factory=dict)
    signal_region: tuple[float, float] | None = None
    sidebands: tuple[tuple[float, float], ...] = ()
    ledger: Mapping[str, Any] = field(default_factory=dict)


class RunFolder:
    """Reads a run directory again and again; each manifest once. It keeps those that are listed.

    Args:
        path: the directory; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._manifests: dict[Path, tuple[int, SnapshotEntry | None]] = {}

    def look(self) -> Record:
        """Returns what lies there now."""
        folders = {f"train {p.name}": p for p in lane_folders(self.path)}
        folders = folders or {"train": self.path}
        lanes = {name: self._lane(folder) for name, folder in folders.items()}
        first = RunDirectory(next(iter(folders.values())))
        signal_region, sidebands = _regions(_json(first.config).get("validate"))
        return Record(
            lanes=lanes,
            signal_region=signal_region,
            sidebands=sidebands,
            ledger=_json(first.ledger),
        )

    def _lane(self, folder: Path) -> Lane:
        directory = RunDirectory(folder)
        snapshots = self._snapshots(directory.snapshots)
        ledger = _json(directory.ledger)
        condition = str(ledger.get("condition", ""))
        told = told_by(snapshots[-1], ledger) if snapshots else None
        return Lane(snapshots, condition, told)

    def _snapshots(self, folder: Path) -> tuple[SnapshotEntry, ...]:
        try:
            paths = sorted((p for p in folder.iterdir() if is_number(p.name)), key=_number)
        except OSError:
            paths = []
        listed = paths[-N_SNAPSHOTS:]
        for path in {p for p in self._manifests if p.parent == folder}.difference(listed):
            del self._manifests[path]  # a run that goes on for months must not fill the memory
        entries = (self._entry(path) for path in listed)
        return tuple(entry for entry in entries if entry is not None)

    def _entry(self, path: Path) -> SnapshotEntry | None:
        """A snapshot never changes; one of the same name that another run wrote is a new file."""
        try:
            file = path / MANIFEST
            stamp = file.stat().st_mtime_ns
            known = self._manifests.get(path)
            if known is None or known[0] != stamp:
                known = self._manifests[path] = (stamp, _read_entry(path, stamp))
        except OSError:
            return None
        return known[1]


def told_by(snapshot: SnapshotEntry, ledger: Mapping[str, Any]) -> ConsumerTelemetry | None:
    """Returns what a learner that isn't heard would say, from what it left; None if that is
    nothing of use.

    Args:
        snapshot: its last.
        ledger: its accounts at the end of its run; empty before.
    """
    manifest = snapshot.manifest
    accounts = ledger or manifest["ledger"]
    try:
        drift = manifest["drift"]
        return ConsumerTelemetry(
            sequence=0,
            unix_s=0.0,
            pid=0,
            state="ended" if ledger else "silent",
            name=str(manifest["run_name"])[:60] or "run",
            lane=int(manifest["config"].get("wire", {}).get("lane", 0)),
            n_seen=int(manifest["n_seen"]),
            n_trained=int(accounts.get("trained", manifest["n_trained"])),
            n_events=_whole(manifest.get("stream")),
            n_uses=int(manifest["n_uses"]),
            n_steps=int(manifest["n_steps"]),
            train_s=float(manifest["train_seconds"]),
            skipped=dict(accounts.get("skipped", {})),
            lost=int(accounts.get("lost", 0)),
            unread_batches=0,
            window_batches=0,
            buffer_fill=0.0,
            buffer_nbytes=0,
            lumisection=0,
            history=[HistoryPoint(p.n_seen, p.nll) for p in told(points_of(manifest["history"]))],
            alarms=[DriftAlarm(int(n), int(ls), a, b) for n, ls, a, b in drift["alarms"]],
            n_alarms=int(drift["n_alarms"]),
            marginals=[],
            snapshot=snapshot.name,
            condition=str(ledger.get("condition", ""))[:20],
        )
    except (KeyError, TypeError, ValueError):
        return None


def _whole(stream: object) -> int | None:
    """Events in the whole run, as its producer announced them; None where it couldn't."""
    n_events = stream.get("n_events") if isinstance(stream, dict) else None
    return None if n_events is None else int(n_events)


def _read_entry(path: Path, stamp: int) -> SnapshotEntry | None:
    """A snapshot's entry; None where its manifest isn't one."""
    file = path / MANIFEST
    if file.stat().st_size > MAX_MANIFEST_NBYTES:
        return None
    try:
        manifest = unsealed(file.read_bytes())
        nbytes = sum(p.stat().st_size for p in path.iterdir())
        entry = SnapshotEntry(path.name, path, stamp, nbytes, manifest)
        _ = entry.n_seen, entry.nll, entry.gate
    except (SnapshotError, KeyError, TypeError, ValueError, IndexError):
        return None
    return entry


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _regions(
    validate: object,
) -> tuple[tuple[float, float] | None, tuple[tuple[float, float], ...]]:
    """Signal region and sidebands of a configuration's section, as far as they are any."""
    section = validate if isinstance(validate, dict) else {}
    listed = section.get("sidebands")
    sidebands = map(_interval, listed if isinstance(listed, list) else ())
    return _interval(section.get("signal_region")), tuple(i for i in sidebands if i)


def _interval(pair: object) -> tuple[float, float] | None:
    try:
        low, high = (float(end) for end in pair)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return None
    return (low, high) if low < high else None


def _number(path: Path) -> int:
    return int(path.name)
