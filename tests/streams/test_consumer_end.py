"""The consumer's end alone: what it asks for, what it believes, when it gives up."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from streams import (
    LHCO,
    Batch,
    BatchReceived,
    Counts,
    EventSchema,
    EventsLost,
    Feature,
    GapReceived,
    Incoming,
    LumisectionEnded,
    Position,
    ProtocolError,
    RefusedError,
    RunBegan,
    RunEnded,
    SchemaError,
    TransportError,
    WireConfig,
)
from streams.codec import decode_from_consumer, encode, encode_batch, encode_begin
from streams.consumer_end import ConsumerEnd
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
    Welcome,
)

EPOCH = bytes.fromhex("5a" * 16)
BEGIN = RunBegan(EPOCH.hex(), 1, LHCO, "lossless", batch_events=10)
WIRE = WireConfig(window_batches=4, heartbeat_s=1.0, connect_timeout_s=60.0)


def fresh(
    *, resume: Position | None = None, expect: EventSchema | None = None, wire: WireConfig = WIRE
) -> ConsumerEnd:
    return ConsumerEnd(wire, name="learner", resume=resume, expect=expect, now=0.0)


def made(*, mode: str = "lossless", resume: Position | None = None) -> ConsumerEnd:
    end = fresh(resume=resume)
    hear(end, Welcome(VERSION, EPOCH, 0, 0))
    end.receive(encode_begin(replace(BEGIN, mode=mode)), 0.0)
    end.tick(0.0)
    said(end)
    return end


def hear(end: ConsumerEnd, message: FromProducer, now: float = 0.0) -> list[Incoming]:
    return end.receive([encode(message)], now)


def said(end: ConsumerEnd) -> list[FromConsumer]:
    messages = [decode_from_consumer(frames) for frames in end.outbox]
    end.outbox.clear()
    return messages


def data(
    number: int, first: int, n: int = 10, closed: int = 0, present: int | None = None
) -> list[bytes]:
    """A batch of n events, or of those whose bits are set."""
    n_sent = n if present is None else present.bit_count()
    bits = None if present is None else np.array([present], dtype=np.uint8)
    x = np.full((n_sent, 5), first, dtype=np.float32)
    counts = Counts(generated=n, sent=n_sent, not_selected=n - n_sent)
    header = Data(EPOCH, number, first, first + n, closed, counts, 1, 1, 5, 6)
    return encode_batch(header, Batch(x, first, first + n, 1, 1, bits), None)[1]


def test_the_first_word_is_hello() -> None:
    [hello] = said(fresh())
    assert isinstance(hello, Hello)
    assert (hello.epoch, hello.stand.next_event) == (None, 0)


def test_a_resumed_consumer_says_where_it_stands() -> None:
    counts = Counts(generated=30, sent=30)
    [hello] = said(fresh(resume=Position(EPOCH.hex(), 3, 30, 0, counts, counts)))
    assert isinstance(hello, Hello)
    assert hello.epoch == EPOCH
    assert (hello.stand.next_batch, hello.stand.next_event) == (3, 30)


def test_hello_is_repeated_until_it_is_answered() -> None:
    end = fresh()
    said(end)
    end.tick(0.05)
    assert said(end) == []
    end.tick(0.1)
    assert isinstance(said(end)[0], Hello)


def test_the_run_is_announced_once_and_credit_follows() -> None:
    end = fresh()
    said(end)
    hear(end, Welcome(VERSION, EPOCH, 0, 0))
    assert end.receive(encode_begin(BEGIN), 0.0) == [BEGIN]
    assert end.receive(encode_begin(BEGIN), 0.0) == []
    end.tick(0.0)
    assert said(end) == [Credit(EPOCH, 4, 0, False)]


def test_credit_is_extended_by_what_was_consumed() -> None:
    end = made()
    for number in range(3):
        end.receive(data(number, 10 * number), 0.0)
    end.consumed(1)
    end.flush_credit()
    assert said(end) == [Credit(EPOCH, 6, 0, False)]


def test_a_sparse_batch_moves_the_position_by_its_range() -> None:
    end = made()
    [received] = end.receive(data(0, 0, n=7, present=0b1000010), 0.0)
    assert isinstance(received, BatchReceived)
    assert received.batch.event_indices().tolist() == [1, 6]
    assert received.counts == Counts(generated=7, sent=2, not_selected=5)
    assert received.position.next_event == 7
    assert received.position.run == received.counts


def test_batches_arrive_in_order_with_their_position() -> None:
    end = made()
    [first] = end.receive(data(0, 0), 0.0)
    [second] = end.receive(data(1, 10), 0.0)
    assert isinstance(first, BatchReceived)
    assert isinstance(second, BatchReceived)
    assert (first.position.next_event, second.position.next_event) == (10, 20)
    assert second.position.run == Counts(generated=20, sent=20)
    assert second.sent_ns == 5


def test_a_batch_that_comes_again_is_dropped_and_counted() -> None:
    end = made()
    end.receive(data(0, 0), 0.0)
    assert end.receive(data(0, 0), 0.0) == []
    assert end.n_duplicates == 1


def test_a_jump_is_asked_for_once_per_heartbeat() -> None:
    end = made()
    assert end.receive(data(1, 10), 0.0) == []
    assert end.receive(data(2, 20), 0.1) == []
    [nack] = said(end)
    assert isinstance(nack, Nack)
    assert nack.stand.next_event == 0
    assert end.n_ahead == 2
    end.receive(data(3, 30), 1.2)
    assert isinstance(said(end)[0], Nack)


def test_a_jump_in_realtime_mode_is_declared_lost() -> None:
    end = made(mode="realtime")
    lost, received = end.receive(data(3, 30), 0.0)
    assert isinstance(lost, EventsLost)
    assert (lost.first_event, lost.end_event) == (0, 30)
    assert isinstance(received, BatchReceived)
    assert received.batch_number == 3
    end.flush_credit()
    assert said(end) == [Credit(EPOCH, 7, 0, False)]


def test_a_damaged_batch_is_asked_for_again() -> None:
    end = made()
    header, payload = data(0, 0)
    assert end.receive([header, b"\x01" + payload[1:]], 0.0) == []
    assert end.n_malformed == 1
    assert isinstance(said(end)[0], Nack)
    assert len(end.receive(data(0, 0), 0.0)) == 1


def test_a_heartbeat_reveals_a_lost_tail() -> None:
    end = made()
    hear(end, Ping(EPOCH, 2, 20, 0, False))
    assert isinstance(said(end)[0], Nack)


def test_a_heartbeat_reveals_a_lost_end_of_run() -> None:
    end = made()
    hear(end, Ping(EPOCH, 0, 0, 0, True))
    assert isinstance(said(end)[0], Nack)


def test_a_heartbeat_is_answered_with_progress_and_credit() -> None:
    end = made()
    end.report_progress(77)
    hear(end, Ping(EPOCH, 0, 0, 0, False))
    end.tick(0.0)
    assert said(end) == [Credit(EPOCH, 4, 0, False), Pong(EPOCH, 77)]


def test_a_gap_is_passed_on_with_its_counts() -> None:
    end = made()
    counts = Counts(generated=7, not_selected=4, bad=3)
    [gap] = hear(end, Gap(EPOCH, 0, 0, 7, 0, 1, counts))
    assert isinstance(gap, GapReceived)
    assert (gap.first_event, gap.end_event, gap.counts) == (0, 7, counts)
    assert gap.position.run == counts


def test_a_lumisection_is_closed_once() -> None:
    end = made()
    end.receive(data(0, 0), 0.0)
    message = EndLumisection(EPOCH, 1, 1, 0, 10, Counts(generated=10, sent=10), 3, 4)
    [ended] = hear(end, message)
    assert isinstance(ended, LumisectionEnded)
    assert (ended.lumisection, ended.live_ns, ended.dead_ns) == (1, 3, 4)
    assert ended.position.open == Counts()
    assert hear(end, message) == []


def test_counts_that_do_not_add_up_are_malformed() -> None:
    end = made()
    end.receive(data(0, 0), 0.0)
    hear(end, EndLumisection(EPOCH, 1, 1, 0, 10, Counts(generated=10, sent=9), 3, 4))
    assert end.n_malformed == 1


def ended_run(end: ConsumerEnd) -> RunEnded:
    end.receive(data(0, 0), 0.0)
    counts = Counts(generated=10, sent=10)
    hear(end, EndLumisection(EPOCH, 1, 1, 0, 10, counts, 0, 0))
    digest = bytes.fromhex(end.position.digest)
    [ended] = hear(end, EndRun(EPOCH, 1, 10, counts, 8, 9, digest, "GOOD", ""))
    assert isinstance(ended, RunEnded)
    return ended


def test_the_end_of_a_run_is_acknowledged_with_its_position() -> None:
    end = made()
    ended = ended_run(end)
    assert ended.digest_agrees is True
    end.acknowledge(ended.position)
    end.flush_credit()
    [credit] = said(end)
    assert isinstance(credit, Credit)
    assert credit.ended
    end.leave()
    assert said(end) == [Bye("done", "")]


def test_an_earlier_position_does_not_acknowledge_the_end() -> None:
    end = made()
    [received] = end.receive(data(0, 0), 0.0)
    ended_run(end)
    end.acknowledge(received.position)
    end.flush_credit()
    [credit] = said(end)
    assert isinstance(credit, Credit)
    assert (credit.acknowledged, credit.ended) == (1, False)


def test_an_end_before_its_lumisection_is_asked_for_again() -> None:
    end = made()
    end.receive(data(0, 0), 0.0)
    counts = Counts(generated=10, sent=10)
    assert hear(end, EndRun(EPOCH, 1, 10, counts, 0, 0, bytes(8), "GOOD", "")) == []
    assert isinstance(said(end)[0], Nack)


def test_another_digest_is_told() -> None:
    end = made()
    end.receive(data(0, 0), 0.0)
    counts = Counts(generated=10, sent=10)
    hear(end, EndLumisection(EPOCH, 1, 1, 0, 10, counts, 0, 0))
    [ended] = hear(end, EndRun(EPOCH, 1, 10, counts, 0, 0, b"12345678", "GOOD", ""))
    assert isinstance(ended, RunEnded)
    assert ended.digest_agrees is False


def test_another_schema_is_refused_on_both_sides() -> None:
    end = fresh(expect=EventSchema((Feature("mjj", "GeV", 0, 1),)))
    said(end)
    hear(end, Welcome(VERSION, EPOCH, 0, 0))
    with pytest.raises(SchemaError, match="the schemas differ"):
        end.receive(encode_begin(BEGIN), 0.0)
    [bye] = said(end)
    assert isinstance(bye, Bye)
    assert bye.code == "refused"
    assert "the schemas differ" in bye.text


def test_another_version_is_refused() -> None:
    with pytest.raises(RefusedError, match=f"expected protocol {VERSION}"):
        hear(fresh(), Welcome(VERSION + 1, EPOCH, 0, 0))


def test_another_epoch_is_refused() -> None:
    with pytest.raises(RefusedError, match="expected epoch 5a5a"):
        hear(made(), Welcome(VERSION, bytes(16), 0, 0))


def test_a_refusal_is_raised_with_its_reason() -> None:
    with pytest.raises(RefusedError, match="refuses: taken"):
        hear(fresh(), Refusal("occupied", "taken"))


def test_a_producer_that_asks_for_it_is_greeted_again() -> None:
    end = made()
    hear(end, Refusal("greet", ""), now=2.0)
    [hello] = said(end)
    assert isinstance(hello, Hello)
    assert hello.epoch == EPOCH


def test_messages_of_another_epoch_are_ignored() -> None:
    end = made()
    header, payload = data(0, 0)
    other = msgspec.structs.replace(decoded(header), epoch=bytes(16))
    assert end.receive([encode(other), payload], 0.0) == []
    assert end.position.next_event == 0


def decoded(header: bytes) -> Data:
    return msgspec.msgpack.decode(header, type=Data)


def test_a_silent_producer_is_greeted_again_and_given_up_in_the_end() -> None:
    end = made()
    end.tick(5.1)
    assert any(isinstance(m, Hello) for m in said(end))
    with pytest.raises(TransportError, match="nothing heard from the producer"):
        end.tick(60.1)


def test_a_producer_that_never_came_is_given_up() -> None:
    with pytest.raises(TransportError, match="no producer at tcp"):
        fresh().tick(60.1)


def test_a_batch_that_can_not_be_delivered_is_given_up() -> None:
    end = made()
    end.receive(data(1, 10), 0.0)
    for now in range(1, 61):
        hear(end, Ping(EPOCH, 1, 10, 0, False), float(now))
    with pytest.raises(ProtocolError, match="event 0 could not be delivered"):
        end.tick(60.5)


def test_nothing_is_believed_before_the_begin_of_run() -> None:
    assert fresh().receive(data(0, 0), 0.0) == []


@pytest.mark.parametrize("name", ["", "x" * 61])
def test_a_name_that_no_producer_accepts_is_refused(name: str) -> None:
    with pytest.raises(ProtocolError, match="expected a consumer's name of 1 to 60"):
        ConsumerEnd(WIRE, name=name, resume=None, expect=None, now=0.0)
