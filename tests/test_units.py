"""The shipped units of systemd: their commands exist, and systemd understands them."""

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from onlineflows.cli.main import app

UNITS = sorted((Path(__file__).parents[1] / "configs" / "systemd").glob("*.service"))


def service(unit: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser["Service"]


def test_there_is_one_for_each_daemon() -> None:
    assert [u.name for u in UNITS] == ["onlineflows-replay@.service", "onlineflows-train@.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda u: u.name)
def test_its_command_is_one_of_ours(unit: Path) -> None:
    program, verb, *arguments = shlex.split(service(unit)["ExecStart"])
    group = typer.main.get_command(app)
    context = group.commands[verb].make_context(verb, arguments)  # type: ignore[attr-defined]
    assert program.endswith("/onlineflows")
    assert verb in unit.name
    assert context.params["log_json"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda u: u.name)
def test_it_asks_for_the_signs_of_life_that_we_give(unit: Path) -> None:
    found = service(unit)
    assert (found["Type"], found["Restart"]) == ("notify", "on-failure")
    assert found["WatchdogSec"] == "2min"


@pytest.mark.parametrize("unit", UNITS, ids=lambda u: u.name)
def test_systemd_understands_it(unit: Path, tmp_path: Path) -> None:
    analyse = shutil.which("systemd-analyze")
    if analyse is None:
        pytest.skip("needs systemd-analyze")
    text = unit.read_text().replace("/opt/onlineflows/bin/onlineflows", "/bin/true")
    copy = tmp_path / unit.name
    copy.write_text(text)
    done = subprocess.run(
        [analyse, "verify", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    # Growing pauses are known from version 254 on.
    assert [line for line in said if "Unknown key 'Restart" not in line] == []
    assert done.returncode == 0
