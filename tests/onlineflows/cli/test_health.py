"""`onlineflows health`: an exit code for whoever restarts containers."""

import json
import logging
from pathlib import Path

import pytest

from onlineflows.cli.health import HealthFile, health
from onlineflows.cli.main import main
from onlineflows.cli.output import Output
from onlineflows.errors import ConfigError

QUIET = Output(as_json=False, quiet=True)


def at(age_s: float, folder: Path, state: str = "running", process: str = "train") -> None:
    HealthFile(folder, process, wall=lambda: 1000.0 - age_s).write(state, {"n_trained": 5})


def code(folder: Path) -> int:
    return health(folder, QUIET, max_age_s=30.0, wall=lambda: 1000.0)


@pytest.mark.parametrize(
    ("state", "age_s", "expected"),
    [
        ("running", 1.0, 0),
        ("waiting", 29.0, 0),
        ("running", 31.0, 1),
        ("stalled", 1.0, 1),
        ("failed", 1.0, 1),
        ("ended", 1e6, 0),
        ("stopped", 1e6, 0),
    ],
)
def test_the_exit_code_says_whether_all_is_well(
    tmp_path: Path, state: str, age_s: float, expected: int
) -> None:
    at(age_s, tmp_path, state)
    assert code(tmp_path) == expected


def test_one_daemon_that_hangs_is_enough(tmp_path: Path) -> None:
    at(1.0, tmp_path)
    at(100.0, tmp_path, process="replay")
    assert code(tmp_path) == 1


def test_a_file_that_is_none_is_not_healthy(tmp_path: Path) -> None:
    (tmp_path / "health.json").write_text("{")
    assert code(tmp_path) == 1


def test_a_folder_without_daemons_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected health\.json or health-replay\.json"):
        code(tmp_path)


def test_the_verb_prints_what_it_knows(tmp_path: Path, capsys) -> None:
    HealthFile(tmp_path, "train").write("running", {"n_trained": 5})
    assert main(["health", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)["train"]
    assert document.items() >= {"healthy": True, "n_trained": 5, "state": "running"}.items()


def test_a_disk_that_refuses_is_said_once(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(logging.getLogger("onlineflows"), "propagate", True)

    def refuse(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", refuse)
    file = HealthFile(tmp_path, "train")
    file.write("running", {})
    file.write("running", {})
    assert caplog.text.count("no health file can be written") == 1


def test_the_learners_of_lanes_are_found_below_the_run(tmp_path: Path, capsys) -> None:
    for lane, age_s in (("lane-2", 1.0), ("lane-10", 100.0), ("lane-backup", 1.0)):
        (tmp_path / lane).mkdir()
        at(age_s, tmp_path / lane)
    at(1.0, tmp_path, process="replay")
    assert code(tmp_path) == 1
    verdicts = [line.split(":")[:2] for line in capsys.readouterr().out.splitlines()]
    assert verdicts == [
        ["replay", " healthy"],
        ["train lane-2", " healthy"],
        ["train lane-10", " UNHEALTHY"],
    ]
