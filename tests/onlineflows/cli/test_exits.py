"""Exit codes: every error of the two trees has one, on purpose."""

import inspect

import pytest

import onlineflows.errors
import streams.errors
from onlineflows.cli.exits import BAD_INPUT, FAILED, exit_code

FAILURES = {
    "DivergedError",
    "DownloadError",
    "LedgerError",
    "MessageError",
    "OnlineFlowsError",
    "ProtocolError",
    "StreamError",
}
USERS = {
    "CheckpointError",
    "ConfigError",
    "DataError",
    "InputError",
    "RefusedError",
    "SchemaError",
    "SecurityError",
    "SnapshotError",
    "TooFewEventsError",
    "TransportError",
}
ERRORS = {
    name: error
    for module in (onlineflows.errors, streams.errors)
    for name, error in inspect.getmembers(module, inspect.isclass)
    if issubclass(error, Exception)
}


def test_every_error_is_listed_here() -> None:
    assert set(ERRORS) == FAILURES | USERS


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_an_error_has_the_code_of_its_kind(name: str) -> None:
    expected = BAD_INPUT if name in USERS else FAILED
    assert exit_code(ERRORS[name]("why")) == expected
