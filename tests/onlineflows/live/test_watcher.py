"""The watcher: what goes wrong while it looks is said, and what can pass doesn't end it."""

import asyncio
import logging
from pathlib import Path

import pytest

from onlineflows.errors import SnapshotError
from onlineflows.live import watcher as watcher_module
from onlineflows.live.watcher import Watcher
from streams.errors import TransportError


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "LISTEN_S", 0.0)


def turns_of(watcher: Watcher, errors: list[Exception]) -> int:
    """How often a watcher turns, up to ten times, when the first turns fail."""
    n_turns = 0

    def turn() -> None:
        nonlocal n_turns
        n_turns += 1
        if errors:
            raise errors.pop(0)

    async def watch() -> None:
        async with watcher.watching():
            for _ in range(10):
                await asyncio.sleep(0)

    watcher.turn = turn  # type: ignore[method-assign]
    asyncio.run(watch())
    return n_turns


@pytest.mark.parametrize(
    "error", [OSError("Input/output error"), SnapshotError("damaged"), TransportError("gone")]
)
def test_what_can_be_expected_to_pass_is_logged_once_and_looked_at_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    with Watcher(tmp_path) as watcher:
        assert turns_of(watcher, [error, error]) > 3
    assert [r.__dict__["problem"] for r in caplog.records] == [str(error)]


def test_what_nobody_expected_is_logged_with_its_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Watcher(tmp_path) as watcher:
        assert turns_of(watcher, [ValueError("no number")]) == 1
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "no number"


def test_a_folder_with_a_foreign_name_does_not_end_the_watch(tmp_path: Path, snapshot) -> None:
    for name in ("000001", "²"):
        snapshot(tmp_path, name)
    with Watcher(tmp_path) as watcher:
        watcher.turn()
        (entry,) = watcher.state.record.lanes["train"].snapshots
    assert entry.name == "000001"


def test_what_could_not_be_understood_stays_counted_when_a_lane_comes(tmp_path: Path) -> None:
    now_s = 0.0
    with Watcher(tmp_path, clock=lambda: now_s) as watcher:
        watcher._listener.n_malformed = 3
        (tmp_path / "lane-0").mkdir()
        now_s = 10.0
        watcher.turn()
        watcher._listener.n_malformed += 2
        assert watcher.n_malformed == 5
