"""`onlineflows doctor`."""

import json

import pytest

from onlineflows.cli.main import main


def test_doctor_tells_machines_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["packages"]["torch"]
    assert document["cpus"] >= 1
