import io
import logging
import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from onlineflows.cli.logs import configure_logging
from onlineflows.cli.terminal import EVERY_S, view_of, watching
from onlineflows.live.folder import Record
from onlineflows.live.state import RunState
from streams.console import Console as Operated
from streams.console import Place
from streams.telemetry import ConsumerTelemetry, DriftAlarm, HistoryPoint

SAID = ConsumerTelemetry(
    sequence=0, unix_s=1000.0, pid=8, state="running", name="demo", lane=0, n_seen=900,
    n_trained=800, n_events=1000, n_uses=3200, n_steps=10, train_s=2.0, skipped={}, lost=0,
    unread_batches=2, window_batches=16, buffer_fill=0.5, buffer_nbytes=4096, lumisection=2,
    history=[HistoryPoint(100 * n, float(n % 3)) for n in range(9)],
    alarms=[DriftAlarm(850, 2, -1.5, -1.2)], n_alarms=1, marginals=[], snapshot="000003",
)  # fmt: skip


def terminal(width: int = 120) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=40)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def drawn(state: RunState, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(view_of(state, 0.0, "trained", 800, 1000))
    return written(console)


def test_the_view_shows_what_matters() -> None:
    state = RunState("demo")
    state.hear("train", SAID, 0.0)
    text = drawn(state)
    for part in ("trained 800 of 1,000", "buffer 50%", "drift alarms 1", "snapshot 000003", "▁▅█"):
        assert part in text


def test_each_lane_has_its_own_line_of_nlls() -> None:
    state = RunState("demo")
    for lane in (0, 1):
        state.hear(f"train lane-{lane}", replace(SAID, lane=lane), 0.0)
    assert "NLL lane-0 " in drawn(state)
    assert "NLL lane-1 " in drawn(state)


def test_the_view_is_there_before_anybody_is_heard() -> None:
    assert "trained 800 of 1,000" in drawn(RunState("demo"))


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_view_has_five_lines(width: int) -> None:
    state = RunState("demo")
    for t in range(4):
        rising = {"unix_s": float(t), "n_seen": 41_400 * t, "n_trained": 722_688 + 41_400 * t}
        state.hear("train", replace(SAID, **rising, train_s=0.8 * t), float(t))
    state.look(
        Record(ledger={"generated": 2_960_000, "live_s": 30.0, "dead_s": 7.0}),
    )
    text = drawn(state, width)
    assert len(text.splitlines()) == 5
    for part in ("dead time 18.9%", "training speed 41.4 k/s", "drift alarms 1", "000003"):
        assert part in text


def test_as_much_is_said_of_each_number_as_has_room() -> None:
    state = RunState("demo")
    state.hear("train", SAID, 0.0)
    assert "(of new events)" in drawn(state, 80)
    assert "lumisection 2" not in drawn(state, 80)
    assert "lumisection 2" in drawn(state, 200)


def test_a_narrow_terminal_is_not_overrun() -> None:
    state = RunState("demo")
    state.hear("train", SAID, 0.0)
    assert max(map(len, drawn(state, width=60).splitlines())) <= 60


def test_a_daemons_terminal_shows_what_the_daemon_publishes(tmp_path: Path) -> None:
    console, now = terminal(), [0.0]
    with (
        Operated(Place.of(tmp_path, "train")) as operated,
        watching("trained", tmp_path, console=console, clock=lambda: now[0]) as track,
    ):
        for _ in range(200):
            operated.publish(SAID)
            now[0] += EVERY_S
            track(800, 1000)
            if "000003" in written(console):
                break
    assert "000003" in written(console)


def test_the_view_is_drawn_at_most_four_times_a_second(tmp_path: Path) -> None:
    console, now = terminal(), [0.0]
    with watching("trained", tmp_path, console=console, clock=lambda: now[0]) as track:
        for turn in range(1000):
            now[0] = turn / 1000
            track(turn)
    assert len(set(re.findall(r"trained ([\d,]+)", written(console)))) == 4


def test_log_lines_stay_above_the_view(tmp_path: Path) -> None:
    console = terminal()
    stream = io.StringIO()
    configure_logging(stream=stream)
    logger = logging.getLogger("onlineflows.test")
    with watching("trained", tmp_path, console=console) as track:
        track(1)
        logger.info("within")
    logger.info("after")
    assert "event=within" in written(console)
    assert "event=after" in stream.getvalue()
    assert "event=within" not in stream.getvalue()


def test_nothing_is_shown_where_quiet_is_wanted(tmp_path: Path) -> None:
    console = terminal()
    with watching("trained", tmp_path, quiet=True, console=console) as track:
        track(1)
    assert written(console) == ""


def test_without_a_terminal_there_are_no_control_sequences(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    with watching("trained", tmp_path, console=console) as track:
        track(1)
    assert written(console) == ""
