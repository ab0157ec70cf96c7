"""Batches are checked, read-only views."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import Batch, SchemaError, Truth
from streams.batch import largest_nbytes, largest_range


def test_a_batch_can_not_be_written_to_but_its_array_can() -> None:
    x = np.zeros((3, 2), dtype=np.float32)
    batch = Batch(x, 10, 13, 1, 1)
    with pytest.raises(ValueError, match="read-only"):
        batch.x[0, 0] = 1.0
    x[0, 0] = 1.0


def test_a_whole_batch_knows_its_events() -> None:
    batch = Batch(np.zeros((3, 2), dtype=np.float32), 10, 13, 1, 1)
    assert (len(batch), batch.first_event, batch.end_event) == (3, 10, 13)
    assert batch.event_indices().tolist() == [10, 11, 12]


@given(st.lists(st.booleans(), min_size=1, max_size=70), st.integers(0, 2**62))
def test_a_sparse_batch_knows_its_events(sent: list[bool], first: int) -> None:
    x = np.zeros((sum(sent), 2), dtype=np.float32)
    present = None if all(sent) else np.packbits(sent, bitorder="little")
    batch = Batch(x, first, first + len(sent), 1, 1, present)
    assert batch.event_indices().tolist() == [first + i for i, s in enumerate(sent) if s]


@pytest.mark.parametrize(
    ("bits", "end"),
    [
        (None, 14),  # fewer rows than events
        (None, 12),  # more rows than events
        (None, 5),
        ([0b0111], 13),  # every event: no bits are due
        ([0b0011], 14),  # too few
        ([0b1111], 14),  # too many
        ([0b10011], 14),  # behind the end
        ([0b0111, 0], 14),  # too long
        ([], 14),
        ([], 10),
        ([0b0111], 5),
    ],
)
def test_bits_that_do_not_fit_range_and_rows_are_refused(bits: list[int] | None, end: int) -> None:
    present = None if bits is None else np.array(bits, dtype=np.uint8)
    with pytest.raises(SchemaError, match="expected"):
        Batch(np.zeros((3, 2), dtype=np.float32), 10, end, 1, 1, present)


@pytest.mark.parametrize("batch_events", [1, 1000, 10**5, 10**7])
def test_the_range_of_a_batch_is_bounded_and_holds_its_rows(batch_events: int) -> None:
    covered = largest_range(batch_events)
    assert covered >= batch_events
    assert largest_nbytes(batch_events, 20) <= (21 + 8) * batch_events


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((3, 2)),
        np.zeros(3, dtype=np.float32),
        np.zeros((3, 4), dtype=np.float32)[:, ::2],
        np.zeros((3, 2), dtype=">f4"),
    ],
)
def test_anything_but_contiguous_float32_rows_is_refused(x: np.ndarray) -> None:
    with pytest.raises(SchemaError, match="expected C-contiguous float32"):
        Batch(x, 0, 3, 1, 1)


@pytest.mark.parametrize("label", [np.zeros(3), np.zeros((3, 1), dtype=np.uint8)])
def test_labels_are_bytes(label: np.ndarray) -> None:
    with pytest.raises(SchemaError, match="expected uint8 labels"):
        Truth(label)
