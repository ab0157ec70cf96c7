"""A source in memory keeps the contract of all sources."""

import numpy as np
import pytest

from streams import ArraySource, EventSchema, Feature, InputError, Source

SCHEMA = EventSchema((Feature("m", "TeV", 0, 10),))


def source_of(n: int, n_events: int | None = None) -> ArraySource:
    x = np.arange(n, dtype=np.float32)[:, None]
    return ArraySource(SCHEMA, x, label=np.zeros(n, dtype=np.uint8), n_events=n_events)


def test_it_is_a_source() -> None:
    assert isinstance(source_of(3), Source)


def test_arrays_are_repeated_to_the_length_of_the_stream() -> None:
    source = source_of(3, n_events=8)
    values: list[float] = []
    while len(events := source.read(2)):
        values += events.x[:, 0].tolist()
    assert values == [0, 1, 2, 0, 1, 2, 0, 1]


def test_a_seek_moves_to_an_index() -> None:
    source = source_of(5, n_events=20)
    source.seek(7)
    events = source.read(10)
    assert (events.first_event, events.x[:, 0].tolist()) == (7, [2, 3, 4])


@pytest.mark.parametrize("index", [-1, 6])
def test_a_seek_outside_the_stream_is_refused(index: int) -> None:
    with pytest.raises(InputError, match="expected an index from 0 to 5"):
        source_of(5).seek(index)


def test_an_empty_array_is_an_empty_stream() -> None:
    assert len(source_of(0).read(5)) == 0
