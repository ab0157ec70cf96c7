"""The instruction sets that this processor runs: tests of the kernels run over all of them."""

import pytest

from onlineflows.engine import available, info
from onlineflows.engine.library import load


def instruction_sets() -> list[str]:
    library, _ = load()
    return library.engine_available_isas().decode().split() if library is not None else []


@pytest.fixture(autouse=True)
def engine() -> None:
    """Skips without a compiled engine: everything else must pass without one."""
    if not available():
        pytest.skip(f"needs the compiled engine: {info().reason}")


@pytest.fixture(params=instruction_sets() or ["none"])
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes the engines of a test use one instruction set."""
    monkeypatch.setenv("ONLINEFLOWS_ISA", request.param)
    return request.param
