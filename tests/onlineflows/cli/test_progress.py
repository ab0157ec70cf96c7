"""Progress: a bar on a terminal, sparse lines elsewhere."""

import io
import logging

import pytest
from rich.console import Console

from onlineflows.cli.progress import progress


class FakeClock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def lines(caplog: pytest.LogCaptureFixture, times_s: list[float], *, total: int | None) -> int:
    """Number of lines when one thing gets done at each of these times."""
    clock = FakeClock()
    console = Console(file=io.StringIO(), force_terminal=False)
    with (
        caplog.at_level(logging.INFO, logger="onlineflows.cli.progress"),
        progress("working", total, console=console, clock=clock) as track,
    ):
        for done, time_s in enumerate(times_s, start=1):
            clock.now_s = time_s
            track(done)
    return len(caplog.records)


def test_what_ends_within_two_seconds_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(caplog, [0.5, 1.0, 1.9], total=3) == 0


def test_a_long_task_leaves_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(caplog, [0.1 * i for i in range(10_000)], total=None) <= 12


def test_a_line_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    lines(caplog, [3.0], total=4)
    assert vars(caplog.records[0])["percent"] == 25.0


def test_a_terminal_gets_a_bar() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True)
    with progress("working", 2, console=console) as track:
        track(1)
    assert "working" in stream.getvalue()


def test_a_bar_learns_its_total_on_the_way() -> None:
    stream = io.StringIO()
    with progress("working", console=Console(file=stream, force_terminal=True)) as track:
        track(1, 8)
    assert "1/8" in stream.getvalue()


def test_a_bar_keeps_its_total() -> None:
    stream = io.StringIO()
    with progress("working", 8, console=Console(file=stream, force_terminal=True)) as track:
        track(1)
    assert "1/8" in stream.getvalue()


def test_quiet_shows_nothing() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True)
    with progress("working", 2, quiet=True, console=console) as track:
        track(1)
    assert stream.getvalue() == ""
