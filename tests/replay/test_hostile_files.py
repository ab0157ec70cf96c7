"""A reduced round of tests/benchmarks/fuzz_files.py, which says what is tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_no_damaged_file_does_more_than_raise_our_errors() -> None:
    program = ROOT / "tests" / "benchmarks" / "fuzz_files.py"
    done = subprocess.run(
        [sys.executable, str(program), "--cases", "210", "--seed", "3"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    result = json.loads(done.stdout)
    assert result["examples"] == {}
    assert (done.returncode, result["wrong"]) == (0, 0)
