"""Events that come twice or late, in files of any number, whatever the order of the stream."""

from pathlib import Path

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from replay.settings import RootConfig, RootFeatureConfig, SelectionConfig
from replay.sources.files import FileSource
from replay.sources.root import open_root
from replay.sources.screening import _hashes, _repeats
from streams import InputError, Status

MET = RootFeatureConfig("met", "met")


def write(path: Path, run, lumi, event) -> Path:
    n = len(event)
    with uproot.recreate(path) as file:
        file["Events"] = {
            "run": np.full(n, run, dtype=np.uint32),
            "lumi": np.array(lumi, dtype=np.uint32),
            "event": np.array(event, dtype=np.uint64),
            "met": np.arange(n, dtype=np.float32),
        }
    return path


def opened(*paths: Path, **changes) -> FileSource:
    return open_root(RootConfig("root", tuple(map(str, paths)), features=(MET,), **changes))


def bad(source: FileSource) -> dict[int, int]:
    status = source.read(1000).status
    return {int(i): int(status[i]) for i in np.flatnonzero(status)}


def test_an_event_that_comes_again_is_bad_in_any_file(tmp_path: Path) -> None:
    one = write(tmp_path / "1.root", 1, [1, 1, 1, 1], [10, 11, 10, 12])
    two = write(tmp_path / "2.root", 1, [2, 2, 1], [10, 11, 12])
    source = opened(one, two, event_id=("run", "lumi", "event"))
    assert bad(source) == {2: Status.DUPLICATE, 6: Status.DUPLICATE}


def test_an_event_of_an_earlier_lumisection_is_bad(tmp_path: Path) -> None:
    one = write(tmp_path / "1.root", 1, [1, 2, 1, 2], [1, 2, 3, 4])
    two = write(tmp_path / "2.root", 2, [1, 1, 3, 2], [1, 2, 3, 4])
    source = opened(one, two, order=("run", "lumi"))
    assert bad(source) == {2: Status.OUT_OF_ORDER, 7: Status.OUT_OF_ORDER}


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_a_lumisection_that_is_no_number_hides_no_late_event_and_makes_none(
    strange: float, tmp_path: Path
) -> None:
    with uproot.recreate(tmp_path / "1.root") as file:
        lumi = np.array([1.0, 3.0, strange, 2.0, 3.0])
        file["Events"] = {"lumi": lumi, "met": np.arange(5, dtype=np.float32)}
    source = opened(tmp_path / "1.root", order=("lumi",))
    assert bad(source) == {3: Status.OUT_OF_ORDER}


def test_nobody_looks_unless_told_to(tmp_path: Path) -> None:
    assert bad(opened(write(tmp_path / "1.root", 1, [2, 1], [1, 1]))) == {}


def test_the_same_events_are_bad_wherever_reading_begins(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = write(tmp_path / "1.root", 1, np.ones(500), rng.integers(0, 300, 500))
    source = opened(path, event_id=("event",), selection=SelectionConfig(shuffle=True))
    whole = source.read(500).status.copy()
    assert (whole == Status.DUPLICATE).sum() == 500 - len(
        np.unique(np.random.default_rng(1).integers(0, 300, 500))
    )
    for first in (0, 77, 499):
        source.seek(first)
        assert np.array_equal(source.read(500).status, whole[first:])


def test_too_many_expressions_of_order_are_refused() -> None:
    with pytest.raises(InputError, match=r"source\.order: expected at most two"):
        RootConfig("root", "a.root", order=("a", "b", "c"))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_a_repeat_is_what_stands_further_up(pairs: list[tuple[int, int]]) -> None:
    expected = [pair in pairs[:i] for i, pair in enumerate(pairs)]
    found = _repeats(_hashes(np.array(pairs, dtype=np.float64)))
    assert found.tolist() == expected
