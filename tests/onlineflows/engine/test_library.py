"""Finding the engine's library, and doing without it."""

import subprocess
import sys

import pytest

from onlineflows.engine.library import library_path

WITHOUT = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
from onlineflows.engine import available, info
print(available(), available(), info().isa, info().path)
"""


def run(code: str, library: str) -> str:
    """Runs code in a process of its own, for a library is loaded once for each."""
    command = [sys.executable, "-c", code]
    environment = {"ONLINEFLOWS_ENGINE": library, "PYTHONPATH": ":".join(sys.path)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_without_a_library_the_engine_says_so_once(tmp_path):
    lines = run(WITHOUT, str(tmp_path / "missing.so")).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("WARNING engine=none")
    assert lines[1] == "False False none None"


@pytest.mark.slow
def test_a_file_that_is_no_library_is_no_engine(tmp_path):
    (tmp_path / "broken.so").write_text("not a library")
    assert "can't be loaded" in run(WITHOUT, str(tmp_path / "broken.so"))


def test_the_library_can_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("ONLINEFLOWS_ENGINE", str(tmp_path / "other.so"))
    assert library_path() == tmp_path / "other.so"


def test_a_library_in_any_folder_of_the_package_is_found(tmp_path, monkeypatch):
    name = library_path().name
    (tmp_path / name).touch()
    monkeypatch.delenv("ONLINEFLOWS_ENGINE", raising=False)
    monkeypatch.setattr("onlineflows.engine.__path__", ["/nowhere", str(tmp_path)])
    assert library_path() == tmp_path / name
