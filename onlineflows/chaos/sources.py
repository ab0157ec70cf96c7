"""Files that change or vanish while they are read: the run must end as ABORTED, and say where."""

import os
import random
from collections.abc import Callable
from pathlib import Path

from onlineflows.chaos.stage import Stage
from onlineflows.chaos.stream import PACED

N_FILES = 8
LIFE_S = 0.8


def overwritten(path: Path, rng: random.Random) -> None:
    """Overwrites a stretch of a file in place."""
    with path.open("r+b") as file:
        file.seek(rng.randrange(path.stat().st_size))
        file.write(rng.randbytes(64))


def flipped_unseen(path: Path, rng: random.Random) -> None:
    """Flips a bit of a file and sets its times back, as no honest program would."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path, rng: random.Random) -> None:
    """Puts another file of the same size in a file's place."""
    other = path.with_name("other")
    other.write_bytes(rng.randbytes(path.stat().st_size))
    other.replace(path)


def cut_short(path: Path, rng: random.Random) -> None:
    """Truncates a file."""
    os.truncate(path, rng.randrange(path.stat().st_size))


CHANGES: tuple[Callable[[Path, random.Random], None], ...] = (
    overwritten,
    flipped_unseen,
    replaced,
    cut_short,
)


def change_source(stage: Stage, _rounds: int) -> int:
    """Changes a file in one of several ways, whether it was read already or will be."""
    change = stage.rng.choice(CHANGES)
    stage.notes.setdefault("changes", []).append(change.__name__)
    return _disturb(stage, lambda files: change(stage.rng.choice(files), stage.rng))


def remove_source(stage: Stage, _rounds: int) -> int:
    """Removes a file that hasn't been read yet."""
    return _disturb(stage, lambda files: files[-1].unlink())


def _disturb(stage: Stage, disturb: Callable[[list[Path]], None]) -> int:
    files = stage.read_from_files(N_FILES)
    stage.settings["replay.verify"] = "true"
    stage.start_producer(PACED)
    stage.start_consumer()
    stage.wait_for_run()
    if not stage.dwell(stage.rng.uniform(0, LIFE_S)):
        return 0
    disturb(files)
    stage.finish(codes=(2, 1))
    account, ledger = stage.producer.result, stage.ledger
    for name, document in (("producer", account), ("consumer", ledger)):
        is_aborted = document.get("condition") == "ABORTED" and "at event" in document["text"]
        stage.require(is_aborted, f"a {name}'s account that says ABORTED and where; got {document}")
    stage.n_generated = account.get("generated", 0)
    return 1
