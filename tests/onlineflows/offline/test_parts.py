"""Finished parts are kept exactly, and only for what they were computed from."""

from pathlib import Path

import numpy as np
import pytest

from onlineflows.offline.parts import Part, PartStore, result_document, result_of
from onlineflows.offline.scores import rate_score

PART = Part("cwola_data", "curve", {"on": "data"})
SETTINGS = {"seed": 1}


def test_a_result_survives_its_document_exactly() -> None:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 500)
    result = rate_score(rng.normal(size=500) + label, label, min_background=20)
    again = result_of(result_document(result))

    assert (again.auc, again.max_sic) == (result.auc, result.max_sic)
    np.testing.assert_array_equal(again.curve.sic, result.curve.sic)


def test_a_kept_part_is_found_under_its_key_alone(tmp_path: Path) -> None:
    store = PartStore(tmp_path / "parts")
    key = PART.key("abc", SETTINGS)
    store.save(PART.name, key, {"value": 0.1})

    assert store.load(PART.name, key) == {"value": 0.1}
    assert store.load(PART.name, PART.key("abd", SETTINGS)) is None
    assert store.load("other", key) is None


@pytest.mark.parametrize(
    "other",
    [
        PART.key("other events", SETTINGS),
        PART.key("abc", {"seed": 2}),
        Part("cwola_data", "curve", {"on": "snapshot"}).key("abc", SETTINGS),
    ],
)
def test_the_key_depends_on_everything_that_goes_in(other: str) -> None:
    assert other != PART.key("abc", SETTINGS)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}', '{"document": {}}'])
def test_a_damaged_part_is_computed_again(tmp_path: Path, text: str) -> None:
    store = PartStore(tmp_path)
    (tmp_path / "cwola_data.json").write_text(text)

    assert store.load("cwola_data", PART.key("abc", SETTINGS)) is None


def test_numbers_that_json_cannot_hold_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        PartStore(tmp_path).save("x", "key", {"value": float("nan")})

    assert not list(tmp_path.glob("*.json"))
