"""Checkpoints: atomic, private, two kept, damage detected."""

import stat

import numpy as np
import pytest

from onlineflows.errors import CheckpointError
from onlineflows.online import durable
from onlineflows.online.checkpoint import (
    Checkpoint,
    delete_checkpoints,
    read_checkpoint,
    write_checkpoint,
)


def numbered(number: int) -> Checkpoint:
    return Checkpoint({"number": number}, {"a": np.full(7, number, dtype=np.float32)})


@pytest.fixture
def folder(tmp_path):
    for serial in (10, 20, 30):
        write_checkpoint(tmp_path / "state", numbered(serial), serial=serial)
    return tmp_path / "state"


def newest(folder):
    return max(folder.iterdir())


def test_the_newest_checkpoint_is_read(folder):
    checkpoint, damaged = read_checkpoint(folder)
    assert checkpoint.document == {"number": 30}
    assert checkpoint.arrays["a"].tolist() == [30.0] * 7
    assert damaged == ()


def test_two_checkpoints_are_kept(folder):
    assert len(list(folder.iterdir())) == 2


def test_a_checkpoint_is_readable_by_its_owner_alone(folder):
    assert stat.S_IMODE(newest(folder).stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_checkpoint_is_passed_over_loudly(folder, damage):
    content = bytearray(newest(folder).read_bytes())
    content[len(content) // 2] ^= 1
    cut = {"flip": len(content), "truncate": len(content) - 5, "empty": 0}[damage]
    newest(folder).write_bytes(content[:cut])
    checkpoint, damaged = read_checkpoint(folder)
    assert checkpoint.document == {"number": 20}
    assert len(damaged) == 1


def test_no_checkpoint_at_all_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="expected a checkpoint to resume from"):
        read_checkpoint(tmp_path / "nowhere")


def test_a_write_that_fails_leaves_the_older_ones_and_no_rubbish(folder, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    before = sorted(folder.iterdir())
    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        write_checkpoint(folder, numbered(40), serial=40)
    assert sorted(folder.iterdir()) == before


def test_deleting_leaves_no_events_on_disk(folder):
    delete_checkpoints(folder)
    assert list(folder.iterdir()) == []
