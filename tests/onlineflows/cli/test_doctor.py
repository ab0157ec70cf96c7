"""`onlineflows doctor`."""

import json

import pytest

from onlineflows.cli.main import main
from onlineflows.engine import info


def test_doctor_tells_machines_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["packages"]["torch"]
    assert document["cpus"] >= 1


def test_doctor_says_what_computes_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert info().isa in printed
    assert info().reason in printed
