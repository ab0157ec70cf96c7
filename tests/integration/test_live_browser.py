"""The live page in a real headless browser: it loads, moves, warns, fits, and asks nobody else.

Every test fails if the browser's console has an error in it, or if the page asks another server for
anything. Needs Chromium or Chrome on the path, and playwright.
"""

import itertools
import json
import math
import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from msgspec.structs import replace

from replay.settings import StandinConfig
from replay.sinks import open_sink
from replay.sources.standin import StandinSource
from streams import LHCO
from streams.console import Console, Place
from streams.messages import Counts
from streams.telemetry import (
    ConsumerTelemetry,
    DriftAlarm,
    HistoryPoint,
    Marginal,
    ProducerTelemetry,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: make setup")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PROJECTOR, PHONE = {"width": 1920, "height": 1080}, {"width": 390, "height": 844}
LAPTOP = {"width": 1280, "height": 800}
BOX = "e => (({x, y, right, bottom}) => [x, y, right, bottom])(e.getBoundingClientRect())"
WAIT_MS = 120_000

MARGINALS = [
    Marginal("mjj", "TeV", 2.0, 6.0, [5, 200, 100, 40, 9], 360),
    Marginal("tau21J1", "", 0.0, 1.2, [10, 90, 200, 50, 10], 360),
]
PRODUCER = ProducerTelemetry(
    sequence=0, unix_s=1000.0, pid=7, state="running", run=1, epoch="0" * 32, mode="realtime",
    lanes=1, next_event=0, n_events=None, counts=Counts(), n_batches=0, credit=3, n_trained=0,
    arrivals="poisson", rate_hz=500.0, elapsed_s=4.0, live_s=3.0, dead_s=1.0, paused_s=0.0,
    lumisection=2,
)  # fmt: skip
LEARNER = ConsumerTelemetry(
    sequence=0, unix_s=1000.0, pid=8, state="running", name="demo", lane=0, n_seen=0, n_trained=0,
    n_events=None, n_uses=0, n_steps=0, train_s=0.0, skipped={}, lost=0, unread_batches=2,
    window_batches=16, buffer_fill=0.5, buffer_nbytes=4096, lumisection=2, history=[], alarms=[],
    n_alarms=0, marginals=MARGINALS,
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is on the path")
    with sync_api.sync_playwright() as play:
        launched = play.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield launched
        launched.close()


@dataclass
class Watch:
    """What a page does that it shouldn't."""

    complaints: list[str] = field(default_factory=list)
    strangers: set[str] = field(default_factory=set)

    def over(self, page: "sync_api.Page") -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._request)
        page.on("websocket", self._request)

    def _console(self, message: "sync_api.ConsoleMessage") -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _request(self, request: "sync_api.Request | sync_api.WebSocket") -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", None):
            self.strangers.add(request.url)


@pytest.fixture
def show(browser) -> Iterator[Callable[..., "sync_api.Page"]]:
    """Opens a page in a window of some size; at the end nothing may have gone wrong in any."""
    watch, contexts = Watch(), []

    def begin(url: str, viewport: dict[str, int] = PROJECTOR, scheme: str = "light"):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()
        watch.over(page)
        page.goto(url)
        page.wait_for_selector("[data-what=tile-rate]")
        return page

    yield begin
    for context in contexts:
        context.close()
    assert watch.complaints == []
    assert watch.strangers == set()


class Daemons:
    """Two daemons that speak when told to: 1,000 events for each second of their own time."""

    def __init__(self, run: Path) -> None:
        self._replay, self._train = (Console(Place.of(run, p)) for p in ("replay", "train"))
        self._turn = 0
        self.alarms: list[DriftAlarm] = []

    def speak(self) -> None:
        self._turn += 1
        n, unix_s = 1000 * self._turn, 1000.0 + self._turn
        history = [HistoryPoint(1000 * k, -1.5 + 0.1 * math.sin(k)) for k in range(1, 60)]
        self._replay.publish(
            replace(
                PRODUCER,
                unix_s=unix_s,
                next_event=n,
                counts=Counts(generated=n, sent=n),
                live_s=3.0 * self._turn,
                dead_s=1.0 * self._turn,
            )
        )
        self._train.publish(
            replace(
                LEARNER,
                unix_s=unix_s,
                n_seen=n,
                n_trained=n,
                n_windowed=n,
                train_s=0.5 * self._turn,
                history=history,
                alarms=self.alarms,
                n_alarms=len(self.alarms),
            )
        )

    def speak_until(self, is_so: Callable[[], object]) -> None:
        end = time.monotonic() + WAIT_MS / 1000
        while not is_so():
            assert time.monotonic() < end
            self.speak()
            time.sleep(0.1)

    def close(self) -> None:
        self._replay.close()
        self._train.close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "demo").mkdir()
    return tmp_path / "demo"


@pytest.fixture
def url(start, run: Path) -> str:
    return serve(start, run)


@pytest.fixture
def daemons(run: Path) -> Iterator[Daemons]:
    both = Daemons(run)
    yield both
    both.close()


def serve(start, run: Path) -> str:
    """Starts the page of a run; returns where it is."""
    server = start("live", run, "--port", 0, "--json")
    server.wait_until(lambda: server._out.read_text().endswith("}\n"), "address")
    address: str = json.loads(server._out.read_text())["url"]
    return address


def tile(page: "sync_api.Page", name: str) -> str:
    return page.inner_text(f"[data-what=tile-{name}] .of-value")


def drawn(page: "sync_api.Page", name: str) -> str:
    """What is written in a figure."""
    return page.text_content(f"[data-what={name}] svg") or ""


def overlapping(page: "sync_api.Page", name: str) -> list[tuple[str, str]]:
    """Pairs of words in a figure that are printed over each other by more than a pixel."""
    get = f"all => all.map(e => [e.textContent, ...({BOX})(e)])"
    words = page.eval_on_selector_all(f"[data-what={name}] svg text", get)
    return [
        (a, b)
        for (a, ax0, ay0, ax1, ay1), (b, bx0, by0, bx1, by1) in itertools.combinations(words, 2)
        if min(ax1, bx1) - max(ax0, bx0) > 1 and min(ay1, by1) - max(ay0, by0) > 1
    ]


def chips(page: "sync_api.Page") -> str:
    return page.inner_text("[data-what=daemons]")


def ground(page: "sync_api.Page") -> int:
    """How light the page is, from 0 to 255."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return int(colour.removeprefix("rgb(").split(",")[0])


def test_numbers_move_while_daemons_speak(url, daemons, show) -> None:
    page = show(url)
    assert "no daemon heard yet" in chips(page)
    daemons.speak_until(lambda: tile(page, "rate") == "1 k/s")
    before = tile(page, "trained")
    daemons.speak_until(lambda: tile(page, "trained") != before)
    assert "train: running" in chips(page)
    assert tile(page, "dead") == "25.0%"


def test_figures_are_drawn(url, daemons, show) -> None:
    page = show(url)
    daemons.speak_until(lambda: page.query_selector("[data-what=marginal-mjj] svg path"))
    daemons.speak_until(lambda: "events" in drawn(page, "spectrum"))
    assert "NLL" in drawn(page, "nll")
    assert "passed" in drawn(page, "rates")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PROJECTOR, LAPTOP, PHONE])
def test_no_words_of_a_figure_lie_on_others(url, daemons, show, viewport, scheme) -> None:
    page = show(url, viewport, scheme)
    daemons.speak_until(lambda: "dead time" in drawn(page, "rates"))
    daemons.speak_until(lambda: "events" in drawn(page, "spectrum"))
    for name in ("rates", "nll", "spectrum"):
        assert overlapping(page, name) == []


@pytest.mark.parametrize(("viewport", "n_rows"), [(PROJECTOR, 1), (LAPTOP, 2), (PHONE, 5)])
def test_tiles_fill_their_rows(url, show, viewport, n_rows) -> None:
    page = show(url, viewport)
    boxes = page.eval_on_selector_all(".of-tile", f"all => all.map({BOX})")
    ends = [max(x1 for _, y0, x1, _ in boxes if y0 == top) for top in {box[1] for box in boxes}]
    assert len(ends) == n_rows
    assert max(ends) - min(ends) < 1


def test_a_drift_alarm_shows_up(url, daemons, show) -> None:
    page = show(url)
    daemons.speak_until(lambda: tile(page, "nll") != "–")
    assert tile(page, "alarms") == "0"
    lines = "[data-what=nll] svg path[stroke-dasharray]"
    before = len(page.query_selector_all(lines))
    daemons.alarms = [DriftAlarm(30_000, 7, -1.5, -1.2)]
    daemons.speak_until(lambda: tile(page, "alarms") == "1")
    daemons.speak_until(lambda: len(page.query_selector_all(lines)) > before)
    said = page.inner_text("[data-what=tile-alarms]")
    assert "-1.50 → -1.20 nats, lumisection 7" in said
    assert "of-bad" in (page.get_attribute("[data-what=tile-alarms]", "class") or "")


def test_a_daemon_that_falls_silent_is_said_to_be_so(url, daemons, show) -> None:
    page = show(url)
    daemons.speak_until(lambda: "train: running" in chips(page))
    page.wait_for_selector("text=/train: last heard of \\d+ s ago/")
    daemons.speak_until(lambda: "train: running" in chips(page))


def test_a_daemon_of_another_version_is_counted_where_it_can_not_be_understood(
    url, run, show
) -> None:
    page = show(url)
    end = time.monotonic() + WAIT_MS / 1000
    with Console(Place.of(run, "train")) as console:
        while "documents of another version:" not in chips(page):
            assert time.monotonic() < end
            console.publish(replace(LEARNER, version=2))
            time.sleep(0.1)
    assert "no daemon heard yet" in chips(page)


def test_the_page_follows_the_system_and_can_be_switched(url, show) -> None:
    assert ground(show(url, scheme="light")) > 200
    page = show(url, scheme="dark")
    assert ground(page) < 60
    button = page.locator("[data-what=theme]")
    button.click()  # from the system's to dark
    button.click()  # to light
    page.wait_for_function("!document.body.classList.contains('body--dark')")
    assert ground(page) > 200


@pytest.mark.parametrize("viewport", [PROJECTOR, PHONE, {"width": 820, "height": 1180}])
def test_the_page_is_as_wide_as_its_window(url, daemons, show, viewport) -> None:
    page = show(url, viewport)
    daemons.speak_until(lambda: page.query_selector("[data-what=marginal-mjj] svg path"))
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= viewport["width"]
    box = page.locator("[data-what=nll] svg").bounding_box()
    assert box is not None
    assert box["width"] > 0.25 * viewport["width"]
    assert box["height"] > 150


def test_the_browser_of_a_run_that_has_ended_shows_its_snapshots(
    start, small, show, tmp_path
) -> None:
    settings = small | {"run.name": "mine", "source.n_events": 20_000}
    start("run", **settings, **{"snapshot.every_events": 8_000}).finish()
    page = show(serve(start, tmp_path / "runs" / "mine"))
    assert "ended before this page began: GOOD" in chips(page)
    assert tile(page, "trained") == "20,000"
    assert "(final)" in page.inner_text("[data-what=snapshots]")
    page.wait_for_selector("[data-what=change-mjj] svg path", state="attached")
    assert "σ, KS" in page.inner_text("[data-what=change-mjj]")
    page.wait_for_selector("[data-what=marginal-mjj] svg path", state="attached")


def test_a_real_stream_that_drifts_raises_an_alarm_on_the_page(
    start, small, show, tmp_path
) -> None:
    n = 400_000
    x = StandinSource(StandinConfig(n_events=n)).read(n).x.copy()
    x[n // 2 :, 3] = np.clip(1.3 * x[n // 2 :, 3], 0.01, 1.9)
    sink = open_sink(tmp_path / "events.h5", LHCO)
    sink.write(x)
    sink.close()
    config = tmp_path / "drift.toml"
    config.write_text('[source]\ntype = "lhco_features"\npaths = "events.h5"\n')
    settings = small | {
        "drift.warmup_events": 50_000,
        "snapshot.every_events": 50_000,
        "pacing.arrivals": "constant",
        "pacing.rate_hz": 20_000,
        "wire.connect_timeout_s": 120,
    }
    page = show(serve(start, tmp_path / "runs" / "drift"))
    both = start("run", config, "--json", **settings)
    both.wait_until(lambda: tile(page, "alarms") != "0", "alarm")
    assert "lumisection" in page.inner_text("[data-what=tile-alarms]")
    page.wait_for_selector("[data-what=marginal-tau21J1] svg path", state="attached")
    both.result()
    page.wait_for_selector("text=train: ended: GOOD")
    assert tile(page, "trained") == "400,000"


def test_a_browser_that_stalls_holds_up_nobody_and_goes_on_later(url, daemons, show) -> None:
    page = show(url)
    daemons.speak_until(lambda: "train: running" in chips(page))
    before = tile(page, "trained")
    renderers = renderer_pids()
    assert renderers
    for pid in renderers:
        os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(50):
            daemons.speak()
            with urllib.request.urlopen(f"{url}metrics", timeout=30) as answer:
                assert answer.status == 200
            time.sleep(0.1)
    finally:
        for pid in renderers:
            os.kill(pid, signal.SIGCONT)
    daemons.speak_until(lambda: tile(page, "trained") != before)


def renderer_pids() -> list[int]:
    """The browser's processes that draw pages, of those that this process started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            is_renderer = b"--type=renderer" in path.read_bytes()
            if is_renderer and _is_ours(int(path.parent.name)):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def _is_ours(pid: int) -> bool:
    while pid > 1:
        if pid == os.getpid():
            return True
        status = Path(f"/proc/{pid}/stat").read_text()
        pid = int(status.rpartition(")")[2].split()[1])
    return False
