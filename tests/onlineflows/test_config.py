"""The loader: what it takes, what it refuses, and in which words."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from onlineflows.cli.config import Config, RunConfig, load_config
from onlineflows.config import fingerprint, load, parse, read_json, to_dict
from onlineflows.errors import ConfigError
from onlineflows.settings import LearnerConfig
from replay.settings import LhcoFeaturesConfig, RootConfig, StandinConfig

CONFIGS = Path(__file__).parents[2] / "configs"


def write(folder: Path, text: str) -> Path:
    path = folder / "example.toml"
    path.write_text(text)
    return path


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides)
    return str(caught.value)


def test_without_a_file_everything_has_its_default() -> None:
    assert load_config(None) == Config(run=RunConfig(name="default"))


def test_a_file_sets_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "[flow]\nblocks = 5\n"))
    assert (config.flow.blocks, config.flow.hidden) == (5, Config().flow.hidden)


def test_a_run_without_a_name_takes_that_of_its_file(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "")).run.path == Path("runs/example")


@pytest.mark.parametrize("name", ["a/b", "..", "/tmp", "x" * 61])
def test_a_name_that_is_no_folders_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"run\.name: expected the name of a folder of at most"):
        load_config(None, [f"run.name={name}"])


def test_a_run_keeps_the_name_that_it_is_given(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "[run]\nname = 'mine'")).run.path == Path("runs/mine")


def test_the_learner_sees_its_own_sections_only() -> None:
    config = load_config(None, ["flow.blocks=2", "wire.batch_events=99"])
    assert config.learner == LearnerConfig(flow=config.flow)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type = 'standin'\nn_events = 5", StandinConfig(n_events=5)),
        (
            "type = 'lhco_features'\npaths = ['a.h5']",
            LhcoFeaturesConfig("lhco_features", ("a.h5",)),
        ),
        ("type = 'root'\npaths = ['a.root']\ntree = 't'", RootConfig("root", ("a.root",), "t")),
    ],
)
def test_the_type_of_a_source_chooses_its_keys(tmp_path: Path, text: str, expected: object) -> None:
    assert load_config(write(tmp_path, f"[source]\n{text}")).source == expected


def test_infinite_supports_can_be_written(tmp_path: Path) -> None:
    text = (
        "[source]\ntype = 'root'\npaths = ['a']\n"
        "[[source.features]]\nname = 'x'\nexpression = 'x'\nlow = 0\nhigh = inf\n"
    )
    source = load_config(write(tmp_path, text)).source
    assert isinstance(source, RootConfig)
    assert (source.features[0].low, source.features[0].high) == (0.0, float("inf"))


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("flow.blocks=7", "flow", "blocks", 7),
        ("optimiser.learning_rate=3e-3", "optimiser", "learning_rate", 0.003),
        ("pacing.rate_hz=1000", "pacing", "rate_hz", 1000.0),
        ("wire.address=tcp://127.0.0.1:6000", "wire", "address", "tcp://127.0.0.1:6000"),
        ("wire.mode=realtime", "wire", "mode", "realtime"),
        ("wire.truth=true", "wire", "truth", True),
        ("validate.signal_region=[3.4, 3.6]", "validate", "signal_region", (3.4, 3.6)),
        ("run.name = spaced", "run", "name", "spaced"),
        ("run.name=a=b", "run", "name", "a=b"),
    ],
)
def test_an_override_is_read_as_toml_or_as_a_bare_string(
    override: str, section: str, key: str, value: object
) -> None:
    assert getattr(getattr(load_config(None, [override]), section), key) == value


def test_a_list_of_tables_can_be_given_whole() -> None:
    config = load_config(None, ['models=[{name = "a"}, {name = "b", buffer = {uses = 8}}]'])
    assert [model.name for model in config.models] == ["a", "b"]
    assert config.models[1].buffer.uses == 8


def test_an_override_wins_over_the_file(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "[flow]\nbins = 4"), ["flow.bins=8"]).flow.bins == 8


def test_the_last_override_wins() -> None:
    assert load_config(None, ["flow.bins=8", "flow.bins=9"]).flow.bins == 9


def test_overrides_reach_a_table_inside_a_section() -> None:
    config = load_config(
        None,
        ["source.type=lhco_features", "source.paths=[a.h5, b.h5]", "source.selection.shuffle=true"],
    )
    assert isinstance(config.source, LhcoFeaturesConfig)
    assert config.source.paths == ("a.h5", "b.h5")
    assert config.source.selection.shuffle


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["flows.blocks=3"], "[flows]: unknown section; nearest known: 'flow'"),
        (["flow.block=3"], "flow.block: unknown key; nearest known: 'blocks'"),
        (["flow.blocks=three"], 'flow.blocks: expected an integer; got "three"'),
        (["flow.blocks=3.0"], "flow.blocks: expected an integer; got 3.0"),
        (["flow.blocks=true"], "flow.blocks: expected an integer; got true"),
        (["flow.blocks=0"], "flow.blocks: expected at least 1; got 0"),
        (["pacing.rate_hz=fast"], 'pacing.rate_hz: expected a number; got "fast"'),
        (["run.name=5"], "run.name: expected a string; got 5"),
        (["wire.truth=1"], "wire.truth: expected true or false; got 1"),
        (["wire.mode=quick"], "wire.mode: expected 'lossless' or 'realtime'; got \"quick\""),
        (["validate.sidebands=3"], "validate.sidebands: expected a list; got 3"),
        (["validate.sidebands=[[1, 'a']]"], "validate.sidebands[0][1]: expected a number; got"),
        (
            ["validate.signal_region=[1]"],
            "validate.signal_region[1]: expected a value; got nothing",
        ),
        (["source.type=csv"], "source.type: expected one of 'standin', 'lhco_features', "),
        (["source.type=root"], "source.paths: expected a value; got nothing"),
        (
            ["evaluation.n_background=5"],
            "evaluation.type: expected one of 'standin', 'lhco_features', 'lhco_particles', 'root'",
        ),
        (
            ["evaluation.type=standin", "evaluation.n_event=5"],
            "evaluation.n_event: unknown key; nearest known: 'n_events'",
        ),
        (
            ["source.type=root", "source.paths=3"],
            (
                "the command line: 1 error in the configuration\n"
                "  source.paths: expected a list or a string; got 3"
            ),
        ),
        (
            ["source.type=root", "source.paths=[a, 3]"],
            (
                "the command line: 1 error in the configuration\n"
                "  source.paths[1]: expected a string; got 3"
            ),
        ),
        (
            ["source.type=root", "source.paths=[a]", "source.tre=x"],
            "source.tre: unknown key; nearest known: 'tree'",
        ),
        (
            ["source.type=root", "source.paths=[a]", "source.selection.shufle=true"],
            "source.selection.shufle: unknown key; nearest known: 'shuffle'",
        ),
        (
            ["source.type=root", "source.paths=[a]", "source.features=[{name='x', unt='GeV'}]"],
            "source.features[0].unt: unknown key; nearest known: 'unit'",
        ),
        (["flow"], "--set flow: expected section.key=value; got 'flow'"),
        (["flow=3"], "--set flow=3: expected section.key=value"),
        (["flow.blocks=3", "flow.blocks.a=3"], "expected a table at 'blocks'; got a value: 3"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_expected(overrides: list[str], message: str) -> None:
    assert message in refusal(*overrides)


def test_everything_wrong_is_reported_at_once() -> None:
    message = refusal("flow.bloks=3", "flow.bins=many", "wire.mode=quick", "x.y=1", "nothing")
    assert message.startswith("the command line: 5 errors in the configuration\n")
    assert all(word in message for word in ("bloks", "bins", "mode", "[x]", "nothing"))


def test_a_value_in_place_of_a_section_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="flow: expected a table; got 3"):
        load_config(write(tmp_path, "flow = 3"))


def test_a_missing_file_is_named_with_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "")
    with pytest.raises(ConfigError, match=r"exampel\.toml.*nearest known: 'example\.toml'"):
        load_config(tmp_path / "exampel.toml")


@pytest.mark.parametrize("content", [b"[flow", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="expected TOML"):
        load_config(path)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a readable file"):
        load_config(tmp_path)


def test_a_configuration_survives_the_way_to_json_and_back() -> None:
    config = load_config(None, ["flow.blocks=5", "validate.signal_region=[3.4, 3.6]"])
    document = json.loads(json.dumps(to_dict(config)))
    assert parse(Config, document, where="the manifest") == config


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda p: p.stem)
def test_what_a_run_leaves_is_its_configuration(tmp_path: Path, path: Path) -> None:
    config = load_config(path)
    left = tmp_path / "config.json"
    left.write_text(json.dumps(to_dict(config)))
    assert parse(Config, read_json(left), where=str(left)) == config


def test_unbounded_features_survive_the_way_to_json_and_back() -> None:
    feature = "{name = 'x', expression = 'x'}"
    config = load_config(
        None, ["source.type=root", "source.paths=[a]", f"source.features=[{feature}]"]
    )
    assert parse(Config, json.loads(json.dumps(to_dict(config))), where="a run") == config


def test_only_the_name_of_infinity_stands_for_a_number() -> None:
    document = to_dict(load_config(None, ['run.name="inf"']))
    assert parse(Config, document, where="a run").run.name == "inf"
    document["pacing"]["rate_hz"] = "1000"
    with pytest.raises(ConfigError, match=r'pacing\.rate_hz: expected a number; got "1000"'):
        parse(Config, document, where="a run")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "expected JSON; got a file that isn't"),
        (b"", "expected JSON; got a file that isn't"),
        (b'{"a": "\xff"}', "expected JSON; got a file that isn't"),
        (b"[" * 100_000, "expected JSON; got a file that isn't"),
        (b"[1]", "expected a JSON object; got list"),
        (b"null", "expected a JSON object; got NoneType"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_json(path)


def test_a_missing_json_file_is_named_with_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"there is none; nearest known: 'config\.json'"):
        read_json(tmp_path / "confg.json")


def test_infinite_numbers_are_strings_in_json() -> None:
    @dataclass(frozen=True)
    class Section:
        high: float = float("inf")

    @dataclass(frozen=True)
    class Whole:
        section: Section = field(default_factory=Section)

    assert to_dict(load(Whole, None)) == {"section": {"high": "inf"}}


def test_the_fingerprint_does_not_depend_on_how_the_file_is_written(tmp_path: Path) -> None:
    one = load_config(
        write(tmp_path, f"[flow]\nbins = {Config().flow.bins}\n[wire]\nheartbeat_s = 1"),
        ["run.name=a"],
    )
    assert fingerprint(one) == fingerprint(load_config(None, ["run.name=a"]))


def test_another_value_gives_another_fingerprint() -> None:
    other = load_config(None, [f"flow.bins={Config().flow.bins + 1}"])
    assert fingerprint(other) != fingerprint(load_config(None))


def test_loading_a_configuration_loads_neither_torch_nor_a_reader() -> None:
    program = (
        "import sys\n"
        "import onlineflows.cli.main\n"
        "from onlineflows.cli.config import load_config\n"
        "load_config(None)\n"
        "heavy = {'torch', 'h5py', 'uproot', 'awkward', 'fastjet', 'sklearn', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda p: p.stem)
def test_the_configurations_that_we_ship_are_right(path: Path) -> None:
    assert load_config(path).run.name == path.stem


def test_settings_without_a_file_are_the_stand_ins():
    assert load_config(None, ["source.n_events=3"]).source == StandinConfig(n_events=3)
