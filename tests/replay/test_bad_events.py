"""Bad events: every one is counted once, under one reason, and the first ones can be looked at."""

import stat
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.bad_events import REMEMBERED, BadEvents, Quarantine, reasons_of
from replay.batching import Batcher
from replay.settings import LhcoFeaturesConfig, QuarantineConfig, SelectionConfig
from replay.sources.hdf5 import open_features
from replay.sources.table import open_table
from streams import LHCO, ArraySource, EventSchema, Feature, InputError, Status

SCHEMA = EventSchema((Feature("m", "TeV", 0, 1e9), Feature("y", "", -1, 1)))
REASONS = [s for s in Status if s.is_bad]


def source_of(status: np.ndarray) -> ArraySource:
    x = np.stack([np.arange(len(status)), np.zeros(len(status))], axis=1).astype(np.float32)
    return ArraySource(SCHEMA, x, status=status.astype(np.uint8))


def pieces_of(source: ArraySource):
    batcher = Batcher(source, run=1, batch_events=4, lumisection_events=10, clock=lambda: 0.0)
    while not batcher.is_exhausted:
        piece = batcher.next(10**9)
        if piece is None:
            batcher.read(10**9)
        else:
            yield piece


@given(st.lists(st.sampled_from([0, 0, 0, 1, *map(int, REASONS)]), min_size=1, max_size=60))
def test_the_reasons_of_a_piece_add_up_to_its_bad_events(status: list[int]) -> None:
    total: Counter[str] = Counter()
    for piece in pieces_of(source_of(np.array(status))):
        assert sum(piece.reasons.values()) == piece.counts.bad
        total.update(piece.reasons)
    assert dict(total) == reasons_of(np.array(status, dtype=np.uint8))


def test_a_good_event_that_is_none_is_bad_for_a_reason() -> None:
    x = np.zeros((4, 2), np.float32)
    x[1, 0], x[2, 1] = np.nan, np.inf
    (piece,) = pieces_of(ArraySource(SCHEMA, x))
    assert piece.reasons == {"not_a_number": 1, "infinite": 1}


def test_denormal_numbers_are_good(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((3, 5), [[1e-310], [1e-42], [0.5]]))
    events = open_table(tmp_path / "a.npy", LHCO).read(3)
    assert events.status.tolist() == [0, 0, 0]
    assert events.x[0].tolist() == [0.0] * 5


def test_a_rewind_takes_back_what_is_counted_again() -> None:
    bad = BadEvents()
    for first in range(0, 50, 10):
        bad.record(first, {"infinite": 1})
    bad.rewind(30)
    bad.record(30, {"infinite": 2})
    assert bad.document(5) == {"infinite": 5}


def test_what_another_process_counted_is_unrecorded() -> None:
    bad = BadEvents()
    bad.rewind(1000)
    bad.record(1000, {"negative": 3})
    assert bad.document(10) == {"negative": 3, "unrecorded": 7}


def test_a_rewind_behind_what_is_remembered_leaves_a_sum_that_is_right() -> None:
    bad = BadEvents()
    for first in range(REMEMBERED + 10):
        bad.record(first, {"infinite": 1})
    bad.rewind(REMEMBERED)
    assert bad.document(REMEMBERED) == {"infinite": REMEMBERED}
    bad.rewind(5)
    assert bad.document(5) == {"unrecorded": 5}


def kept(path: Path, **changes) -> Quarantine:
    arguments = {"epoch": "ab", "locate": lambda event: ("a.h5", 2 * event)}
    limit = changes.pop("limit", 100)
    config = QuarantineConfig(str(path), limit)
    return Quarantine(config, SCHEMA, **{**arguments, **changes})


def read_on(quarantine: Quarantine, first: int = 0) -> None:
    x = np.array([[1, 2], [np.nan, 3], [4, np.inf]], dtype=np.float32)
    quarantine.take(
        first, x, np.array([Status.GOOD, Status.NOT_A_NUMBER, Status.INFINITE], dtype=np.uint8)
    )


def test_the_file_says_which_events_were_bad_why_and_where_they_are(tmp_path: Path) -> None:
    quarantine = kept(tmp_path / "bad.parquet")
    read_on(quarantine, 10)
    quarantine.save()
    rows = pq.read_table(tmp_path / "bad.parquet").to_pylist()
    assert [(r["event"], r["reason"], r["file"], r["row"]) for r in rows] == [
        (11, "not_a_number", "a.h5", 22),
        (12, "infinite", "a.h5", 24),
    ]
    assert rows[1]["m"] == 4.0
    assert rows[1]["y"] == np.inf


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    kept(tmp_path / "bad.parquet").save()
    assert stat.S_IMODE((tmp_path / "bad.parquet").stat().st_mode) == 0o600


def test_events_that_are_read_again_are_kept_once(tmp_path: Path) -> None:
    quarantine = kept(tmp_path / "bad.parquet")
    for first in (0, 0, 3, 1):
        read_on(quarantine, first)
    assert quarantine.n_events == 4


def test_no_more_are_kept_than_the_limit(tmp_path: Path) -> None:
    quarantine = kept(tmp_path / "bad.parquet", limit=3)
    for first in range(0, 30, 3):
        read_on(quarantine, first)
    assert quarantine.n_events == 3


def test_the_next_attempt_at_a_run_goes_on_with_its_file(tmp_path: Path) -> None:
    first = kept(tmp_path / "bad.parquet")
    read_on(first)
    first.save()
    second = kept(tmp_path / "bad.parquet")
    read_on(second)
    read_on(second, 3)
    assert (second.n_events, first.n_events) == (4, 2)


def test_the_file_of_another_run_is_left_alone(tmp_path: Path) -> None:
    kept(tmp_path / "bad.parquet").save()
    with pytest.raises(InputError, match=r"quarantine\.path: expected no file.*another run's"):
        kept(tmp_path / "bad.parquet", epoch="cd")


def test_a_folder_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"quarantine\.path: expected a file that can be written"):
        kept(tmp_path / "nowhere" / "bad.parquet")


def test_a_disk_that_refuses_costs_the_file_and_not_the_run(tmp_path: Path, monkeypatch) -> None:
    quarantine = kept(tmp_path / "bad.parquet")
    read_on(quarantine)
    quarantine.save()
    read_on(quarantine, 3)

    def refuse(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("replay.bad_events.os.fsync", refuse)
    quarantine.save()
    assert pq.read_table(tmp_path / "bad.parquet").num_rows == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "bad.parquet"]


@pytest.mark.parametrize(
    "selection",
    [
        SelectionConfig(),
        SelectionConfig(first_row=7, shuffle=True, seed=3),
        SelectionConfig(signal_fraction=0.5, shuffle=True),
    ],
)
def test_an_event_is_found_in_its_file_again(
    tmp_path: Path, jet_events, write_blosc, selection: SelectionConfig
) -> None:
    tables = []
    for number in range(2):
        events = jet_events(300, seed=number)
        tables.append(np.column_stack([events.table, events.label]))
        write_blosc(tmp_path / f"{number}.h5", tables[-1])
    config = LhcoFeaturesConfig("lhco_features", str(tmp_path / "*.h5"), selection=selection)
    source = open_features(config)
    masses = 1e-3 * np.stack([np.minimum(t[:, 3], t[:, 10]) for t in tables])
    stream = source.read(10_000).x
    for event in range(0, len(stream), 17):
        file, row = source.locate(event)
        assert stream[event, 1] == np.float32(masses[int(file[0]), row])


def test_the_kept_events_are_read_by_our_own_source(tmp_path: Path) -> None:
    quarantine = kept(tmp_path / "bad.parquet")
    read_on(quarantine)
    quarantine.save()
    events = open_table(tmp_path / "bad.parquet", SCHEMA).read(10)
    assert events.status.tolist() == [Status.NOT_A_NUMBER, Status.INFINITE]
