"""Disks that fail: damaged checkpoints, a full disk, a folder that can't be written to."""

import random
from collections.abc import Callable
from pathlib import Path

from onlineflows.chaos.stage import DEADLINE_S, Stage

LIFE_S = 0.3


def tear_checkpoint(stage: Stage, rounds: int) -> int:
    """Kills the consumer and damages its newest checkpoint; the one before it must be taken."""
    stage.begin()
    for n in range(rounds):
        reached = stage.wait_for_checkpoint(stage.serial) and stage.wait_for_checkpoint(
            stage.serial
        )
        if not (reached and stage.dwell(stage.rng.uniform(0, LIFE_S))):
            return n
        stage.consumer.kill()
        if stage.is_told() or len(stage.checkpoints) < 2:
            return n
        how = stage.rng.choice(DAMAGES)
        how(stage.checkpoints[-1], stage.rng)
        stage.notes.setdefault("damages", []).append(how.__name__)
        stage.hit()
        stage.start_consumer()
        stage.wait_for_run()
        said = "damaged checkpoint passed over" in stage.consumer.log
        stage.require(said, f"a log that names the damage; {stage.consumer.last_words}")
    return rounds


def truncate(path: Path, rng: random.Random) -> None:
    """Cuts a file off at a random place."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def flip_bit(path: Path, rng: random.Random) -> None:
    """Flips one bit of a file."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def zero_block(path: Path, rng: random.Random) -> None:
    """Zeroes 4 kB of a file, as an unwritten block of a disk would be."""
    content = bytearray(path.read_bytes())
    begin = rng.randrange(max(1, len(content) - 4096))
    content[begin : begin + 4096] = bytes(len(content[begin : begin + 4096]))
    path.write_bytes(content)


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (truncate, flip_bit, zero_block)


def fill_disk(stage: Stage, _rounds: int) -> int:
    """Lets no file grow beyond a part of a checkpoint; the consumer must say so and end."""
    return _refuse_writes(stage, "file limit")


def forbid_writing(stage: Stage, _rounds: int) -> int:
    """Takes the folder of the checkpoints away; the consumer must say so and end."""
    return _refuse_writes(stage, "no folder")


def _refuse_writes(stage: Stage, how: str) -> int:
    stage.begin()
    if not (stage.wait_for_checkpoint(0) and stage.dwell(stage.rng.uniform(0, LIFE_S))):
        return 0
    folder = stage.directory.checkpoints
    away = folder.with_name("away")
    if how == "file limit":
        size = stage.checkpoints[-1].stat().st_size
        stage.consumer.limit_files(int(size * stage.rng.uniform(0.1, 0.9)))
    else:
        folder.rename(away)
        folder.write_bytes(b"")  # root may write to any folder, but not into a file
    code = stage.consumer.finish(deadline_s=DEADLINE_S)
    if how != "file limit":
        folder.unlink()
        away.rename(folder)
    said = "expected to write" in stage.consumer.log
    stage.require(
        code == 2 and said,
        f"a consumer that says where it can't write, and ends; {code}, {stage.consumer.last_words}",
    )
    stage.require(bool(stage.serial), "the older checkpoints as they were")
    stage.hit()
    stage.start_consumer()
    stage.wait_for_run()
    passed_over = "passed over" in stage.consumer.log
    stage.require(not passed_over, f"undamaged checkpoints; {stage.consumer.last_words}")
    return 1
