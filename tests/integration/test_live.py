"""The live page's server as a process: what it answers, whom it refuses, what outlives it."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from streams.console import Console, Place
from streams.messages import Counts
from streams.telemetry import ConsumerTelemetry, ProducerTelemetry

pytestmark = pytest.mark.slow

PRODUCER = ProducerTelemetry(
    sequence=0, unix_s=1000.0, pid=7, state="running", run=1, epoch="0" * 32, mode="realtime",
    lanes=1, next_event=1000, n_events=None, counts=Counts(generated=1000, sent=1000), n_batches=9,
    credit=3, n_trained=800, arrivals="poisson", rate_hz=500.0, elapsed_s=4.0, live_s=4.0,
    dead_s=0.0, paused_s=0.0, lumisection=2,
)  # fmt: skip
LEARNER = ConsumerTelemetry(
    sequence=0, unix_s=1000.0, pid=8, state="running", name="demo", lane=0, n_seen=900,
    n_trained=800, n_events=None, n_uses=3200, n_steps=10, train_s=2.0, skipped={}, lost=0,
    unread_batches=2, window_batches=16, buffer_fill=0.5, buffer_nbytes=4096, lumisection=2,
    history=[], alarms=[], n_alarms=0, marginals=[],
)  # fmt: skip


class Page:
    """Asks the server as a client that isn't a browser."""

    def __init__(self, url: str) -> None:
        self.netloc = urlsplit(url).netloc

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.netloc, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def health(self) -> tuple[int, dict]:
        status, text = self.get("/healthz")
        return status, json.loads(text)

    def metrics(self) -> dict[str, float]:
        status, text = self.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert status == 200
        families = text_string_to_metric_families(text)
        return {s.name: s.value for family in families for s in family.samples}

    def is_there(self) -> bool:
        try:
            return self.get("/metrics")[0] == 200
        except OSError:
            return False


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "demo").mkdir()
    return tmp_path / "demo"


@pytest.fixture
def page(start, run: Path) -> Page:
    server = start("live", run, "--port", 0, "--json")
    server.wait_until(lambda: server._out.read_text().endswith("}\n"), "address")
    found = Page(json.loads(server._out.read_text())["url"])
    server.wait_until(found.is_there, "answer")
    return found


@pytest.fixture
def daemons(run: Path) -> Iterator[Callable[[], None]]:
    """Two daemons that say the same again whenever they are told to."""
    with Console(Place.of(run, "replay")) as replay, Console(Place.of(run, "train")) as train:

        def speak() -> None:
            replay.publish(PRODUCER)
            train.publish(LEARNER)

        yield speak


def until(is_so: Callable[[], object], turn: Callable[[], None] = lambda: None) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        turn()
        time.sleep(0.05)


def test_a_run_is_ill_before_it_is_heard_and_well_then(page: Page, daemons) -> None:
    assert page.health()[0] == 503
    until(lambda: len(page.health()[1]["daemons"]) == 2, turn=daemons)
    status, said = page.health()
    assert (status, said["healthy"], said["run"]) == (200, True, "demo")


def test_metrics_are_what_was_heard(page: Page, daemons) -> None:
    until(lambda: "onlineflows_learner_trained_events_total" in page.metrics(), turn=daemons)
    until(lambda: "onlineflows_producer_batches_total" in page.metrics(), turn=daemons)
    assert page.metrics()["onlineflows_learner_trained_events_total"] == 800
    assert page.metrics()["onlineflows_producer_batches_total"] == 9


def test_prometheus_gets_its_own_format_where_it_asks_for_no_other(page: Page) -> None:
    status, text = page.get("/metrics")
    assert status == 200
    assert "# EOF" not in text
    assert "# HELP onlineflows_up " in text


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/_nicegui_ws/socket.io/"])
def test_other_sites_learn_nothing(page: Page, path: str) -> None:
    assert page.get(path, Host="evil.example")[0] == 403
    assert page.get(path, Origin="http://evil.example")[0] == 403


def test_other_sites_can_open_no_websocket(page: Page) -> None:
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    path = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    assert page.get(path, Origin="http://evil.example", **upgrade)[0] == 403


def test_connections_beyond_the_limit_are_turned_away_until_others_end(page: Page) -> None:
    host, port = page.netloc.split(":")
    with contextlib.ExitStack() as idle:
        for _ in range(64):
            idle.enter_context(socket.create_connection((host, int(port)), timeout=30))
        until(lambda: page.get("/healthz")[0] == 503 and "{" not in page.get("/healthz")[1])
        assert page.get("/metrics")[0] == 503
    until(lambda: page.get("/metrics")[0] == 200)


def test_the_page_names_no_other_server(page: Page) -> None:
    status, text = page.get("/")
    assert status == 200
    named = set(re.findall(r"""(?:src|href|url\()\s*=?\s*["']?(https?://[^"')\s]+)""", text))
    assert named == set()


def test_nothing_is_written_into_the_run_directory(page: Page, run: Path) -> None:
    page.get("/")
    assert list(run.iterdir()) == []


ENDLESS = {
    "run.name": "mine",
    "source.n_events": 0,
    "pacing.arrivals": "constant",
    "pacing.rate_hz": 4_000,
    "wire.connect_timeout_s": 120,
}


def page_of(program) -> Page:
    """The page beside a daemon, once it answers."""
    program.wait_for_line('event="live page" url=http')
    found = re.search(r"url=(http://\S+)", program.err)
    assert found
    page = Page(found[1])
    program.wait_until(page.is_there, "page")
    return page


def stopped(program) -> dict:
    """How a run says that it ended, once it was told to."""
    program.popen.send_signal(signal.SIGTERM)
    return program.result()


def test_a_run_shows_itself_and_takes_its_page_along(start, small) -> None:
    both = start("run", "--live", "--json", **(small | ENDLESS))
    page = page_of(both)
    trained = "onlineflows_learner_trained_events_total"
    both.wait_until(lambda: page.metrics().get(trained), "word of training")
    stopped(both)
    assert not page.is_there()


def test_a_run_goes_on_when_its_page_is_killed(start, small, ledger_of, tmp_path) -> None:
    both = start("run", "--live", "--json", **(small | ENDLESS))
    page = page_of(both)
    os.kill(listener_of(page), signal.SIGKILL)
    before = trained_in(tmp_path)
    both.wait_until(lambda: trained_in(tmp_path) > before, "training")
    assert stopped(both)["ledger"]["unaccounted"] == 0
    assert ledger_of("mine")["trained"] > before


def test_a_page_does_not_outlive_a_killed_learner(start, small) -> None:
    train = start("train", "--live", **(small | ENDLESS))
    page = page_of(train)
    train.kill()
    until(lambda: not page.is_there())


def test_daemons_serve_their_own_metrics_where_the_configuration_says_so(start, small) -> None:
    train = start("train", **(small | ENDLESS | {"live.address": "127.0.0.1:0"}))
    page = page_of(train)
    train.wait_until(lambda: page.health()[1]["daemons"], "word")
    assert page.health()[0] == 200


def test_lanes_share_one_page(start, small) -> None:
    lanes = start("run", "--live", "--json", **(small | ENDLESS | {"wire.lanes": 2}))
    page = page_of(lanes)
    wanted = {"replay", "train lane-0", "train lane-1"}
    lanes.wait_until(lambda: set(page.health()[1]["daemons"]) == wanted, "word of all")
    stopped(lanes)


def trained_in(folder: Path) -> int:
    """Events that the learner has trained on, by its health file."""
    try:
        return int(json.loads((folder / "runs/mine/health.json").read_text())["n_trained"])
    except (OSError, ValueError, KeyError):
        return 0


def listener_of(page: Page) -> int:
    """The process that listens at the page's port."""
    port = int(page.netloc.rpartition(":")[2])
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    (inode,) = (r[9] for r in rows if r[1].endswith(f":{port:04X}") and r[3] == "0A")
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(fd.readlink()) == f"socket:[{inode}]":
                return int(fd.parts[2])
    raise AssertionError("nobody listens")
