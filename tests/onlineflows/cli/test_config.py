"""The whole configuration: what of it may be shared."""

import json

import pytest

from onlineflows.cli.config import load_config, public_config
from onlineflows.errors import ConfigError


def test_the_public_configuration_names_no_folder(tmp_path):
    path = tmp_path / "secret.toml"
    path.write_text(
        '[source]\ntype = "lhco_features"\npaths = ["/home/ann/secret/a.h5"]\n'
        '[evaluation]\ntype = "lhco_features"\npaths = ["/home/ann/secret/b.h5"]\n'
        '[run]\ndirectory = "/home/ann/secret/runs"\n'
    )
    document = public_config(load_config(path))
    assert document["source"]["paths"] == ["a.h5"]
    assert document["evaluation"]["paths"] == ["b.h5"]
    assert "/home" not in json.dumps(document)


def test_a_configuration_without_files_is_public_as_it_is():
    assert public_config(load_config(None))["source"]["type"] == "standin"


@pytest.mark.parametrize(
    "wrong", ["buffer.uses=0", "buffer.uses=513", "buffer.capacity=511", "trainer.batch_size=65537"]
)
def test_sizes_that_do_not_fit_together_are_refused_when_they_are_read(wrong):
    with pytest.raises(ConfigError, match="1 error in the configuration\n  buffer: expected 1 <="):
        load_config(None, [wrong])


@pytest.mark.parametrize("name", ["events.root", "events.h5"])
def test_events_in_place_of_a_configuration_are_refused_with_advice(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="got the events themselves; `onlineflows look FILE`"):
        load_config(tmp_path / name)


def test_a_reservoir_may_be_smaller_than_a_mini_batch():
    sizes = ["buffer.kind=reservoir", "buffer.capacity=100"]
    assert load_config(None, sizes).learner.buffer.capacity == 100


LOW = 'prescales=[{name = "low", select = "mjj < 2.5", keep = 10}]'


def test_prescales_are_read_and_changed_by_name():
    [low] = load_config(None, [LOW, "prescales.low.keep=7"]).prescales
    assert (low.name, low.select, low.keep) == ("low", "mjj < 2.5", 7)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["prescales.low.keep=0"], r"prescales.low.keep: expected one in 1"),
        (["prescales.low.kep=2"], r"prescales\[0\].kep: unknown key; nearest known: 'keep'"),
        (["prescales.low.select=mjj <"], r"expected an expression .* prescales.low.select"),
        (["prescales.low.select=mj < 2"], r"prescales.low.select: .* got 'mj'; .*'mjj'"),
        (['prescales=[{name = "a"}, {name = "a"}]'], r"prescales: expected names that differ"),
        (
            [
                "source.type=root",
                'source.features=[{name = "MR", expression = "MR"}]',
                'source.paths="a.root"',
            ],
            r"prescales.low.select: .* got 'mjj'; .*'MR'",
        ),
        (["pacing.arrivals=recorded"], r"pacing.arrivals: expected source.time .*'standin'"),
        (["pacing.fill.decay=linear"], r"pacing.fill.decay: expected 'exponential' or 'burn_off'"),
        (["pacing.fill.tau=3"], r"pacing.fill.tau: unknown key"),
    ],
)
def test_prescales_and_pacing_that_make_no_sense_are_refused_when_they_are_read(wrong, message):
    with pytest.raises(ConfigError, match="1 error in the configuration\n  .*" + message):
        load_config(None, [LOW, *wrong])
