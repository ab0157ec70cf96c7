"""Recorded times: rows come when they were recorded, however the files are read."""

import logging
from pathlib import Path

import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.settings import RootConfig, RootFeatureConfig, SelectionConfig
from replay.sources.files import FileSource
from replay.sources.reader import Rows
from replay.sources.root import open_root
from streams import EventSchema, Feature, InputError, Source

SCHEMA = EventSchema((Feature("m", "TeV", 0, 1e9),))
QUICK = settings(max_examples=80, deadline=None)
NAN = float("nan")


class Stored:
    """A file whose rows hold their own numbers and these times, in blocks of seven."""

    schema = SCHEMA
    path = Path("stored")
    block_rows = shuffle_rows = 7

    def __init__(self, times: list[float], step_s: float, *, has_label: bool = False) -> None:
        self.times, self.time_step_s = np.array(times, dtype=np.float64), step_s
        self.n_rows, self.has_label = len(times), has_label

    def read_rows(self, start: int, stop: int, keep: np.ndarray | None = None) -> Rows:
        x = np.arange(start, stop, dtype=np.float32)[:, None]
        label = self.read_labels(start, stop) if self.has_label else None
        if keep is not None:
            x, label = x[keep], None if label is None else label[keep]
        return Rows(x, np.zeros(len(x), np.uint8), label)

    def read_times(self, start: int, stop: int) -> np.ndarray:
        return self.times[start:stop]

    def read_labels(self, start: int, stop: int) -> np.ndarray:
        return (np.arange(start, stop) % 2).astype(np.uint8)

    def close(self) -> None:
        return


def source_of(times: list[float], step_s: float = 0.0, **selection) -> FileSource:
    label = "signal_fraction" in selection
    return FileSource([Stored(times, step_s, has_label=label)], SelectionConfig(**selection))


def arrivals(times: list[float], step_s: float = 0.0, **selection) -> list[float]:
    source = source_of(times, step_s, **selection)
    found = source.read(len(times)).time_s
    assert found is not None
    return [round(float(t), 9) for t in found]


def rising(n: int = 40) -> list[float]:
    return list(range(n))


def test_time_begins_with_the_first_event() -> None:
    assert arrivals([1e9, 1e9 + 0.5, 1e9 + 20.0]) == [0.0, 0.5, 20.0]


def test_where_the_time_falls_the_next_event_comes_at_once() -> None:
    assert arrivals([*rising(), 3.0, 5.0])[-3:] == [39.0, 39.0, 41.0]


def test_an_event_without_a_time_comes_with_the_one_before() -> None:
    assert arrivals([NAN, NAN, 4.0, NAN, 6.0, float("inf"), 7.0]) == [0, 0, 0, 0, 2, 2, 3]


def test_events_of_one_step_are_spread_over_it() -> None:
    assert arrivals([5, 5, 5, 5, 6, 6, 8], 1.0) == [0, 0.25, 0.5, 0.75, 1.0, 1.5, 3.0]


def test_a_step_that_several_blocks_share_is_spread_over_all_of_them() -> None:
    found = arrivals([2.0] * 20 + [3.0] * 10, 1.0)
    assert found == pytest.approx([*np.arange(20) / 20, *(1 + np.arange(10) / 10)])


def test_an_event_without_a_time_belongs_to_the_step_before() -> None:
    assert arrivals([5, NAN, 6], 1.0) == [0, 0.5, 1.0]


def test_rows_that_are_thinned_out_take_their_time_with_them() -> None:
    times = rising(200)
    source = source_of(times, signal_fraction=0.1)
    events = source.read(200)
    assert len(events) < 150
    np.testing.assert_allclose(events.time_s, events.x[:, 0] - events.x[0, 0] + events.time_s[0])


def test_a_range_of_rows_begins_with_its_own_first_time() -> None:
    assert arrivals(rising(), first_row=13, end_row=16) == [0.0, 1.0, 2.0]


TIMES = st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0]), min_size=30, max_size=80)


@QUICK
@given(TIMES, st.sampled_from([0.0, 0.5]), st.data())
def test_times_are_the_same_from_wherever_the_stream_is_read(
    steps: list[float], step_s: float, data: st.DataObject
) -> None:
    times = np.cumsum(steps)
    times[data.draw(st.lists(st.integers(1, len(times) - 1), max_size=3))] = NAN
    source = source_of(times.tolist(), step_s)
    whole = source.read(len(times)).time_s
    assert whole is not None
    assert (np.diff(whole) >= 0).all()
    at = data.draw(st.integers(0, len(times) - 1))
    source.seek(at)
    part = source.read(data.draw(st.integers(1, 20))).time_s
    assert part is not None
    np.testing.assert_array_equal(part, whole[at : at + len(part)])


@QUICK
@given(TIMES)
def test_rising_times_are_kept_as_they_are(steps: list[float]) -> None:
    times = np.cumsum(steps)
    np.testing.assert_allclose(arrivals(times.tolist()), times - times[0], atol=1e-9)


def test_what_is_doubtful_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        source_of([*rising(), NAN, 3.0])
    record = caplog.records[-1]
    assert record.levelno == logging.WARNING
    assert "42 rows in 39.000 s; times fall 1 times, 1 rows have none" in record.getMessage()


def test_times_that_fall_all_the_time_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected times that rise .* fall 1\d times in 40 rows"):
        source_of(np.random.default_rng(1).permutation(40).tolist())


def test_times_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="got a number for none of 3 rows"):
        source_of([NAN] * 3)


# --- ROOT ----------------------------------------------------------------------------------

MET = RootFeatureConfig("met", "met", "GeV", 0.0, 1000.0)


def root_file(path: Path, lumisection: list[int]) -> Path:
    n = len(lumisection)
    with uproot.recreate(path) as file:
        content = {"met": np.arange(n, dtype=np.float64), "ls": np.array(lumisection)}
        file.mktree("Events", {name: values.dtype for name, values in content.items()})
        file["Events"].extend(content)
    return path


def opened(path: Path, **settings) -> Source:
    return open_root(RootConfig("root", str(path), features=(MET,), **settings))


def test_a_root_file_says_when_its_events_were_recorded(tmp_path: Path) -> None:
    path = root_file(tmp_path / "a.root", [7, 7, 8, 10])
    found = opened(path, time="ls * 23.31", time_step_s=23.31).read(4).time_s
    np.testing.assert_allclose(found, 23.31 * np.array([0, 0.5, 1, 3]))
    assert opened(path).read(4).time_s is None


def test_the_clock_runs_on_from_file_to_file(tmp_path: Path) -> None:
    root_file(tmp_path / "a.root", list(range(20)))
    root_file(tmp_path / "b.root", list(range(21, 41)))
    found = opened(tmp_path / "*.root", time="ls").read(40).time_s
    assert found is not None
    assert found.tolist() == [*range(20), *range(21, 41)]


def test_a_branch_of_times_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a branch 'lumi'"):
        opened(root_file(tmp_path / "a.root", [1, 2]), time="lumi * 23.31")


def test_a_shuffled_stream_has_no_times() -> None:
    with pytest.raises(InputError, match=r"source.time: .* got source.selection.shuffle = true"):
        RootConfig(
            "root", "a.root", features=(MET,), time="ls", selection=SelectionConfig(shuffle=True)
        )


def test_real_collisions_come_lumisection_by_lumisection(test_data) -> None:
    source = open_root(
        RootConfig(
            "root",
            str(test_data("root/cms2010_multijet_razor.root")),
            tree="razorTree",
            features=(RootFeatureConfig("MR", "MR", "GeV", 0.0, 7000.0),),
            time="lumiNum * 23.31",
            time_step_s=23.31,
        )
    )
    n = source.n_events
    assert n is not None
    time_s = source.read(n).time_s
    assert time_s is not None
    assert (np.diff(time_s) >= 0).all()
    assert time_s[-1] > 109 * 23.31 / 2
    assert len(np.unique(time_s)) > 0.99 * n
