"""Every block of code in the documents is run, or the reason why not is written here.

Pages are tried as a reader would: block by block, in a folder of their own. What would take long
is run with smaller numbers. Daemons in one block run at the same time, as the page says; where a
block has learners alone, the test starts the producer that they need.
"""

import itertools
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient

from onlineflows.cli.config import Config
from onlineflows.config import parse

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

NOT_RUN = {
    r"make \w+": ".ci/run does it, from a clean checkout",
    r"(pip install|python3 -m venv|\. \.venv/bin/activate)": ".ci/run installs, by the Makefile",
    r"onlineflows chaos": "takes minutes; each fault runs in tests/integration/test_chaos.py",
    r"onlineflows bench": "takes minutes; tests/onlineflows/cli/test_bench*.py run it with --quick",
    r"python3 tests/benchmarks/": "takes minutes, or needs a GPU",
    r"onlineflows train .*trainer\.device=cuda": "needs a GPU",
    r"(sudo|systemctl|journalctl) ": "needs systemd",
    r"onlineflows ctl ": "needs a run that lasts; tests/integration/test_control.py drives one",
    r"onlineflows live ": "serves until it is stopped; tests/onlineflows/live looks at it",
    r"onlineflows data (fetch|verify|convert)": "needs the net or the files that come from there; "
    "tests/onlineflows/cli/test_data.py has a server and files of its own",
    r"onlineflows inspect .* --open": "opens a browser",
    r"onlineflows diff runs/demo runs/other": "names a run of the reader's own",
    r"docker ": "needs a container engine; tests/test_containers.py runs what is in the containers",
}
"""Commands that aren't run, and why."""

SMALLER = {
    r"onlineflows (run|replay|train) configs/demo\.toml": [
        "source.n_events=20000",
        "preprocess.fit_events=2000",
    ],
    r"onlineflows (run|replay|train) configs/lhco\.toml": [
        "source.paths=events.h5",
        "source.selection.end_row=20000",
        "preprocess.fit_events=1000",
    ],
    r"onlineflows run configs/fill\.toml": ["source.n_events=100000"],
    r"onlineflows run configs/razor\.toml": ["pacing.speed=20000"],
    r"onlineflows validate runs/demo": [
        "validate.test_background=20000",
        "validate.test_signal=2000",
        "validate.draws=2",
        "validate.folds=2",
    ],
    r"onlineflows validate runs/lhco": ["validate.draws=2", "validate.folds=2"],
}
"""Settings with which a command takes seconds."""

AGAIN = [
    (r"README\.md", r"onlineflows run configs/lhco\.toml"),
    (r"reliability\.md", r"onlineflows train configs/lhco\.toml --set snapshot"),
    (r"daemons\.md", r"onlineflows train .*--lane"),
]
"""Runs that a reader does in place of an earlier one on the page, not after it."""

NEEDED = {
    "README.md": {"events.h5": "lhco/events_anomalydetection_v2.features.80k.h5"},
    "reliability.md": {"events.h5": "lhco/events_anomalydetection_v2.features.80k.h5"},
    "data.md": {
        "events.h5": "lhco/events_anomalydetection_v2.features.80k.h5",
        "features.h5": "lhco/events_anomalydetection_v2.features.80k.h5",
    },
    "rates.md": {"razor.root": "root/cms2010_multijet_razor.root"},
    "your_root_file.md": {"HZZ.root": "root/uproot-HZZ.root"},
}
"""Files that a reader of a page has: names on the page, and below ONLINEFLOWS_TEST_DATA."""

SHOWN = r"onlineflows (look|run zmumu\.toml)"
"""Commands that print the same everywhere: what the page shows after them is compared."""

MADE_BEFORE = {
    page: ["onlineflows run configs/demo.toml"]
    for page in ("reliability.md", "adapters.md", "control.md", "snapshots.md")
}
"""What a reader has done before a page, where it says so by the names that it uses."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the paragraph before it."""

    language: str
    text: str
    before: str

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block, without comments; several on one line are taken apart.

        The program is that of this environment, wherever a page has it.
        """
        words = [shlex.split(line, comments=True) for line in self.text.splitlines()]
        parts = [part for line in words if line for part in shlex.join(line).split(" '&&' ")]
        return [part.removeprefix(".venv/bin/") for part in parts]


def blocks_of(page: Path) -> list[Block]:
    found = re.finditer(
        r"([^\n]*)\n\n```([^\n]*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
    )
    return [Block(match[2].split(" ")[0], match[3], match[1]) for match in found]


BLOCKS = [(page, block) for page in PAGES for block in blocks_of(page)]
COMMANDS = [c for _, block in BLOCKS if block.language == "bash" for c in block.commands]


def why_not(command: str) -> str | None:
    return next((why for what, why in NOT_RUN.items() if re.match(what, command)), None)


def is_daemon(command: str) -> bool:
    return re.match(r"onlineflows (replay|train)", command) is not None


def runs_here(page: Path) -> bool:
    """Whether a page has anything to run."""
    shell = [c for b in blocks_of(page) if b.language == "bash" for c in b.commands]
    python = any(block.language == "python" for block in blocks_of(page))
    return python or any(why_not(command) is None for command in shell)


class Reader:
    """Somebody who does what a page says, in a folder.

    Args:
        folder: where; has the project's configurations.
        page: the page's name.
    """

    def __init__(self, folder: Path, page: str) -> None:
        self._folder = folder
        self._page = page
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "MPLBACKEND": "Agg",
        }
        (folder / "configs").symlink_to(ROOT / "configs")

    def do(self, block: Block) -> str:
        """Runs a block, or saves a configuration where the page says so; returns what the last
        command printed.
        """
        if block.language == "bash":
            return self.shell(block.commands)
        elif block.language == "python":
            self._run([sys.executable, "-c", block.text])
        elif save := re.search(r"(Save this as|Add to) `([\w.]+)`", block.before):
            with (self._folder / save[2]).open("w" if save[1].startswith("Save") else "a") as file:
                file.write(f"\n{block.text}")
        return ""

    def shell(self, commands: list[str]) -> str:
        """Runs the commands of one block, its daemons side by side."""
        printed = ""
        wanted = [command for command in commands if why_not(command) is None]
        for are_daemons, group in itertools.groupby(wanted, is_daemon):
            if are_daemons:
                self._daemons(list(group))
            else:
                printed = [self._run(self._words(command)) for command in group][-1]
        return printed

    def _daemons(self, commands: list[str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"wire.address=tcp://127.0.0.1:{free.getsockname()[1]}"
        with self._producer_for(commands, address):
            started = [self._start(command, address) for command in commands]
            for command, process in zip(commands, started, strict=True):
                _, err = process.communicate(timeout=600)
                assert process.returncode == 0, f"{command}\n{err}"

    @contextmanager
    def _producer_for(self, daemons: list[str], address: str) -> Iterator[None]:
        """The producer of learners that the page has alone; left alone where it has one."""
        if any(command.startswith("onlineflows replay") for command in daemons):
            yield
            return
        words = re.sub(r" (--lane \d|--continue|--restarts \d)", "", daemons[0])
        producer = self._start(words.replace("train", "replay", 1), address)
        try:
            yield
        finally:
            producer.terminate()
            producer.communicate(timeout=60)

    def _words(self, command: str, *settings: str) -> list[str]:
        program, *words = shlex.split(command)
        assert program == "onlineflows", f"nobody knows how to run {command!r}"
        smaller = next((s for what, s in SMALLER.items() if re.match(what, command)), [])
        for setting in (*smaller, *settings):
            words += ["--set", setting]
        if any(re.match(p, self._page) and re.match(c, command) for p, c in AGAIN):
            words.append("--overwrite")
        return [sys.executable, "-m", "onlineflows", *words]

    def _start(self, command: str, address: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self._words(command, address),
            cwd=self._folder,
            env=self._environment,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def _run(self, words: list[str]) -> str:
        done = subprocess.run(
            words, cwd=self._folder, env=self._environment, text=True, capture_output=True
        )
        assert done.returncode == 0, f"{shlex.join(words[1:])}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", [p for p in PAGES if runs_here(p)], ids=lambda page: page.name)
def test_a_page_can_be_followed_word_by_word(page, tmp_path, test_data) -> None:
    for name, stored in NEEDED.get(page.name, {}).items():
        (tmp_path / name).symlink_to(test_data(stored))
    reader = Reader(tmp_path, page.name)
    reader.shell(MADE_BEFORE.get(page.name, []))
    blocks = blocks_of(page)
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        printed = reader.do(block)
        is_shown = block.language == "bash" and re.match(SHOWN, block.commands[-1])
        if is_shown and following is not None and following.language == "text":
            assert printed == following.text


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_begin_to_end(notebook, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(jupytext.read(notebook), timeout=600, resources=resources).execute()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs(notebook) -> None:
    cells = [cell for cell in jupytext.read(notebook).cells if cell.cell_type == "code"]
    assert cells
    assert all(not cell.outputs for cell in cells)
    assert jupytext.reads(notebook.read_text(), fmt="md:myst").metadata["kernelspec"]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=lambda x: getattr(x, "name", ""))
def test_a_block_says_what_it_is(page, block) -> None:
    known = {
        "bash",
        "python",
        "toml",
        "text",
        "json",
        "yaml",
        "{eval-rst}",
        "{include}",
        "{toctree}",
    }
    is_drawing = page.name == "CONTRIBUTING.md" and not block.language
    assert block.language in known or is_drawing


@pytest.mark.parametrize(
    "block",
    [block for _, block in BLOCKS if block.language == "toml"],
    ids=[page.name for page, block in BLOCKS if block.language == "toml"],
)
def test_a_piece_of_configuration_can_be_loaded(block) -> None:
    parse(Config, tomllib.loads(block.text), where="the page")


@pytest.mark.parametrize("pattern", [*NOT_RUN, *SMALLER, *(what for _, what in AGAIN)])
def test_what_is_said_of_commands_is_said_of_some(pattern) -> None:
    assert any(re.match(pattern, command) for command in COMMANDS)
