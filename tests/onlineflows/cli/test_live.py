import logging
import socket
from itertools import pairwise
from pathlib import Path

import pytest

from onlineflows.cli import live, live_process
from onlineflows.cli import main as program
from onlineflows.cli.config import Config, load_config, public_config
from onlineflows.cli.output import Output
from onlineflows.errors import ConfigError
from onlineflows.live.address import HOST, PORT, Address


def test_a_host_that_others_can_reach_must_be_exposed_on_purpose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["live", str(tmp_path), "--host", "0.0.0.0"]) == 2
    said = capsys.readouterr().err
    assert "nobody is asked who they are" in said
    assert "--expose" in said


def test_a_port_that_was_asked_for_and_is_taken_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        assert program.main(["live", str(tmp_path), "--port", str(port)]) == 2
    assert f"{HOST}:{port}: expected an address to listen at" in capsys.readouterr().err


def test_the_usual_port_gives_way_to_a_free_one() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        address, listening = live.listen(Address(HOST, port), expose=False, may_move=True)
        with listening:
            assert address.port not in (0, port)


def test_a_run_directory_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "demo").write_text("")
    assert program.main(["live", str(tmp_path / "demo"), "--port", "0"]) == 2
    assert "expected a run directory" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["live", "runs/demo"], ["run", "--live"]])
def test_without_its_libraries_the_extra_is_named(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(live, "find_spec", lambda name: None)
    assert program.main(command) == 2
    assert 'pip install "onlineflows[live]"' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def config_of(tmp_path: Path, address: str = "") -> Config:
    settings = [f"run.directory={tmp_path}", f"live.address={address}"]
    return load_config(None, settings)


def test_a_daemon_without_a_page_starts_none(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(live_process, "LivePage", lambda *_: pytest.fail("a page was started"))
    code = live_process.beside_page(config_of(tmp_path), Output(), wanted=False, body=lambda: 1)
    assert code == 1


def test_a_daemon_whose_page_has_no_address_goes_on_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("onlineflows"), "propagate", True)
    with socket.create_server((HOST, 0)) as taken:
        config = config_of(tmp_path, f"{HOST}:{taken.getsockname()[1]}")
        code = live_process.beside_page(config, Output(), wanted=False, body=lambda: 0)
    assert code == 0
    assert "no live page" in caplog.text


def test_an_exposed_address_in_a_configuration_must_be_meant() -> None:
    with pytest.raises(ConfigError, match=r"live\.expose = true"):
        load_config(None, [f"live.address=0.0.0.0:{PORT}"])


def test_where_the_page_is_served_is_no_part_of_a_snapshot(tmp_path: Path) -> None:
    assert "live" not in public_config(config_of(tmp_path))


@pytest.mark.parametrize("verb", ["run", "train"])
def test_processes_that_a_command_starts_again_have_no_page_of_their_own(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    class Supervisor:
        def __init__(self, first: list[str], again: list[str], **_: object) -> None:
            commands.extend([first, again])

        def run(self) -> int:
            return 0

    monkeypatch.setattr("onlineflows.cli.supervise.Supervisor", Supervisor)
    monkeypatch.setattr(live_process, "beside_page", lambda c, o, wanted, body: body())
    words = ["--set", f"run.directory={tmp_path}", "--set", f"live.address={HOST}:{PORT}"]
    assert program.main([verb, "--restarts", "1", "--live", *words]) == 0
    assert len(commands) == 2
    for command in commands:
        assert "--live" not in command
        overrides = [b for a, b in pairwise(command) if a == "--set"]
        assert load_config(None, overrides).live.address == ""
