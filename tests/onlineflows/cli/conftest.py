"""The program inside the test's process: one small run, and what commands print."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from onlineflows.cli.logs import PACKAGES
from onlineflows.cli.main import main

SETTINGS = (
    "source.n_events=8000",
    "source.signal_fraction=0.2",
    "preprocess.fit_events=2000",
    "flow.blocks=1",
    "flow.hidden=8",
    "flow.bins=4",
    "validate.folds=2",
    "validate.draws=2",
    "validate.min_background=10",
    "validate.test_background=3000",
    "validate.test_signal=1000",
)


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its result, where it was asked for JSON; nothing else may be printed."""
        return json.loads(self.out)


@contextmanager
def loggers_kept() -> Iterator[None]:
    """Undoes what a command does to the loggers of the process."""
    loggers = [logging.getLogger(name) for name in PACKAGES]
    before = [(log.handlers, log.propagate, log.level) for log in loggers]
    yield
    for log, (handlers, propagate, level) in zip(loggers, before, strict=True):
        log.handlers, log.propagate = handlers, propagate
        log.setLevel(level)


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    """Undoes what the commands of a test do to the loggers of the process."""
    with loggers_kept():
        yield


def options(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the stand-in, learned by a small model; not to be changed."""
    runs = tmp_path_factory.mktemp("runs")
    directory = f"run.directory={runs}"
    with loggers_kept():
        assert main(["run", "-q", *options(*SETTINGS, directory, "run.name=small")]) == 0
    return runs / "small"


MODELS = """models=[
{name = "joint", replicas = 2},
{name = "window", inside = [3.1, 3.9], buffer = {uses = 8}, preprocess = {fit_events = 300}},
{name = "late", inside = [9.0, 14.0]},
{name = "half", share = [1, 2]}]"""


@pytest.fixture(scope="session")
def run_of_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of several models, one of which has seen too few events; not to be changed."""
    runs = tmp_path_factory.mktemp("runs")
    directory = f"run.directory={runs}"
    with loggers_kept():
        assert main(["run", "-q", *options(*SETTINGS, directory, "run.name=small", MODELS)]) == 0
    return runs / "small"


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs ``onlineflows ...``; what its child processes print is seen as well."""

    def say(*arguments: object, settings: tuple[str, ...] = ()) -> Said:
        capfd.readouterr()
        code = main([*map(str, arguments), *options(*settings)])
        return Said(code, *capfd.readouterr())

    return say


@pytest.fixture
def refused(command: Callable[..., Said]) -> Callable[..., str]:
    """Runs a command that the user's input makes impossible; returns its one message."""

    def say(*arguments: object, settings: tuple[str, ...] = ()) -> str:
        said = command(*arguments, settings=settings)
        assert (said.code, said.out) == (2, "")
        first, *more = said.err.splitlines()
        assert first.startswith("error: ")
        assert all(line.startswith("  ") for line in more), said.err  # a list of several
        return said.err

    return say
