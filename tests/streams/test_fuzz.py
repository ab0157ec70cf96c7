"""A reduced round of tests/benchmarks/fuzz.py, which says what is tested."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_no_frame_makes_a_decoder_crash(program: ModuleType) -> None:
    result = program.fuzz_codec(10_000, seed=1)
    assert result["crashes"] == {}
    for side in ("producer", "consumer"):
        refused = sum(n for reason, n in result["refused"].items() if reason.startswith(side))
        assert result["accepted"][side] + refused == 10_000


def test_no_frame_makes_an_end_crash(program: ModuleType) -> None:
    result = program.fuzz_ends(10_000, seed=2)
    assert result["crashes"] == {}
    assert sum(result["accepted"].values()) + sum(result["refused"].values()) == 10_000


def test_no_frame_makes_a_socket_crash(program: ModuleType) -> None:
    result = program.fuzz_socket(600, seed=3)
    assert result["crashes"] == {}
    assert result["refused"]["header"] > 100
    assert result["refused"]["hash"] > 3, "the consumer's end was not reached"
