"""A reduced round of tests/benchmarks/damaged_snapshots.py, which says what is tested."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "damaged_snapshots.py"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("damaged_snapshots", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_no_damaged_snapshot_loads_silently_wrong(program: ModuleType) -> None:
    result = program.measure(cases=300, seed=1)
    assert result["silently_wrong"] == 0, result["results"]
    assert all(sum(found.values()) == 30 for found in result["results"].values())
    assert result["slowest_s"] < 5
