"""Batches are checked, read-only views."""

import numpy as np
import pytest

from streams import Batch, SchemaError, Truth


def test_a_batch_can_not_be_written_to_but_its_array_can() -> None:
    x = np.zeros((3, 2), dtype=np.float32)
    batch = Batch(x, 10, 1, 1)
    with pytest.raises(ValueError, match="read-only"):
        batch.x[0, 0] = 1.0
    x[0, 0] = 1.0


def test_a_batch_knows_its_events() -> None:
    batch = Batch(np.zeros((3, 2), dtype=np.float32), 10, 1, 1)
    assert (len(batch), batch.first_event, batch.end_event) == (3, 10, 13)


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
        Batch(x, 0, 1, 1)


@pytest.mark.parametrize("label", [np.zeros(3), np.zeros((3, 1), dtype=np.uint8)])
def test_labels_are_bytes(label: np.ndarray) -> None:
    with pytest.raises(SchemaError, match="expected uint8 labels"):
        Truth(label, 0)
