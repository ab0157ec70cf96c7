"""What may be said of a run's models, and what is refused before anything runs."""

import json
import typing

import pytest

from onlineflows import model_settings, settings
from onlineflows.cli.config import Config
from onlineflows.config import load, parse, to_dict
from onlineflows.errors import ConfigError
from onlineflows.model_settings import JOINT, ModelConfig
from onlineflows.settings import BufferConfig


def models_of(*tables: dict, **sections: dict) -> Config:
    return parse(Config, {"models": list(tables), **sections}, where="a test")


def test_a_run_without_models_trains_one_of_everything():
    (model,) = Config().learner.models
    assert (model.name, model.inside, model.outside, model.replicas) == (JOINT, None, None, 0)


def test_settings_of_a_model_go_before_those_of_the_run():
    config = models_of(
        {"name": "joint"},
        {"name": "window", "inside": [3.1, 3.9], "buffer": {"uses": 16}, "flow": {"hidden": 32}},
        buffer={"capacity": 8192, "uses": 2},
    )
    joint, window = (config.learner.of(model) for model in config.models)
    assert joint.buffer == BufferConfig(capacity=8192, uses=2)
    assert window.buffer == BufferConfig(capacity=8192, uses=16)
    assert (joint.flow.hidden, window.flow.hidden) == (64, 32)


@pytest.mark.parametrize("section", ["preprocess", "flow", "buffer", "optimiser"])
def test_every_setting_of_a_section_can_be_a_models_own(section):
    overrides = getattr(model_settings, f"{section.capitalize()}Overrides")
    whole = typing.get_type_hints(getattr(settings, f"{section.capitalize()}Config"))
    expected = {name: hint | None for name, hint in whole.items()}
    assert typing.get_type_hints(overrides) == expected


def test_models_survive_the_way_through_json():
    config = models_of({"name": "high", "inside": [3.1, float("inf")], "replicas": 3})
    document = json.loads(json.dumps(to_dict(config), allow_nan=False))
    assert parse(Config, document, where="a test") == config


def test_a_model_is_reached_by_its_name_from_the_command_line(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[[models]]\nname = "joint"\n[[models]]\nname = "window"\n')
    config = load(Config, path, ["models.window.buffer.uses=8", "models.joint.replicas=2"])
    assert config.models[1].buffer.uses == 8
    assert config.models[0].replicas == 2


def test_a_model_that_is_not_there_cannot_be_changed(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[[models]]\nname = "joint"\n')
    with pytest.raises(ConfigError, match=r"tables in the list, \['joint'\]; got 'window'"):
        load(Config, path, ["models.window.replicas=8"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r"models\[0\].name: expected a value; got nothing"),
        ({"name": ""}, "models.name: expected 1 to 32 letters"),
        ({"name": "a.b"}, "models.name: expected 1 to 32 letters"),
        ({"name": "a", "region": [1, 2]}, r"models\[0\].region: unknown key"),
        ({"name": "a", "inside": [3, 2]}, r"'a': inside: expected \[low, high\] with low < high"),
        ({"name": "a", "inside": [1, float("nan")]}, "with low < high"),
        ({"name": "a", "inside": [1]}, r"models\[0\].inside"),
        ({"name": "a", "outside": [1, float("inf")]}, "'a': outside: expected a finite interval"),
        ({"name": "a", "inside": [1, 2], "outside": [1, 2]}, "'a': expected inside or outside"),
        (
            {"name": "a", "share": [2, 2]},
            r"'a': share: expected \[k, n\] with 0 <= k < n.*\[2, 2\]",
        ),
        ({"name": "a", "share": [-1, 2]}, r"'a': share: expected \[k, n\]"),
        ({"name": "a", "share": [0.5, 2]}, r"models\[0\].share"),
        ({"name": "a", "share": [1]}, r"models\[0\].share"),
        ({"name": "a", "replicas": -1}, "'a': replicas: expected at least 0; got -1"),
        ({"name": "a", "buffer": {"usse": 8}}, r"buffer.usse: unknown key; nearest known: 'uses'"),
        ({"name": "a", "buffer": {"uses": 8.5}}, r"models\[0\].buffer.uses: expected an integer"),
        ({"name": "a", "buffer": {"uses": 8000}}, "'a': buffer: expected 1 <= uses"),
        ({"name": "a", "flow": {"hidden": 0}}, "'a': flow.hidden: expected at least 1; got 0"),
        ({"name": "a", "trainer": {"seed": 8}}, "trainer.seed: unknown key"),
    ],
)
def test_a_model_that_makes_no_sense_is_refused(table, message):
    with pytest.raises(ConfigError, match=message):
        models_of(table)


@pytest.mark.parametrize("tables", [[], [{"name": "a"}, {"name": "a"}]])
def test_models_have_distinct_names_and_there_is_at_least_one(tables):
    with pytest.raises(ConfigError, match=r"models: expected (at least one|distinct names)"):
        models_of(*tables)


def test_what_one_model_learns_is_a_configuration_without_overrides():
    table = {"name": "a", "replicas": 2, "share": [1, 3], "buffer": {"uses": 16}}
    config = models_of(table).learner
    own = config.of(config.models[0])
    assert own.models == (ModelConfig("a", replicas=2, share=(1, 3)),)
    assert own.of(own.models[0]) == own
