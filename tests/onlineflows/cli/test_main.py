"""The command line as users know it: frozen here; change it on purpose only."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer

import onlineflows
from onlineflows.cli import main as program
from onlineflows.cli.output import Output
from onlineflows.errors import DivergedError, OnlineFlowsError, SnapshotError
from streams.errors import LedgerError, StreamError, TransportError

LOUD = {"--json", "--quiet", "--help"}
DAEMON = LOUD | {"--set", "--log-json"}
LEARNER = {"--resume", "--overwrite", "--continue", "--restarts"}
VERBS = {
    "run": (["config"], DAEMON | LEARNER | {"--live"}),
    "replay": (["config"], DAEMON | {"--live"}),
    "train": (["config"], DAEMON | LEARNER | {"--lane", "--live"}),
    "look": (["config"], LOUD | {"--events", "--set"}),
    "inspect": (
        ["snapshot"],
        LOUD | {"--data", "--figure", "--html", "--open", "--set", "--verify"},
    ),
    "diff": (["a", "b"], LOUD | {"--figure", "--model", "--events", "--seed"}),
    "sample": (["snapshot", "target"], LOUD | {"--events", "--seed", "--model", "--replica"}),
    "export": (
        ["snapshot", "target"],
        LOUD
        | {"--onnx", "--sk-cathode", "--signal-region"}
        | {"--events", "--seed", "--model", "--replica"},
    ),
    "score": (["snapshot", "data"], LOUD | {"--output", "--set", "--model", "--replica"}),
    "validate": (
        ["snapshot"],
        LOUD | {"--data", "--output", "--set", "--method", "--compression", "--preset", "--jobs"},
    ),
    "bench": (
        ["name"],
        LOUD | {"--quick", "--full", "--dataset", "--reference", "--config", "--output", "--jobs"},
    ),
    "chaos": ([], LOUD | {"--rounds", "--seed", "--fault"}),
    "doctor": ([], {"--json", "--help"}),
    "health": (["directory"], LOUD | {"--max-age"}),
    "ctl": (["directory", "verb", "amount"], {"--json", "--help"}),
    "live": (["directory"], LOUD | {"--host", "--port", "--expose", "--open"}),
    "keys": ([], {"--help"}),
    "data": ([], {"--help"}),
}


def commands() -> dict[str, tuple[list[str], set[str]]]:
    group = typer.main.get_command(program.app)
    found = {}
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        context = command.make_context(name, [], resilient_parsing=True)
        parameters = command.get_params(context)
        arguments = [p.name for p in parameters if p.param_type_name == "argument"]
        options = {p.opts[0] for p in parameters if p.param_type_name == "option"}
        found[name] = (arguments, options)
    return found


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Replaces the module of `run`: raises what is under "error", keeps what it was given."""
    seen: dict[str, object] = {}

    def body(config: object, output: Output, *, start: str) -> int:
        seen.update(config=config, output=output, start=start)
        if isinstance(error := seen.get("error"), BaseException):
            raise error
        return int(str(seen.get("code", 0)))

    module = ModuleType("onlineflows.cli.run")
    module.run = body  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "onlineflows.cli.run", module)
    return seen


def test_the_verbs_are_these() -> None:
    assert list(commands()) == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_keeps_its_arguments_and_options(verb: str) -> None:
    assert commands()[verb] == VERBS[verb]


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([verb, "--help"]) == 0
    assert f"Example: onlineflows {verb}" in capsys.readouterr().out


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--version"]) == 0
    assert capsys.readouterr().out == f"onlineflows {onlineflows.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["rnu"], ["run", "--resum"], ["sample", "x"], ["sample", "x", "y", "-n", "0"]]
)
def test_a_wrong_command_line_ends_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_missing_configuration_ends_with_2_and_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["run", str(tmp_path / "none.toml")]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("error: ")
    assert "expected a configuration file" in written.err


def test_options_reach_the_command(bodies: dict[str, object]) -> None:
    assert program.main(["run", "--resume", "--json", "-q", "--set", "flow.bins=8"]) == 0
    assert bodies["start"] == "resume"
    assert bodies["output"] == Output(as_json=True, quiet=True)
    assert bodies["config"].flow.bins == 8  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "start"), [([], "fresh"), (["--resume"], "resume"), (["--overwrite"], "overwrite")]
)
def test_a_run_starts_as_it_was_told(
    bodies: dict[str, object], options: list[str], start: str
) -> None:
    program.main(["run", *options])
    assert bodies["start"] == start


def test_a_run_cannot_both_resume_and_overwrite(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["run", "--resume", "--overwrite"]) == 2
    assert "choose one" in capsys.readouterr().err


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_code_of_a_command_is_the_code_of_the_process(
    bodies: dict[str, object], code: int
) -> None:
    bodies["code"] = code
    assert program.main(["run"]) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SnapshotError("torn"), 2),
        (TransportError("port in use"), 2),
        (LedgerError("3 events unaccounted"), 1),
        (DivergedError("loss is nan"), 1),
        (OnlineFlowsError("other"), 1),
        (StreamError("other"), 1),
    ],
)
def test_an_error_of_ours_is_one_line_and_a_code(
    bodies: dict[str, object], error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies["error"] = error
    assert program.main(["run"]) == code
    assert capsys.readouterr().err == f"error: {error}\n"


def test_an_error_nobody_expected_shows_its_traceback_and_ends_with_1(
    bodies: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    bodies["error"] = ZeroDivisionError("division by zero")
    assert program.main(["run"]) == 1
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().err


def test_an_interrupt_ends_with_1(bodies: dict[str, object]) -> None:
    bodies["error"] = KeyboardInterrupt()
    assert program.main(["run"]) == 1
