"""The documents keep what they promise: commands parse, links lead somewhere, names exist."""

import ast
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

import onlineflows
from onlineflows.cli.config import load_config
from onlineflows.cli.main import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))
PACKAGES = ("streams", "replay", "onlineflows")


def shell_lines(document: Path) -> list[str]:
    """Every command in a bash block; several on one line are taken apart."""
    blocks = re.findall(r"```bash\n(.*?)```", document.read_text(), flags=re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [part for line in lines if line for part in line.split(" && ")]


def options_of(arguments: list[str]) -> dict[str, object]:
    """What the command line understands; fails on a verb or an option that doesn't exist."""
    group = typer.main.get_command(app)
    verb = group.commands[arguments[0]]  # type: ignore[attr-defined]
    parsed: dict[str, object] = verb.make_context(arguments[0], arguments[1:]).params
    return parsed


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


COMMANDS = [(d.name, line.removeprefix(".venv/bin/")) for d in DOCUMENTS for line in shell_lines(d)]
LINKS = [
    (document, link)
    for document in DOCUMENTS
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    if not link.startswith("http")
]
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_the_readme_begins_with_its_two_commands() -> None:
    assert shell_lines(ROOT / "README.md")[:2] == ["make demo", "make test"]


@pytest.mark.parametrize(("document", "line"), COMMANDS)
def test_a_command_in_a_document_exists(document: str, line: str) -> None:
    program, *arguments = shlex.split(line)
    if program == "make":
        assert set(arguments) <= make_targets()
    elif program == "onlineflows":
        options_of(arguments)
    else:
        known = {"python3", "pip", ".", "docker", "sudo", "systemctl", "journalctl"}
        assert program in known, f"{document}: {line}"


@pytest.mark.parametrize(
    "line", [line for _, line in COMMANDS if re.match(r"onlineflows .*configs/\S+\.toml", line)]
)
def test_a_command_in_a_document_names_a_configuration_that_can_be_loaded(line: str) -> None:
    arguments = shlex.split(line)[1:]
    overrides = options_of(arguments)["overrides"] or []
    paths = [Path(word) for word in arguments if word.startswith("configs/")]
    for path in paths:
        load_config(ROOT / path, overrides)  # type: ignore[arg-type]


@pytest.mark.parametrize(("document", "link"), LINKS, ids=lambda x: getattr(x, "name", x))
def test_a_link_leads_to_a_file_of_the_project(document: Path, link: str) -> None:
    assert (document.parent / link).exists()


def test_every_verb_is_in_the_readme() -> None:
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    text = (ROOT / "README.md").read_text()
    assert [verb for verb in verbs if f"`onlineflows {verb}" not in text] == []


def test_every_configuration_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    configs = {path.name for path in (ROOT / "configs").glob("*.toml")}
    assert {name for name in configs if f"configs/{name}" not in text} <= {"demo.toml"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_says_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, "expected a docstring at the head of the module"


def test_the_version_is_kept_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", onlineflows.__version__)


def test_every_constraint_is_exact() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9._-]+==[\w.+!]+", pin)] == []
    assert len({pin.split("==")[0] for pin in pins}) == len(pins)


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    used = ("particles", "bench", "docs", "live", "onnx", "dev")
    wanted = [*project["dependencies"], *(name for extra in used for name in extras[extra])]
    names = {re.split(r"[\[><=]", name)[0].lower() for name in wanted} - {"onlineflows"}
    text = (ROOT / "constraints.txt").read_text()
    assert {name for name in names if f"\n{name}==" not in text} == set()
