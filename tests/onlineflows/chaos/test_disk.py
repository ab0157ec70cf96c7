"""Damages: whatever the random place is, the file is another one afterwards."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from onlineflows.chaos.disk import DAMAGES


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_another_file(
    damage: Callable[[Path, random.Random], None], tmp_path: Path
) -> None:
    content = bytes(50_000) + b"head" + bytes(50_000)  # as of a buffer that is empty still
    for seed in range(10):
        path = tmp_path / f"{seed}"
        path.write_bytes(content)
        damage(path, random.Random(seed))
        assert path.read_bytes() != content
