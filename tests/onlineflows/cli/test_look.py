"""A look at a source: what would be sent, and what would not."""

import json
import re
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from onlineflows.cli.look import seen
from onlineflows.cli.main import main
from streams import EventSchema, Feature, Status

SCHEMA = EventSchema((Feature("m", "GeV", 0, 10), Feature("x", "", -np.inf, np.inf)))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Six events: four good ones, one cut away, one that is no number."""
    with uproot.recreate(tmp_path / "events.root") as file:
        file["tree"] = {
            "mass": np.array([1.0, 2.0, 30.0, 4.0, 5.0, np.nan]),
            "flag": np.array([1, 1, 1, 1, 0, 1], dtype=np.int32),
        }
    path = tmp_path / "mine.toml"
    path.write_text(
        f"""
        [source]
        type = "root"
        paths = "{tmp_path / "events.root"}"
        tree = "tree"
        cut = "flag == 1"
        [[source.features]]
        name = "m"
        expression = "mass"
        unit = "GeV"
        low = 0
        high = 10
        [[source.features]]
        name = "one"
        expression = "flag"
        """
    )
    return path


def looked(config: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["look", str(config), "--json", *words]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_every_event_that_is_read_is_accounted_for(config, capsys) -> None:
    document = looked(config, capsys)
    assert document["read"] == 6
    assert (document["good"], document["not_selected"]) == (4, 1)
    assert document["bad_by_reason"] == {"not_a_number": 1}


def test_events_outside_the_support_are_counted_and_shown_by_feature(config, capsys) -> None:
    document = looked(config, capsys)
    assert document["out_of_support"] == 1
    assert [feature["outside"] for feature in document["features"]] == [1, 0]


def test_no_more_is_read_than_was_asked_for(config, capsys) -> None:
    assert looked(config, capsys, "--events", "3")["read"] == 3


def test_quantiles_are_those_of_the_good_events() -> None:
    x = np.column_stack([np.linspace(0, 10, 101), np.zeros(101)]).astype(np.float32)
    status = np.zeros(101, np.uint8)
    x[7], status[7] = 1e6, Status.BAD_INPUT
    feature = seen(SCHEMA, x, status)["features"][0]
    assert (feature["min"], feature["max"]) == (0.0, 10.0)
    assert feature["median"] == pytest.approx(np.median(np.delete(np.linspace(0, 10, 101), 7)))


def test_a_feature_of_few_values_is_pointed_out(tmp_path, capsys) -> None:
    rng = np.random.default_rng(1)
    with uproot.recreate(tmp_path / "events.root") as file:
        file["tree"] = {"m": rng.random(200), "n_jets": rng.integers(0, 5, 200)}
    (tmp_path / "mine.toml").write_text(
        f"""
        [source]
        type = "root"
        paths = "{tmp_path / "events.root"}"
        tree = "tree"
        features = [{{name = "m", expression = "m"}}, {{name = "n", expression = "n_jets"}}]
        """
    )
    assert main(["look", str(tmp_path / "mine.toml")]) == 0
    assert "a density has spikes there: n;" in capsys.readouterr().out


def test_a_cut_that_leaves_nothing_is_a_failure_with_advice(config, capsys) -> None:
    assert main(["look", str(config), "--set", "source.cut=flag > 5"]) == 1
    assert "no event is good: look at source.cut" in capsys.readouterr().out


def test_a_unit_in_brackets_is_printed_as_it_is(config, capsys) -> None:
    assert main(["look", str(config)]) == 0
    assert "m [GeV]" in capsys.readouterr().out


def test_a_root_file_shows_its_trees_and_branches(tmp_path, capsys) -> None:
    path = tmp_path / "events.root"
    with uproot.recreate(path) as file:
        file["jets"] = {"Jet": ak.zip({"pt": [[1.0, 2.0], []]}), "met": [3.0, 4.0]}
    assert main(["look", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "trees": [{"name": "jets", "n_events": 2, "numbers": ["met"], "lists": ["Jet_pt"]}]
    }


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_a_root_file_that_was_cut_off_is_refused_in_words(tmp_path, capsys, share) -> None:
    path = tmp_path / "events.root"
    with uproot.recreate(path) as file:
        file["jets"] = {"met": np.arange(5000.0)}
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert main(["look", str(path)]) == 2
    assert re.search("bytes that end too early|cut short", capsys.readouterr().err)


def test_a_root_file_that_is_not_there_is_refused_with_the_nearest(tmp_path, capsys) -> None:
    (tmp_path / "events.root").touch()
    assert main(["look", str(tmp_path / "event.root")]) == 2
    assert "there is none; nearest known: 'events.root'" in capsys.readouterr().err


def test_what_is_no_root_file_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "events.root").write_bytes(b"not at all")
    assert main(["look", str(tmp_path / "events.root")]) == 2
    assert "expected a ROOT file" in capsys.readouterr().err
