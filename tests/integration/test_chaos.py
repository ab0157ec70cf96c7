"""The fault matrix in few rounds; the full ones are commands, see docs/reliability.md."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WAIT_S = 840


def chaos(folder: Path, *words: str) -> list[dict[str, Any]]:
    """Runs the command, which must find nothing wrong; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "onlineflows", "chaos", "--json", "--quiet", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_producer_that_is_killed_twice_changes_nothing(tmp_path: Path) -> None:
    [found] = chaos(tmp_path, "--rounds", "2", "--fault", "producer_kill")
    assert (found["fault"], found["rounds"], found["theta_equal"]) == ("producer_kill", 2, True)
    assert found["sent"] == found["trained"] > 0
    assert (found["unaccounted"], found["trained_twice"]) == (0, 0)
    sockets = tmp_path / f"onlineflows-{os.getuid()}"  # where the path is too long for sockets
    assert [path for path in tmp_path.rglob("*") if path != sockets] == []


IN_CI = (
    "consumer_kill",
    "both_kill",
    "consumer_stop_long",
    "overload",
    "end_while_full_ipc",
    "proxy",
    "connection_cut",
    "torn_checkpoint",
    "source_changed",
    "duplicated_name",
)


@pytest.mark.timeout(WAIT_S + 30)
def test_one_round_of_many_faults_finds_nothing(tmp_path: Path) -> None:
    words = [word for name in IN_CI for word in ("--fault", name)]
    found = chaos(tmp_path, "--rounds", "1", "--seed", "7", *words)
    assert [document["fault"] for document in found] == list(IN_CI)
    assert all(document["ok"] for document in found)
    promised = [document for document in found if document["theta_equal"] is not None]
    assert len(promised) == len(IN_CI) - 2
