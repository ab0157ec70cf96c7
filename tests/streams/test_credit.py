"""How many batches a consumer permits."""

import pytest

from streams import LHCO, RunBegan, WireConfig
from streams.batch import largest_nbytes
from streams.credit import Window

RUN = RunBegan("5a" * 16, 1, LHCO, "lossless", batch_events=10)
BATCH_NBYTES = largest_nbytes(10, LHCO.event_nbytes)


def window_of(n_batches: int = 4, nbytes: int = 1 << 20) -> Window:
    window = Window(WireConfig(window_batches=n_batches, window_nbytes=nbytes))
    window.begin(RUN)
    return window


def test_what_is_unread_takes_room_until_it_is_consumed() -> None:
    window = window_of()
    for number in range(3):
        window.deliver(number, 10)
    assert window.n_free == 1
    assert window.consume(1)
    assert window.n_free == 3
    assert not window.consume(1)


@pytest.mark.parametrize(("nbytes", "n"), [(2.5, 2), (1.0, 1), (0.5, 1), (100.0, 4)])
def test_the_window_in_bytes_may_be_the_smaller_one(nbytes: float, n: int) -> None:
    assert window_of(nbytes=int(nbytes * BATCH_NBYTES)).n_batches == n


def test_more_batches_may_be_on_their_way_where_they_are_small() -> None:
    window = window_of()
    for number in range(500):
        window.deliver(number, 1)
    assert 35 <= window.n_batches <= 40


def test_small_batches_never_open_the_window_in_bytes() -> None:
    window = window_of(nbytes=5 * BATCH_NBYTES)
    for number in range(500):
        window.deliver(number, 1)
    assert window.n_batches == 5
