"""The program as processes of its own: started, watched, stopped, and never left behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WAIT_S = 90
SMALL = {
    "flow.blocks": 1,
    "flow.hidden": 8,
    "flow.bins": 4,
    "preprocess.fit_events": 2000,
    "wire.connect_timeout_s": 30,
}
"""A model that takes no time to learn."""


class Program:
    """One process of the program; what it prints goes to files, which never fill up."""

    def __init__(self, folder: Path, number: int, arguments: list[str]) -> None:
        self._out, self._err = (folder / f"{number}.{name}" for name in ("out", "err"))
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "onlineflows", *arguments],
                stdout=out,
                stderr=err,
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "OMP_NUM_THREADS": "1",
                    "MPLBACKEND": "Agg",
                },
            )

    @property
    def err(self) -> str:
        """What it has written to standard error so far."""
        return self._err.read_text()

    def finish(self, code: int = 0) -> str:
        """Waits for the end, which must come with this exit code; returns what it printed."""
        found = self.popen.wait(WAIT_S)
        assert found == code, f"exit code {found}: {self.err}"
        return self._out.read_text()

    def result(self, code: int = 0) -> Any:
        """The JSON document that it prints at its end."""
        return json.loads(self.finish(code))

    def wait_until(self, is_so: Callable[[], Any], what: str) -> None:
        """Waits for something that happens while it runs."""
        end = time.monotonic() + WAIT_S
        while not is_so():
            assert self.popen.poll() is None, f"ended before {what}: {self.err}"
            assert time.monotonic() < end, f"no {what} within {WAIT_S} s: {self.err}"
            time.sleep(0.01)

    def wait_for_line(self, pattern: str) -> None:
        """Waits for a line in its log."""
        self.wait_until(lambda: re.search(pattern, self.err), repr(pattern))

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.popen.kill()
        self.popen.wait(WAIT_S)


@contextmanager
def programs_in(folder: Path) -> Iterator[Callable[..., Program]]:
    """Starts ``onlineflows VERB ...`` in a folder, with settings by name; ends them all."""
    started: list[Program] = []

    def begin(*arguments: object, **settings: object) -> Program:
        words = [str(argument) for argument in arguments]
        for name, value in settings.items():
            words += ["--set", f"{name}={value}"]
        started.append(Program(folder, len(started), words))
        return started[-1]

    yield begin
    for program in started:
        if program.popen.poll() is None:
            program.popen.send_signal(signal.SIGCONT)
            program.kill()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts programs in the test's own folder."""
    with programs_in(tmp_path) as begin:
        yield begin


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a run of the small model that the tests of a module share; returns its folder. What the
    command printed is in ``printed.json`` two folders above.
    """

    def make(*config: Path, **settings: object) -> Path:
        folder = tmp_path_factory.mktemp("finished")
        with programs_in(folder) as begin:
            printed = begin("run", *config, "--json", **{**SMALL, **settings}).finish()
        (folder / "printed.json").write_text(printed)
        return folder / "runs" / "default"

    return make


@pytest.fixture
def address() -> str:
    """An address that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def small(address: str) -> dict[str, object]:
    """Settings of a small model and a free address."""
    return {**SMALL, "wire.address": address}


@pytest.fixture
def ledger_of(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Reads the accounts of a run, which must be balanced."""

    def read(name: str) -> dict[str, Any]:
        ledger = json.loads((tmp_path / "runs" / name / "ledger.json").read_text())
        withheld = ("not_selected", "prescaled", "busy", "bad", "operator")
        assert ledger["problems"] == []
        assert ledger["unaccounted"] == 0
        assert ledger["generated"] == ledger["sent"] + sum(ledger[name] for name in withheld)
        taken = ledger["trained"] + sum(ledger["skipped"].values()) + ledger["lost"]
        assert ledger["sent"] == taken
        return ledger

    return read
