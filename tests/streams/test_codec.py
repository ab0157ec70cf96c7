"""Bytes to messages and back: what was said arrives, and nothing else is believed."""

import contextlib
import random
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams import LHCO, Batch, EventSchema, Feature, MessageError, RunBegan, SourceFile, Truth
from streams.codec import (
    decode_batch,
    decode_begin,
    decode_from_consumer,
    decode_from_producer,
    encode,
    encode_batch,
    encode_begin,
    extend_digest,
    hash_of,
)
from streams.messages import (
    MAX_HEADER_NBYTES,
    Begin,
    Bye,
    Counts,
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

FROM_PRODUCER = [Welcome, Begin, Data, Gap, EndLumisection, EndRun, Ping, Refusal]
FROM_CONSUMER = [Hello, Credit, Nack, Pong, Bye]


def strategy(kind: type) -> st.SearchStrategy:
    """Any valid message of a kind, made from its own types and constraints."""
    fields = {
        f.name: of_type(msgspec.inspect.type_info(f.type)) for f in msgspec.structs.fields(kind)
    }
    made = st.fixed_dictionaries(fields).map(lambda values: kind(**values))
    if kind in {Data, Gap, EndLumisection, EndRun}:
        return made.map(with_counts_that_add_up)
    return made


def with_counts_that_add_up(message: Data | Gap | EndLumisection | EndRun) -> FromProducer:
    first = (
        0
        if isinstance(message, EndRun)
        else min(message.first_event, max(0, message.end_event - 1))
    )
    n = message.end_event - first
    sends = isinstance(message, Data) or (n % 2 == 1 and not isinstance(message, Gap))
    n_sent = (n + 1) // 2 if sends else 0
    changes = {"counts": Counts(generated=n, sent=n_sent, bad=n - n_sent)}
    if not isinstance(message, EndRun):
        changes["first_event"] = first
    return msgspec.structs.replace(message, **changes)


def of_type(info: msgspec.inspect.Type) -> st.SearchStrategy:
    match info:
        case msgspec.inspect.IntType(ge=ge, le=le):
            return st.integers(ge, le)
        case msgspec.inspect.BytesType(min_length=low, max_length=high):
            return st.binary(min_size=low, max_size=high)
        case msgspec.inspect.StrType(min_length=low, max_length=high):
            return st.text(min_size=low or 0, max_size=min(high, 20))
        case msgspec.inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.UnionType(types=types):
            return st.one_of([of_type(t) for t in types])
        case msgspec.inspect.VarTupleType(item_type=item, min_length=low):
            return st.lists(of_type(item), min_size=low or 0, max_size=4).map(tuple)
        case msgspec.inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(of_type(key), of_type(value), max_size=4)
        case msgspec.inspect.StructType(cls=cls):
            return strategy(cls)
    raise NotImplementedError(info)


def frames_of(message: FromProducer) -> list[bytes]:
    match message:
        case Begin():
            n_raw = 1
        case Data():
            n_raw = 1 + (message.present_hash is not None) + (message.truth_hash is not None)
        case _:
            n_raw = 0
    return [encode(message)] + n_raw * [b""]


@pytest.mark.parametrize("kind", FROM_PRODUCER)
def test_what_a_producer_says_arrives(kind: type) -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(strategy(kind))
    def arrives(message: FromProducer) -> None:
        assert decode_from_producer(frames_of(message)) == message

    arrives()


@pytest.mark.parametrize("kind", FROM_CONSUMER)
def test_what_a_consumer_says_arrives(kind: type) -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(strategy(kind))
    def arrives(message: FromConsumer) -> None:
        assert decode_from_consumer([encode(message)]) == message

    arrives()


def data_frames(
    *, n: int = 7, n_range: int | None = None, truth: bool = False
) -> tuple[Batch, list[bytes]]:
    """A batch of n rows, from a range of as many events or more."""
    rng = np.random.default_rng(n)
    n_range = n_range or n
    x = rng.normal(size=(n, LHCO.n_features)).astype(np.float32)
    present = None
    if n_range > n:
        present = np.packbits(rng.permutation(n_range) < n, bitorder="little")
    batch = Batch(x, 100, 100 + n_range, 3, 2, present)
    header = Data(
        epoch=bytes(16),
        batch=9,
        first_event=100,
        end_event=100 + n_range,
        closed_event=50,
        counts=Counts(generated=n_range, sent=n, not_selected=n_range - n),
        run=3,
        lumisection=2,
        sent_ns=1,
        sent_monotonic_ns=2,
    )
    labels = Truth((rng.random(n) < 0.5).astype(np.uint8)) if truth else None
    return batch, encode_batch(header, batch, labels)[1]


def header_of(frames: list[bytes]) -> Data:
    message = decode_from_producer(frames)
    assert isinstance(message, Data)
    return message


@given(st.integers(1, 300), st.integers(0, 3000), st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_batch_arrives_bit_by_bit(n: int, n_withheld: int, truth: bool) -> None:
    sent, frames = data_frames(n=n, n_range=n + n_withheld, truth=truth)
    batch, labels = decode_batch(header_of(frames), frames, 5)
    assert batch.x.tobytes() == sent.x.tobytes()
    assert (batch.first_event, batch.end_event) == (100, 100 + n + n_withheld)
    assert (batch.run, batch.lumisection) == (3, 2)
    assert (batch.event_indices() == sent.event_indices()).all()
    assert (batch.present is None) == (n_withheld == 0)
    assert (labels is not None) == truth
    assert labels is None or labels.label.tobytes() == frames[-1]


def test_nan_infinity_and_denormals_arrive_as_they_are() -> None:
    x = np.array([[np.nan, np.inf, -np.inf, 1e-45, -0.0]], dtype=np.float32)
    header, frames = encode_batch(header_of(data_frames(n=1)[1]), Batch(x, 100, 101, 3, 2), None)
    batch, _ = decode_batch(header, frames, 5)
    assert batch.x.tobytes() == x.tobytes()


def test_the_first_event_is_the_lowest_bit_of_the_first_byte() -> None:
    header = header_of(data_frames(n=2, n_range=10)[1])
    x, present = np.zeros((2, 5), np.float32), np.array([0b00000010, 0b01], dtype=np.uint8)
    header, frames = encode_batch(header, Batch(x, 100, 110, 3, 2, present), None)
    assert frames[2] == b"\x02\x01"
    batch, _ = decode_batch(header, frames, 5)
    assert batch.event_indices().tolist() == [101, 108]


def forged(header: Data, frames: list[bytes], **changes: Any) -> tuple[Data, list[bytes]]:
    """A message whose header fits its frames' hashes, but says something else."""
    header = msgspec.structs.replace(header, **changes)
    return header, [encode(header), *frames[1:]]


@pytest.mark.parametrize(
    "bits",
    [
        b"\x07\x00",  # three events of two
        b"\x01\x00",  # one event of two
        b"\x01\x04",  # behind the end
        b"\x03",  # too short
        b"\x03\x00\x00",  # too long
    ],
)
def test_bits_that_are_not_those_of_the_rows_are_refused(bits: bytes) -> None:
    _, frames = data_frames(n=2, n_range=10)
    header, frames = forged(
        header_of(frames), [frames[0], frames[1], bits], present_hash=hash_of(bits)
    )
    with pytest.raises(MessageError, match="batch 9: expected"):
        decode_batch(header, frames, 5)


def test_a_batch_without_the_bits_it_needs_is_refused() -> None:
    _, frames = data_frames(n=2, n_range=10)
    header, frames = forged(header_of(frames), frames[:2], present_hash=None)
    with pytest.raises(MessageError, match="expected 10 rows, or bits"):
        decode_batch(header, frames, 5)


@pytest.mark.parametrize(
    "counts",
    [
        Counts(10, 2),
        Counts(9, 2, bad=7),
        Counts(10, 2, bad=9),
        Counts(10, 0, bad=10),
        Counts(10, 10, bad=10),
    ],
)
def test_counts_that_are_not_those_of_the_range_are_refused(counts: Counts) -> None:
    _, frames = data_frames(n=2, n_range=10)
    _, frames = forged(header_of(frames), frames, counts=counts)
    with pytest.raises(MessageError, match="expected"):
        decode_from_producer(frames)


@pytest.mark.parametrize(
    "message",
    [
        Gap(bytes(16), 0, 5, 5, 0, 1, Counts()),
        Gap(bytes(16), 0, 6, 5, 0, 1, Counts()),
        Gap(bytes(16), 0, 5, 9, 0, 1, Counts(4, 1, bad=3)),
        Gap(bytes(16), 0, 5, 9, 0, 1, Counts(4, bad=3)),
        EndLumisection(bytes(16), 1, 1, 0, 10, Counts(10, 9), 3, 4),
        EndLumisection(bytes(16), 1, 1, 4, 10, Counts(10, 10), 3, 4),
        EndRun(bytes(16), 1, 10, Counts(9, 9), 0, 0, bytes(8), "GOOD", ""),
    ],
)
def test_what_does_not_add_up_is_refused(message: FromProducer) -> None:
    with pytest.raises(MessageError, match="expected"):
        decode_from_producer([encode(message)])


def test_a_received_batch_can_not_be_written_to() -> None:
    _, frames = data_frames()
    batch, _ = decode_batch(header_of(frames), frames, 5)
    assert not batch.x.flags.writeable


@pytest.mark.parametrize("n_features", [4, 6])
def test_another_number_of_features_is_refused(n_features: int) -> None:
    _, frames = data_frames()
    with pytest.raises(MessageError, match=r"batch 9: expected .* bytes for the events"):
        decode_batch(header_of(frames), frames, n_features)


@given(st.data())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_flipped_bit_in_a_payload_is_noticed(data: st.DataObject) -> None:
    _, frames = data_frames(n_range=19, truth=True)
    header = header_of(frames)
    which = data.draw(st.sampled_from([1, 2, 3]))
    frame = bytearray(frames[which])
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    frames[which] = bytes(frame)
    with pytest.raises(MessageError):
        decode_batch(header, frames, 5)


@pytest.mark.parametrize(
    ("expected", "n_range", "truth"), [(2, 7, False), (3, 7, True), (3, 9, False), (4, 9, True)]
)
def test_a_wrong_number_of_frames_is_refused(expected: int, n_range: int, truth: bool) -> None:
    _, frames = data_frames(n_range=n_range, truth=truth)
    assert len(frames) == expected
    for n_frames in {1, 2, 3, 4, 5} - {expected}:
        with pytest.raises(MessageError, match=f"expected {expected} frames of Data"):
            decode_from_producer((frames * 3)[:n_frames])


def test_no_frames_are_no_message() -> None:
    with pytest.raises(MessageError, match="empty"):
        decode_from_producer([])


def test_a_header_above_four_kibibytes_is_refused() -> None:
    with pytest.raises(MessageError, match="at most 4096 bytes"):
        decode_from_consumer([bytes(MAX_HEADER_NBYTES + 1)])


BASE = {"type": "CREDIT", "epoch": bytes(16), "up_to": 3, "acknowledged": 1, "ended": False}


@pytest.mark.parametrize(
    "change",
    [
        {"up_to": -1},
        {"up_to": "3"},
        {"up_to": 3.0},
        {"up_to": 2**63},
        {"up_to": None},
        {"epoch": bytes(15)},
        {"type": "DEBIT"},
        {"extra": 1},
    ],
)
def test_a_field_outside_its_type_is_refused(change: dict[str, object]) -> None:
    assert decode_from_consumer([msgspec.msgpack.encode(BASE)])
    with pytest.raises(MessageError):
        decode_from_consumer([msgspec.msgpack.encode({**BASE, **change})])


def test_a_missing_field_is_refused() -> None:
    with pytest.raises(MessageError, match="acknowledged"):
        decode_from_consumer(
            [msgspec.msgpack.encode({k: v for k, v in BASE.items() if k != "acknowledged"})]
        )


def test_one_side_does_not_accept_what_only_the_other_may_say() -> None:
    with pytest.raises(MessageError):
        decode_from_producer([msgspec.msgpack.encode(BASE)])


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_any_bytes_give_a_message_or_an_error(frames: list[bytes]) -> None:
    for decode in (decode_from_producer, decode_from_consumer):
        with contextlib.suppress(MessageError):
            decode(frames)


def test_thousands_of_mutated_messages_give_a_message_or_an_error() -> None:
    rng = random.Random(20)
    _, data = data_frames(n_range=19, truth=True)
    begin = encode_begin(BEGIN)
    n_refused = 0
    for trial in range(6000):
        frames = list(data if trial % 2 else begin)
        for _ in range(rng.randint(1, 3)):
            which = rng.randrange(len(frames))
            frames[which] = mutated(rng, frames[which])
        try:
            message = decode_from_producer(frames)
            if isinstance(message, Data):
                decode_batch(message, frames, 5)
            elif isinstance(message, Begin):
                decode_begin(message, frames)
        except MessageError:
            n_refused += 1
    assert n_refused > 5000


def mutated(rng: random.Random, frame: bytes) -> bytes:
    changed = bytearray(frame)
    match rng.randrange(4):
        case 0 if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        case 1:
            changed = changed[: rng.randrange(len(changed) + 1)]
        case 2:
            changed.insert(rng.randrange(len(changed) + 1), rng.randrange(256))
        case _ if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


BEGIN = RunBegan(
    epoch="12" * 16,
    run=4,
    schema=LHCO,
    mode="realtime",
    seed=5,
    batch_events=512,
    n_events=None,
    has_truth=True,
    sources=(SourceFile("events.h5", 123, "ab" * 32),),
    config={"source": {"type": "standin", "seed": 1}, "list": [1, 2.5, None, "x"]},
)


@pytest.mark.parametrize(
    "begin",
    [
        BEGIN,
        replace(BEGIN, n_events=10, mode="lossless", sources=(), config={}),
        replace(BEGIN, schema=EventSchema((Feature("m", "TeV", 0, float("inf")),))),
    ],
)
def test_the_begin_of_run_arrives(begin: RunBegan) -> None:
    frames = encode_begin(begin)
    header = decode_from_producer(frames)
    assert isinstance(header, Begin)
    assert decode_begin(header, frames) == begin


def test_a_configuration_that_json_can_not_hold_is_refused() -> None:
    with pytest.raises(MessageError, match="plain JSON types"):
        encode_begin(replace(BEGIN, config={"rate": float("nan")}))


def test_a_huge_configuration_is_refused() -> None:
    with pytest.raises(MessageError, match="at most 1048576 bytes"):
        encode_begin(replace(BEGIN, config={"text": "x" * (1 << 20)}))


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{", b"null", b'{"schema":{}}', b"[" * 100_000],
)
def test_a_malformed_document_is_refused(document: bytes) -> None:
    frames = encode_begin(BEGIN)
    header = decode_from_producer(frames)
    assert isinstance(header, Begin)
    false = msgspec.structs.replace(header, document_hash=hash_of(document))
    with pytest.raises(MessageError):
        decode_begin(false, [encode(false), document])


def test_a_schema_that_does_not_match_its_fingerprint_is_refused() -> None:
    frames = encode_begin(BEGIN)
    document = frames[1].replace(LHCO.fingerprint().encode(), b"0" * 64)
    header = decode_from_producer(frames)
    assert isinstance(header, Begin)
    false = msgspec.structs.replace(header, document_hash=hash_of(document))
    with pytest.raises(MessageError, match="fingerprint"):
        decode_begin(false, [encode(false), document])


def test_the_running_digest_depends_on_every_batch_and_on_their_order() -> None:
    first, second = (header_of(data_frames(n=n)[1]) for n in (3, 4))
    start = bytes(8)
    assert extend_digest(extend_digest(start, first), second) != extend_digest(
        extend_digest(start, second), first
    )


def test_the_running_digest_depends_on_which_events_were_sent() -> None:
    header = header_of(data_frames(n=2, n_range=10)[1])
    for change in ({"present_hash": bytes(8)}, {"end_event": 111}, {"first_event": 99}):
        other = msgspec.structs.replace(header, **change)
        assert extend_digest(bytes(8), header) != extend_digest(bytes(8), other)


@pytest.mark.parametrize(
    ("place", "value"),
    [("low", "1" + "0" * 400), ("nbytes", "1e999"), ("nbytes", "NaN"), ("low", "[]")],
)
def test_numbers_that_no_type_holds_are_refused(place: str, value: str) -> None:
    """Found by fuzzing: they raise OverflowError, which is no ValueError."""
    run = RunBegan("ab" * 16, 1, LHCO, "lossless", sources=(SourceFile("a", 10, "00"),))
    header, document = encode_begin(run)
    old = b'"low":0.0' if place == "low" else b'["a",10,'
    new = old.replace(b"0.0", value.encode()).replace(b"10", value.encode())
    changed = document.replace(old, new, 1)
    assert changed != document
    message = msgspec.structs.replace(
        decode_from_producer([header, document]), document_hash=hash_of(changed)
    )
    with pytest.raises(MessageError) as caught:
        decode_begin(message, [encode(message), changed])
    assert caught.value.reason == "document"
