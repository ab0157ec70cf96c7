"""What the proxy does to messages, as a function of its seed."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.fault_proxy import Mischief, Rates

QUICK = settings(max_examples=50, deadline=None)
rates = st.floats(0, 0.3)


def passed(mischief: Mischief, n: int) -> list[int]:
    """Numbers of the messages that come out of n, one taken per millisecond."""
    found = []
    for number in range(n):
        mischief.take([str(number).encode()], number / 1000)
        found += mischief.due(number / 1000)
    return [int(frames[0]) for frames in found + mischief.due(1e9)]


def test_without_mischief_everything_passes_in_order() -> None:
    assert passed(Mischief(Rates(0, 0, 0), random.Random(1)), 500) == list(range(500))


@QUICK
@given(rates, rates, rates, st.integers(0, 1000))
def test_what_comes_out_is_what_was_counted(
    drop: float, duplicate: float, delay: float, seed: int
) -> None:
    mischief = Mischief(Rates(drop, duplicate, delay), random.Random(seed))
    found = passed(mischief, 300)
    count = mischief.count
    assert len(found) == count.passed == 300 - count.dropped + count.duplicated
    assert 300 - len(set(found)) == count.dropped


def test_delayed_messages_are_overtaken() -> None:
    mischief = Mischief(Rates(0, 0, 0.2, delay_s=0.05), random.Random(3))
    found = passed(mischief, 500)
    assert sorted(found) == list(range(500))
    assert mischief.count.reordered > 20
    assert found != sorted(found)


def test_the_same_seed_does_the_same() -> None:
    one, other = (passed(Mischief(Rates(), random.Random(5)), 400) for _ in range(2))
    assert one == other
