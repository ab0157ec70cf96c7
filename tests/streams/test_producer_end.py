"""The producer's end alone: whom it serves, what it sends, when it gives up."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import structs

from streams import (
    LHCO,
    Batch,
    Counts,
    MessageError,
    ProtocolError,
    RefusedError,
    RunBegan,
    TransportError,
    Truth,
    WireConfig,
)
from streams.codec import decode_from_producer, encode
from streams.lanes import Lanes
from streams.messages import (
    VERSION,
    Bye,
    Credit,
    Data,
    EndLumisection,
    EndRun,
    FromConsumer,
    FromProducer,
    Gap,
    Hello,
    Nack,
    Ping,
    Pong,
    Refusal,
    Stand,
    Welcome,
)
from streams.producer_end import ProducerEnd

EPOCH = bytes.fromhex("5a" * 16)
BEGIN = RunBegan(EPOCH.hex(), 1, LHCO, "lossless", batch_events=10, has_truth=True)
WIRE = WireConfig(heartbeat_s=1.0, connect_timeout_s=60.0)
START = Stand(0, 0, 0, Counts(), Counts(), bytes(8))
HELLO = Hello((VERSION,), "learner", None, START, 4, 1 << 20, False)
MARK = b"learner"


def stand(batch: int, event: int) -> Stand:
    counts = Counts(generated=event, sent=event)
    return Stand(batch, event, 0, counts, counts, bytes(8))


def said(end: ProducerEnd) -> list[FromProducer]:
    messages = [decode_from_producer(frames) for _, frames in end.outbox]
    end.outbox.clear()
    return messages


def hear(end: ProducerEnd, message: FromConsumer, now: float = 0.0, peer: bytes = MARK) -> None:
    end.receive(peer, [encode(message)], now)


def made(*, mode: str = "lossless", credit: int = 10, hello: Hello = HELLO) -> ProducerEnd:
    end = ProducerEnd(replace(WIRE, mode=mode), replace(BEGIN, mode=mode), 0.0)
    hear(end, hello)
    hear(end, Credit(EPOCH, credit, 0, False))
    said(end)
    return end


def send(end: ProducerEnd, n: int = 10) -> None:
    x = np.zeros((n, 5), dtype=np.float32)
    batch = Batch(x, end.next_event, end.next_event + n, 1, 1)
    end.batch(batch, Counts(n, n), Truth(np.zeros(n, dtype=np.uint8)), 11, 22)


BUSY = Counts(generated=3, busy=3)


def test_a_consumer_is_welcomed_and_told_of_the_run() -> None:
    end = ProducerEnd(WIRE, BEGIN, 0.0)
    hear(end, HELLO)
    assert [type(m).__name__ for m in said(end)] == ["Welcome", "Begin"]


def test_nothing_may_be_sent_without_credit() -> None:
    end = made(credit=1)
    assert end.has_credit(0.0)
    send(end)
    assert not end.has_credit(0.0)
    with pytest.raises(ProtocolError, match="no credit"):
        send(end)


def test_credit_is_absolute_and_never_shrinks() -> None:
    end = made(credit=2)
    hear(end, Credit(EPOCH, 1, 0, False))
    hear(end, Credit(EPOCH, 2, 0, False))
    send(end)
    send(end)
    assert not end.has_credit(0.0)


def test_batches_are_numbered_and_stand_where_they_belong() -> None:
    end = made()
    send(end)
    end.gap(10, 13, Counts(generated=3, bad=3), 1)
    send(end)
    first, gap, second = said(end)
    assert isinstance(first, Data)
    assert isinstance(gap, Gap)
    assert isinstance(second, Data)
    assert [(d.batch, d.first_event) for d in (first, second)] == [(0, 0), (1, 13)]
    assert (gap.first_event, gap.end_event, gap.next_batch) == (10, 13, 1)


@pytest.mark.parametrize("counts", [Counts(3, 1, bad=2), Counts(2, busy=2), Counts(3, busy=2)])
def test_a_gap_whose_counts_are_others_is_refused(counts: Counts) -> None:
    with pytest.raises(ProtocolError, match=r"expected counts of events \[0, 3\), 0 of them sent"):
        made().gap(0, 3, counts, 1)


@pytest.mark.parametrize("counts", [Counts(5, 3, bad=2), Counts(4, 4), Counts(5, 2, bad=2)])
def test_a_batch_whose_counts_are_others_is_refused(counts: Counts) -> None:
    x, present = np.zeros((2, 5), dtype=np.float32), np.array([0b10010], dtype=np.uint8)
    with pytest.raises(ProtocolError, match=r"expected counts of events \[0, 5\), 2 of them sent"):
        made().batch(Batch(x, 0, 5, 1, 1, present), counts, None, 0, 0)


def test_a_sparse_batch_covers_its_range() -> None:
    end = made()
    x, present = np.zeros((2, 5), dtype=np.float32), np.array([0b10010], dtype=np.uint8)
    end.batch(Batch(x, 0, 5, 1, 1, present), Counts(5, 2, not_selected=3), None, 0, 0)
    [data] = said(end)
    assert isinstance(data, Data)
    assert (data.first_event, data.end_event, data.counts.not_selected) == (0, 5, 3)
    assert data.present_hash is not None
    assert end.next_event == 5


@pytest.mark.parametrize("wanted", [True, False])
def test_truth_is_sent_only_to_whom_asks(wanted: bool) -> None:
    end = made(hello=msgspec.structs.replace(HELLO, truth=wanted))
    send(end)
    [data] = said(end)
    assert isinstance(data, Data)
    assert (data.truth_hash is not None) == wanted


def test_a_batch_out_of_order_is_refused() -> None:
    with pytest.raises(ProtocolError, match="expected event 0 next; got 5"):
        made().gap(5, 8, BUSY, 1)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"versions": (VERSION + 1,)}, "version"),
        ({"lane": 0, "lanes": 2}, "lane"),
        ({"lane": 3, "lanes": 1}, "lane"),
        ({"epoch": bytes(15) + b"x"}, "epoch"),
        ({"window_nbytes": 10}, "window"),
        ({"stand": Stand(0, 5, 0, Counts(), Counts(), bytes(8))}, "accounts"),
    ],
)
def test_a_consumer_that_does_not_fit_is_refused(change: dict[str, object], code: str) -> None:
    end = ProducerEnd(WIRE, BEGIN, 0.0)
    hear(end, msgspec.structs.replace(HELLO, **change))
    [refusal] = said(end)
    assert isinstance(refusal, Refusal)
    assert refusal.code == code
    assert not end.is_connected


OTHER = structs.replace(HELLO, name="other")


def test_a_second_consumer_is_refused_while_the_first_lives() -> None:
    end = made()
    hear(end, OTHER, peer=b"other")
    [refusal] = said(end)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "occupied"


def test_a_second_consumer_takes_the_place_of_a_dead_one() -> None:
    end = made()
    hear(end, OTHER, now=5.1, peer=b"other")
    assert isinstance(said(end)[0], Welcome)


def test_another_version_is_refused_as_such_although_a_consumer_is_served() -> None:
    end = made()
    hear(end, structs.replace(OTHER, versions=(VERSION + 1,)), peer=b"other")
    [refusal] = said(end)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "version"


def test_a_consumer_of_the_same_name_takes_the_place_of_the_first_which_is_told() -> None:
    end = made()
    hear(end, HELLO, peer=b"again")
    to = [peer for peer, _ in end.outbox]
    refusal, welcome, *_ = said(end)
    assert (to[:2], type(welcome)) == ([MARK, b"again"], Welcome)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "taken"


def test_what_waited_in_a_replaced_connection_of_the_same_consumer_takes_no_place() -> None:
    end = made()
    hear(end, HELLO, peer=b"\0\x8c\x11\x2a\x03")
    assert said(end) == []
    hear(end, HELLO)
    assert isinstance(said(end)[0], Welcome)


def test_a_consumer_whose_place_was_taken_does_not_get_it_back() -> None:
    end = made()
    hear(end, HELLO, peer=b"again")
    said(end)
    hear(end, HELLO, now=60.0)
    [refusal] = said(end)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "taken"


def test_a_consumer_from_an_earlier_life_is_asked_to_greet() -> None:
    end = ProducerEnd(WIRE, BEGIN, 0.0)
    hear(end, Credit(EPOCH, 4, 0, False))
    [refusal] = said(end)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "greet"


@pytest.mark.parametrize("kind", ["hello", "nack"])
def test_a_lossless_stream_goes_back_to_where_the_consumer_stands(kind: str) -> None:
    end = made()
    for _ in range(3):
        send(end)
    there = stand(1, 10)
    hear(
        end, msgspec.structs.replace(HELLO, stand=there) if kind == "hello" else Nack(EPOCH, there)
    )
    assert end.rewind is not None
    assert (end.rewind.next_batch, end.rewind.next_event) == (1, 10)
    assert not end.has_credit(0.0)
    with pytest.raises(ProtocolError, match="must go back to event 10"):
        end.gap(30, 33, BUSY, 1)
    end.rewound()
    assert end.next_event == 10


def test_a_consumer_that_stands_where_the_stream_does_moves_nothing() -> None:
    end = made()
    send(end)
    hear(end, msgspec.structs.replace(HELLO, stand=stand(1, 10)))
    assert end.rewind is None


def test_a_realtime_stream_never_goes_back_but_repeats_what_it_closed() -> None:
    end = made(mode="realtime")
    send(end)
    end.end_lumisection(1, Counts(generated=10, sent=10))
    send(end)
    said(end)
    hear(end, HELLO)
    assert end.rewind is None
    welcome, _, again = said(end)
    assert isinstance(welcome, Welcome)
    assert welcome.next_event == 20
    assert isinstance(again, EndLumisection)


def test_a_realtime_stream_that_has_not_begun_begins_where_the_consumer_stands() -> None:
    end = made(mode="realtime", hello=msgspec.structs.replace(HELLO, stand=stand(2, 20)))
    assert end.rewind is not None


def test_a_silent_consumer_has_no_credit_in_realtime_mode_only() -> None:
    assert not made(mode="realtime").has_credit(5.1)
    assert made(mode="lossless").has_credit(5.1)


def test_nothing_piles_up_for_a_silent_consumer() -> None:
    end = made(mode="realtime")
    end.tick(5.5)
    said(end)
    end.gap(0, 3, BUSY, 1)
    end.end_lumisection(1, BUSY)
    assert said(end) == []


def test_a_heartbeat_tells_the_position() -> None:
    end = made()
    send(end)
    said(end)
    end.tick(1.0)
    [ping] = said(end)
    assert ping == Ping(EPOCH, 1, 10, 0, False)


def test_the_run_is_over_only_when_its_end_is_acknowledged() -> None:
    end = made()
    send(end)
    end.end_lumisection(1, Counts(generated=10, sent=10))
    end.end_run("GOOD", Counts(generated=10, sent=10))
    hear(end, Credit(EPOCH, 20, 1, False))
    assert not end.is_acknowledged
    hear(end, Credit(EPOCH, 20, 1, True))
    assert end.is_acknowledged


def test_an_end_that_was_missed_is_said_again() -> None:
    end = made()
    end.end_run("GOOD", Counts())
    said(end)
    hear(end, Nack(EPOCH, START))
    assert isinstance(said(end)[0], EndRun)


def test_nothing_follows_the_end_of_the_run() -> None:
    end = made()
    end.end_run("GOOD", Counts())
    with pytest.raises(ProtocolError, match="the run has ended"):
        end.gap(0, 3, BUSY, 1)


def test_a_consumer_that_leaves_early_is_waited_for() -> None:
    end = made()
    hear(end, Bye("stopped", ""), now=1.0)
    assert not end.is_connected
    end.tick(60.0)
    with pytest.raises(TransportError, match=r"no consumer at .* for 60 s"):
        end.tick(61.5)


def test_a_refusal_is_raised_with_its_reason() -> None:
    with pytest.raises(RefusedError, match="'learner' refuses: the schemas differ"):
        hear(made(), Bye("refused", "the schemas differ"))


def test_a_silent_consumer_is_given_up_after_the_time_limit() -> None:
    end = made()
    hear(end, Pong(EPOCH, 5), now=10.0)
    end.tick(70.0)
    with pytest.raises(TransportError, match="silent for 60 s"):
        end.tick(70.1)


def test_junk_is_counted_and_ignored() -> None:
    end = made()
    end.receive(b"stranger", [b"\xff\x00junk"], 0.0)
    end.receive(MARK, [], 0.0)
    assert end.n_malformed == 2
    assert said(end) == []


def test_progress_is_what_the_consumer_says() -> None:
    end = made()
    hear(end, Pong(EPOCH, 1234))
    hear(end, Credit(EPOCH, 20, 7, False))
    assert end.progress == (7, 1234)


@pytest.mark.parametrize("change", [{"seed": -1}, {"run": 2**64}, {"epoch": "ab"}])
def test_a_run_that_no_consumer_would_accept_is_refused_at_once(change: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match="expected a message of protocol"):
        ProducerEnd(WIRE, replace(BEGIN, **change), 0.0)


def lane_of_two(lane: int, name: str = "learner") -> Hello:
    return msgspec.structs.replace(HELLO, name=name, lane=lane, lanes=2)


def test_each_lane_has_its_own_consumer() -> None:
    lanes = Lanes(replace(WIRE, lanes=2), BEGIN, 0.0)
    lanes.receive(b"a", [encode(lane_of_two(0))], 0.0)
    assert not lanes.is_connected
    lanes.receive(b"b", [encode(lane_of_two(1))], 0.0)
    assert lanes.is_connected


def test_a_lane_that_another_has_taken_is_refused_and_named() -> None:
    lanes = Lanes(replace(WIRE, lanes=2), BEGIN, 0.0)
    lanes.receive(b"a", [encode(lane_of_two(1, "ada"))], 0.0)
    lanes.outbox.clear()
    lanes.receive(b"b", [encode(lane_of_two(1, "bob"))], 0.0)
    [(peer, frames)] = lanes.outbox
    refusal = decode_from_producer(frames)
    assert peer == b"b"
    assert isinstance(refusal, Refusal)
    assert refusal.code == "occupied"
    assert "lane 1 of 2 belongs to consumer 'ada'" in refusal.text


def test_a_wrong_number_of_lanes_is_refused_and_both_are_named() -> None:
    lanes = Lanes(replace(WIRE, lanes=3), BEGIN, 0.0)
    lanes.receive(b"a", [encode(lane_of_two(1))], 0.0)
    [(_, frames)] = lanes.outbox
    refusal = decode_from_producer(frames)
    assert isinstance(refusal, Refusal)
    assert "has 3 lanes" in refusal.text
    assert "lane 1 of 2" in refusal.text


def test_several_realtime_lanes_cannot_be_taken_over() -> None:
    lanes = Lanes(replace(WIRE, lanes=2, mode="realtime"), replace(BEGIN, mode="realtime"), 0.0)
    hello = msgspec.structs.replace(lane_of_two(0), stand=stand(1, 10))
    lanes.receive(b"a", [encode(hello)], 0.0)
    refusal = decode_from_producer(lanes.outbox[0][1])
    assert isinstance(refusal, Refusal)
    assert refusal.code == "accounts"


def test_one_lane_is_not_spoken_of_on_the_wire() -> None:
    assert b"lane" not in encode(HELLO)
    assert b"elsewhere" not in encode(Nack(EPOCH, stand(1, 10)))
