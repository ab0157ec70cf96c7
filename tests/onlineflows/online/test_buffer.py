"""The bounded buffers: exact uses, constant size, independence of chunking and restarts."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlineflows.errors import CheckpointError, ConfigError
from onlineflows.online.buffer import Buffer, ReservoirBuffer, WindowBuffer, make_buffer
from onlineflows.settings import BufferConfig

KINDS = ["window", "reservoir"]


def buffer_of(kind: str, *, capacity=64, uses=4, batch_size=16, seed=3) -> Buffer:
    config = BufferConfig(kind=kind, capacity=capacity, uses=uses)
    return make_buffer(config, 2, batch_size=batch_size, seed=seed)


def numbered(n: int, first: int = 0) -> np.ndarray:
    """Events that carry their own number in both columns."""
    numbers = np.arange(first, first + n, dtype=np.float32)
    return np.stack([numbers, numbers], axis=1)


def run(buffer: Buffer, events: np.ndarray, chunks: list[int]) -> list[np.ndarray]:
    batches, start = [], 0
    for size in chunks:
        batches += buffer.feed(events[start : start + size])
        start += size
    batches += buffer.feed(events[start:])
    return [*batches, *buffer.drain()]


@given(
    n=st.integers(0, 700),
    uses=st.integers(1, 6),
    batch_size=st.integers(6, 20),
    capacity=st.integers(20, 130),
)
@settings(deadline=None, max_examples=60)
def test_a_window_uses_every_event_exactly_as_often_as_asked(n, uses, batch_size, capacity):
    buffer = buffer_of("window", capacity=capacity, uses=uses, batch_size=batch_size)
    counts = Counter(np.concatenate([numbered(0), *run(buffer, numbered(n), [])])[:, 0].tolist())
    assert counts == dict.fromkeys(map(float, range(n)), uses)


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_is_used_at_least_once(kind):
    seen = np.unique(np.concatenate(run(buffer_of(kind), numbered(501), []))[:, 0])
    assert seen.tolist() == list(range(501))


@pytest.mark.parametrize("kind", KINDS)
@given(chunks=st.lists(st.integers(0, 60), max_size=12))
@settings(deadline=None, max_examples=25)
def test_the_sizes_of_the_feeds_change_nothing(kind, chunks):
    events = numbered(400)
    whole = run(buffer_of(kind), events, [])
    pieces = run(buffer_of(kind), events, chunks)
    assert [b.tolist() for b in whole] == [b.tolist() for b in pieces]


@pytest.mark.parametrize("kind", KINDS)
@given(cut=st.integers(0, 400))
@settings(deadline=None, max_examples=25)
def test_a_restart_from_the_state_changes_nothing(kind, cut):
    events = numbered(400)
    undisturbed = run(buffer_of(kind), events, [])
    first, second = buffer_of(kind), buffer_of(kind)
    before = list(first.feed(events[:cut]))
    second.load(first.state())
    after = run(second, events[cut:], [])
    assert [b.tolist() for b in undisturbed] == [b.tolist() for b in before + after]


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_in_bytes_never_changes(kind):
    buffer = buffer_of(kind)
    sizes = {buffer.nbytes}
    for start in range(0, 500, 50):
        list(buffer.feed(numbered(50, start)))
        sizes.add(buffer.nbytes)
    assert len(sizes) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_buffer_fills_up_and_stays_full(kind):
    buffer = buffer_of(kind)
    fills = []
    for first in range(0, 160, 16):
        fills.append(buffer.fill)
        list(buffer.feed(numbered(16, first)))
    assert fills == [0.0, 0.25, 0.5, 0.75, *[1.0] * 6]


def test_a_window_holds_no_more_than_its_capacity():
    assert buffer_of("window", capacity=64).nbytes <= 64 * 2 * 4


def test_a_full_window_drops_the_oldest():
    buffer = buffer_of("window", capacity=64)
    *_, last = list(buffer.feed(numbered(10_000)))
    assert last[:, 0].min() >= 10_000 - 64


def test_a_mini_batch_of_a_running_window_is_full():
    *_, last = list(buffer_of("window", uses=4, batch_size=16).feed(numbered(512)))
    assert len(last) == 16


@pytest.mark.parametrize("kind", KINDS)
def test_every_fourth_event_of_a_mini_batch_is_fresh_with_four_uses(kind):
    batches = list(buffer_of(kind, uses=4, batch_size=16).feed(numbered(512)))
    assert batches[100][:4, 0].tolist() == [400, 401, 402, 403]


def test_a_reservoir_is_a_uniform_sample_of_everything_seen():
    # 200 seeds x 50 slots = 10,000 draws over 10 deciles of the stream: chi-squared with 9
    # degrees of freedom exceeds 27.9 once in 1,000 trials.
    counts = np.zeros(10)
    for seed in range(200):
        buffer = ReservoirBuffer(2, capacity=50, uses=2, batch_size=20, seed=seed)
        list(buffer.feed(numbered(1000)))
        held = buffer.state()["store"][:, 0].astype(int)
        counts += np.bincount(held // 100, minlength=10)
    assert ((counts - 1000) ** 2 / 1000).sum() < 27.9


def test_a_reservoir_knows_how_often_its_events_were_used():
    buffer = ReservoirBuffer(2, capacity=1000, uses=3, batch_size=30, seed=1)
    batches = list(buffer.feed(numbered(500)))
    counts = Counter(np.concatenate(batches)[:, 0].astype(int).tolist())
    assert buffer.use_counts.tolist() == [counts[i] for i in range(500)]


def test_a_state_of_another_capacity_is_refused():
    with pytest.raises(CheckpointError, match="expected float32"):
        buffer_of("window", capacity=64).load(buffer_of("window", capacity=128).state())


@pytest.mark.parametrize("kind", [WindowBuffer, ReservoirBuffer])
def test_more_uses_than_events_in_a_mini_batch_are_refused(kind):
    with pytest.raises(ConfigError, match="uses=9"):
        kind(2, capacity=100, uses=9, batch_size=8, seed=0)
