"""The implementations of a flow: every test of the contract runs over all of them."""

from collections.abc import Callable

import pytest
from torch import Tensor

from onlineflows.engine import EngineFlow, available
from onlineflows.flows import Flow, FlowSpec, TorchFlow

IMPLEMENTATIONS: dict[str, Callable[[FlowSpec, Tensor], Flow]] = {
    "torch": TorchFlow,
}
if available():
    IMPLEMENTATIONS["engine"] = EngineFlow


@pytest.fixture(params=IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS.keys(), scope="session")
def implementation(request: pytest.FixtureRequest) -> Callable[[FlowSpec, Tensor], Flow]:
    """Makes a flow from a specification and θ."""
    return request.param
