"""Containers as far as they can be tried without an engine: what is in them, and who sees what."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from onlineflows.cli.config import load_config
from onlineflows.cli.main import app
from streams.settings import is_local

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "configs" / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DAEMONS = ("producer", "learner")
DOCKERFILE = (FOLDER / "Dockerfile").read_text()


def overrides_of(command: list[str]) -> list[str]:
    """The settings in a command; fails on a verb or an option that doesn't exist."""
    group = typer.main.get_command(app)
    verb = group.commands[command[0]]  # type: ignore[attr-defined]
    return list(verb.make_context(command[0], command[1:]).params["overrides"] or [])


def mounts(service: str) -> dict[str, str]:
    """What is mounted into a service: by the place where it sees it."""
    pairs = [volume.split(":")[:2] for volume in SERVICES[service]["volumes"]]
    return {place: what for what, place in pairs}


def test_the_dockerfile_passes_its_linter() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("needs hadolint")
    done = subprocess.run([linter, FOLDER / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_image_runs_as_nobody_in_particular() -> None:
    assert re.search(r"^USER 10001$", DOCKERFILE, re.MULTILINE)


def test_what_is_copied_into_the_image_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().split() if line}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []
    assert names == kept & names


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_mounts_files_that_exist_and_volumes_that_are_declared(service) -> None:
    for what in mounts(service).values():
        exists = (FOLDER / what).exists() if what.startswith(".") else what in COMPOSE["volumes"]
        assert exists, what


@pytest.mark.parametrize("service", SERVICES)
def test_a_port_is_open_on_this_machine_only(service) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[service].get("ports", ()))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_no_capabilities(service) -> None:
    assert SERVICES[service]["cap_drop"] == ["ALL"]
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_a_version_or_is_built_here(service) -> None:
    assert "build" in SERVICES[service] or re.search(r":v?\d", SERVICES[service]["image"])


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_daemon_sees_the_keys_of_its_own_end_only_and_cannot_change_them(daemon) -> None:
    keys = [volume for volume in SERVICES[daemon]["volumes"] if "-keys:" in volume]
    assert keys == [f"{daemon}-keys:/keys:ro"]


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_daemons_command_is_one_and_its_wire_is_encrypted(daemon) -> None:
    command = SERVICES[daemon]["command"]
    wire = load_config(FOLDER / "run.toml", overrides_of(command)).wire
    assert not is_local(wire.address)
    assert wire.security.has_keys
    assert not wire.security.insecure


def test_the_learner_asks_for_the_producers_service() -> None:
    address = load_config(FOLDER / "run.toml").wire.address
    host, port = address.removeprefix("tcp://").split(":")
    assert host in SERVICES
    assert f"wire.address=tcp://0.0.0.0:{port}" in SERVICES[host]["command"]


def test_the_wire_leads_nowhere_else() -> None:
    assert COMPOSE["networks"]["wire"] == {"internal": True}
    assert {s for s in SERVICES if "wire" in SERVICES[s].get("networks", ())} == set(DAEMONS)


def test_the_image_looks_after_the_run_that_is_configured() -> None:
    run = load_config(FOLDER / "run.toml").run.path
    assert f"RUN_DIRECTORY={run}\n" in DOCKERFILE


def test_prometheus_asks_both_daemons_and_grafana_asks_prometheus() -> None:
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    targets = [target for job in jobs for c in job["static_configs"] for target in c["targets"]]
    assert {target.split(":")[0] for target in targets} == set(DAEMONS)
    sources = yaml.safe_load((FOLDER / "grafana/datasources/prometheus.yml").read_text())
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"
    common = set(SERVICES["grafana"]["networks"]) & set(SERVICES["prometheus"]["networks"])
    assert common == {"front"}


def test_grafana_reads_dashboards_where_they_are_mounted() -> None:
    provider = yaml.safe_load((FOLDER / "grafana/providers/onlineflows.yml").read_text())
    assert provider["providers"][0]["options"]["path"] in mounts("grafana")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """What the service `keys` makes, in two folders."""
    folders = tmp_path / "producer", tmp_path / "learner"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    if shutil.which("onlineflows", path=environment["PATH"]) is None:
        pytest.skip("needs the program in the PATH")
    for folder in folders:
        folder.mkdir()
    for _ in range(2):  # started again, it changes nothing
        subprocess.run(
            ["sh", FOLDER / "make_keys.sh", *folders], check=True, env=environment, cwd=tmp_path
        )
    return folders


@pytest.mark.slow
def test_no_end_gets_the_others_secret(keys) -> None:
    producer, learner = ({path.name for path in folder.iterdir()} for folder in keys)
    assert producer == {"producer.secret", "producer.public", "allowed"}
    assert learner == {"learner.secret", "learner.public", "producer.public"}


@pytest.mark.slow
def test_the_commands_of_the_containers_make_a_healthy_run(keys, tmp_path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = (FOLDER / "run.toml").read_text().replace("producer:5757", f"127.0.0.1:{port}")
    text = text.replace("n_events = 0 ", "n_events = 30_000 ")
    text += "\n[preprocess]\nfit_events = 2_000\n"
    started = []
    for daemon, folder in zip(DAEMONS, keys, strict=True):
        config = tmp_path / f"{daemon}.toml"
        config.write_text(text.replace("/keys/", f"{folder}/"))
        words = " ".join(SERVICES[daemon]["command"]).replace("5757", str(port))
        words = words.replace("/etc/onlineflows/run.toml", str(config))
        state = tmp_path / f"{daemon}-state"
        state.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        started.append((daemon, state, environment, words.split()))
    processes = []
    for _, state, environment, words in started:
        with (state / "err").open("wb") as err:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "onlineflows", *words],
                    cwd=state,
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=err,
                )
            )
    end = time.monotonic() + 200
    for (daemon, state, environment, _), process in zip(started, processes, strict=True):
        code = process.wait(max(1.0, end - time.monotonic()))
        assert code == 0, f"{daemon}: {(state / 'err').read_text()}"
        health = [sys.executable, "-m", "onlineflows", "health", "runs/run", "--quiet"]
        assert subprocess.run(health, cwd=state, env=environment).returncode == 0
