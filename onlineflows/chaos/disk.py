"""Disks that fail: damaged checkpoints, a full disk, a folder that can't be written to."""

import random
from collections.abc import Callable
from pathlib import Path

from onlineflows.chaos.stage import Stage
from onlineflows.chaos.stream import DEADLINE_S

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
    """Zeroes 4 kB of a file, as an unwritten block of a disk would be: not zeros alone."""
    content = bytearray(path.read_bytes())
    begin = rng.choice([place for place, byte in enumerate(content) if byte])
    content[begin : begin + 4096] = bytes(len(content[begin : begin + 4096]))
    path.write_bytes(content)


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (truncate, flip_bit, zero_block)


def fill_disk(stage: Stage, _rounds: int) -> int:
    """Lets no file grow beyond a part of a checkpoint, as a full disk or a quota would."""

    def fill() -> None:
        size = stage.checkpoints[-1].stat().st_size
        stage.consumer.limit_files(int(size * stage.rng.uniform(0.1, 0.9)))

    return _refuse_writes(stage, fill, lambda: stage.consumer.limit_files(None))


def forbid_writing(stage: Stage, _rounds: int) -> int:
    """Puts a file where the folder of the checkpoints was: root may write to any folder, but not
    into a file.
    """
    folder = stage.directory.checkpoints
    away = folder.with_name("away")

    def forbid() -> None:
        folder.rename(away)
        folder.write_bytes(b"")

    def permit() -> None:
        folder.unlink()
        away.rename(folder)

    return _refuse_writes(stage, forbid, permit)


def _refuse_writes(stage: Stage, begin: Callable[[], None], end: Callable[[], None]) -> int:
    """Lets writes fail for a while: the consumer says so, counts it, and goes on; then the disk
    works again, or the consumer is killed, or it has to end the run on such a disk.
    """
    stage.begin()
    if not (stage.wait_for_checkpoint(0) and stage.dwell(stage.rng.uniform(0, LIFE_S))):
        return 0
    begin()
    refused = stage.consumer
    said = refused.wait_for("could be written", deadline_s=DEADLINE_S)
    stage.require(said, f"a consumer that says that it can't write; {refused.last_words}")
    then = stage.rng.choice(("works again", "consumer killed", "until the end"))
    stage.notes[then] = 1
    if then == "until the end":
        code = refused.finish(deadline_s=DEADLINE_S)
        stage.require(code in (0, 2), f"a run that ends, or fails saying why; {refused.last_words}")
    elif then == "consumer killed":
        refused.kill()
    if then == "works again" or refused.process.returncode:
        end()
    if refused.process.returncode:
        stage.hit()
        stage.start_consumer()
        stage.wait_for_run()
        passed_over = "passed over" in stage.consumer.log
        stage.require(not passed_over, f"undamaged checkpoints; {stage.consumer.last_words}")
    stage.finish()
    if refused.process.returncode == 0:
        failures = sum(stage.ledger.get("write_failures", {}).values())
        stage.require(failures > 0, "a ledger that counts the writes that failed")
    return 1
