"""Results: text for people, one JSON document for machines."""

import json
from pathlib import Path

import numpy as np
import pytest

from onlineflows.cli.output import Output

DOCUMENT = {"path": Path("runs/x"), "nll": np.float32(0.5), "edges": np.array([1, 2])}


def test_people_get_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    Output().result(DOCUMENT, "half a nat")
    assert capsys.readouterr().out == "half a nat\n"


def test_machines_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).result(DOCUMENT, "half a nat")
    assert json.loads(capsys.readouterr().out) == {"path": "runs/x", "nll": 0.5, "edges": [1, 2]}


def test_a_value_without_a_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a value with a JSON form; got object"):
        Output(as_json=True).result({"x": object()}, "")
