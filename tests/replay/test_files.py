"""Selection, shuffling and thinning of rows, whatever the format."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from replay.settings import SelectionConfig
from replay.sources.files import FileSource, find_files
from replay.sources.reader import Rows
from replay.sources.selection import ROW_ORDER, Thinning, permutation, random_bits, uniform
from streams import EventSchema, Feature, InputError, SchemaError

FROZEN = [6180444375122719049, 18124085362564153841]
SCHEMA = EventSchema((Feature("row", "", 0, 1e9), Feature("file", "", 0, 1e9)))


class CountingReader:
    """A file whose rows hold their own numbers; remembers the largest read."""

    path = Path("counting")
    block_rows = 16
    shuffle_rows = 64

    def __init__(self, n_rows: int, number: int = 0, schema: EventSchema = SCHEMA) -> None:
        self.schema = schema
        self.n_rows = n_rows
        self.has_label = True
        self.number = number
        self.largest_read = 0
        self.is_closed = False
        self.is_damaged = False

    def read_rows(self, start: int, stop: int, keep: NDArray[np.bool_] | None = None) -> Rows:
        if self.is_damaged:
            raise InputError("damaged")
        self.largest_read = max(self.largest_read, stop - start)
        rows = np.arange(start, stop)
        x = np.column_stack([rows, np.full(len(rows), self.number)]).astype(np.float32)
        whole = Rows(x, np.zeros(len(x), np.uint8), self.read_labels(start, stop))
        if keep is None:
            return whole
        return Rows(whole.x[keep], whole.status[keep], whole.label[keep])

    def read_labels(self, start: int, stop: int) -> NDArray[np.uint8]:
        return (np.arange(start, stop) % 10 == 0).astype(np.uint8)

    def close(self) -> None:
        self.is_closed = True


def rows_of(source: FileSource, size: int = 1000) -> NDArray[np.int64]:
    parts = []
    while len(events := source.read(size)):
        parts.append(events.x[:, 0].astype(np.int64))
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def test_files_follow_each_other_in_the_given_order() -> None:
    source = FileSource([CountingReader(20, 7), CountingReader(5, 3)], SelectionConfig())
    assert source.read(25).x[:, 1].tolist() == [7] * 20 + [3] * 5


def test_a_row_range_runs_over_all_files() -> None:
    source = FileSource(
        [CountingReader(20), CountingReader(20)], SelectionConfig(first_row=18, end_row=23)
    )
    assert rows_of(source).tolist() == [18, 19, 0, 1, 2]


@given(
    n_rows=st.integers(1, 300),
    seed=st.integers(0, 2**64),
    size=st.integers(1, 100),
)
def test_a_shuffle_returns_every_row_once(n_rows: int, seed: int, size: int) -> None:
    source = FileSource([CountingReader(n_rows)], SelectionConfig(shuffle=True, seed=seed))
    assert sorted(rows_of(source, size)) == list(range(n_rows))


def test_a_shuffle_leaves_no_trace_of_the_old_order() -> None:
    order = rows_of(FileSource([CountingReader(4000)], SelectionConfig(shuffle=True)))
    neighbours = np.abs(np.diff(order)) == 1
    # By chance 2/n of all pairs are neighbours; within a group of 64 rows about 3 %.
    assert neighbours.mean() < 0.1
    # The standard error of the correlation is 0.016 for 4,000 rows; blocks of 16 make it 0.063.
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 4 * 0.063


def test_other_seeds_give_other_orders() -> None:
    one = FileSource([CountingReader(200)], SelectionConfig(shuffle=True, seed=1))
    two = FileSource([CountingReader(200)], SelectionConfig(shuffle=True, seed=2))
    assert rows_of(one).tolist() != rows_of(two).tolist()


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_read_from_the_file_is_never_larger_than_a_block(shuffle: bool) -> None:
    reader = CountingReader(1000)
    rows_of(FileSource([reader], SelectionConfig(shuffle=shuffle)), size=1000)
    assert reader.largest_read == CountingReader.block_rows


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_thinning_reaches_the_wanted_fraction(fraction: float) -> None:
    source = FileSource([CountingReader(20_000)], SelectionConfig(signal_fraction=fraction))
    assert source.n_events is not None
    label = np.concatenate([source.read(1000).label for _ in range(source.n_events // 1000 + 1)])
    # Five standard deviations of a binomial count.
    tolerance = 5 * np.sqrt(fraction * (1 - fraction) / len(label))
    assert abs(label.mean() - fraction) <= tolerance


def test_thinning_signal_keeps_all_background() -> None:
    rows = rows_of(FileSource([CountingReader(5000)], SelectionConfig(signal_fraction=0.01)))
    assert (rows % 10 != 0).sum() == 4500


def test_thinning_does_not_depend_on_shuffling() -> None:
    plain = SelectionConfig(signal_fraction=0.02)
    shuffled = SelectionConfig(signal_fraction=0.02, shuffle=True)
    assert set(rows_of(FileSource([CountingReader(900)], plain))) == set(
        rows_of(FileSource([CountingReader(900)], shuffled))
    )


@pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match="fraction from 0 to 1"):
        FileSource([CountingReader(50)], SelectionConfig(signal_fraction=fraction))


def test_thinning_needs_labels() -> None:
    reader = CountingReader(50)
    reader.has_label = False
    with pytest.raises(InputError, match="truth labels"):
        FileSource([reader], SelectionConfig(signal_fraction=0.1))


@pytest.mark.parametrize(("first", "end"), [(50, None), (-1, None), (9, 9), (9, 3)])
def test_an_empty_row_range_is_refused(first: int, end: int | None) -> None:
    with pytest.raises(InputError, match="within 50 rows"):
        FileSource([CountingReader(50)], SelectionConfig(first_row=first, end_row=end))


def test_files_of_different_schemas_are_refused() -> None:
    other = EventSchema((Feature("row", "", 0, 1), Feature("file", "", 0, 1)))
    with pytest.raises(SchemaError, match="schemas differ"):
        FileSource([CountingReader(5), CountingReader(5, schema=other)], SelectionConfig())


def test_a_failed_read_leaves_the_position() -> None:
    reader = CountingReader(50)
    source = FileSource([reader], SelectionConfig())
    source.read(16)
    reader.is_damaged = True
    with pytest.raises(InputError, match="damaged"):
        source.read(10)
    reader.is_damaged = False
    assert source.read(10).first_event == 16


def test_closing_closes_all_files() -> None:
    readers = [CountingReader(5), CountingReader(5)]
    FileSource(readers, SelectionConfig()).close()
    assert all(reader.is_closed for reader in readers)


def test_a_pattern_is_expanded_in_sorted_order(tmp_path: Path) -> None:
    for name in ("b.h5", "a.h5", "c.root"):
        (tmp_path / name).touch()
    assert [p.name for p in find_files([f"{tmp_path}/*.h5"])] == ["a.h5", "b.h5"]


def test_a_name_with_brackets_is_taken_literally_if_it_exists(tmp_path: Path) -> None:
    path = tmp_path / "run[1].h5"
    path.touch()
    assert find_files(str(path)) == (path,)


@pytest.mark.parametrize("name", ["absent.h5", "*.h5", "."])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="expected"):
        find_files([str(tmp_path / name)])


def test_no_paths_are_refused() -> None:
    with pytest.raises(InputError, match=r"source\.paths"):
        find_files([])


def test_random_bits_agree_with_an_independent_splitmix64() -> None:
    # The published algorithm in Python's whole numbers (xoshiro.di.unimi.it/splitmix64.c).
    mask = 2**64 - 1

    def mix(z: int) -> int:
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    gamma = 0x9E3779B97F4A7C15
    state = mix((mix(5) + 2 * gamma) & mask)
    expected = [mix((state + (i + 1) * gamma) & mask) for i in range(50)]
    assert random_bits(5, 2, np.arange(50, dtype=np.uint64)).tolist() == expected


def test_the_random_numbers_never_change() -> None:
    # Frozen values: a run must be resumable after an upgrade.
    assert random_bits(1, 1, np.arange(2, dtype=np.uint64)).tolist() == FROZEN


def test_uniform_numbers_are_uniform() -> None:
    counts = np.histogram(uniform(3, 1, np.arange(100_000, dtype=np.uint64)), 100, (0, 1))[0]
    # chi^2 of 99 degrees of freedom: mean 99, standard deviation 14.
    assert ((counts - 1000) ** 2 / 1000).sum() < 99 + 5 * 14


def test_streams_of_one_seed_differ_by_their_use() -> None:
    index = np.arange(1000, dtype=np.uint64)
    assert not (random_bits(1, 1, index) == random_bits(1, 2, index)).any()


@given(n=st.integers(0, 100), start=st.integers(0, 2**40))
def test_a_permutation_has_every_number_once(n: int, start: int) -> None:
    assert sorted(permutation(1, ROW_ORDER, start, n)) == list(range(n))


def test_probabilities_never_exceed_one() -> None:
    for fraction in np.linspace(0, 1, 21):
        thinning = Thinning.to_fraction(float(fraction), 70, 30)
        assert max(thinning.background, thinning.signal) == 1.0
