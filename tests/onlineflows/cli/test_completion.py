"""Shell completion: each shell gets a script, and the script's questions get answers."""

import shutil
import subprocess
from pathlib import Path

import pytest

from onlineflows.cli.main import main

SCRIPTS = {
    "bash": "complete -o default -F _onlineflows_completion onlineflows",
    "zsh": "compdef _onlineflows_completion onlineflows",
    "fish": "complete --command onlineflows",
}


def completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> list[str]:
    """What bash would offer for the last word."""
    monkeypatch.setenv("_ONLINEFLOWS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(["onlineflows", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    assert main([]) == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_shell_gets_its_script(shell, monkeypatch, capsys) -> None:
    monkeypatch.setenv("_ONLINEFLOWS_COMPLETE", f"source_{shell}")
    assert main([]) == 0
    assert SCRIPTS[shell] in capsys.readouterr().out


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_script_is_one_that_its_shell_understands(shell, monkeypatch, capsys, tmp_path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"needs {shell}")
    monkeypatch.setenv("_ONLINEFLOWS_COMPLETE", f"source_{shell}")
    main([])
    script: Path = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    subprocess.run([program, "-n", str(script)], check=True)


def test_a_verb_is_completed(monkeypatch, capsys) -> None:
    assert completed(monkeypatch, capsys, "ins") == ["inspect"]


def test_an_option_is_completed(monkeypatch, capsys) -> None:
    assert completed(monkeypatch, capsys, "run", "--res") == ["--resume", "--restarts"]


def test_the_name_of_a_measurement_is_completed(monkeypatch, capsys) -> None:
    assert completed(monkeypatch, capsys, "bench", "sca") == ["scaling"]


def test_the_help_says_how_to_install_it(capsys) -> None:
    assert main(["--help"]) == 0
    assert "--install-completion" in capsys.readouterr().out
