"""Bytes to messages and back: what was said arrives, and nothing else is believed."""

import contextlib
import random
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams import LHCO, Batch, EventSchema, Feature, MessageError, RunBegan, SourceFile
from streams.codec import (
    decode_batch,
    decode_begin,
    decode_from_consumer,
    decode_from_producer,
    encode,
    encode_begin,
    extend_digest,
    hash_of,
    payload_of,
)
from streams.messages import (
    MAX_HEADER_NBYTES,
    Begin,
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

FROM_PRODUCER = [Welcome, Begin, Data, Gap, EndLumisection, EndRun, Ping, Refusal]
FROM_CONSUMER = [Hello, Credit, Nack, Pong, Bye]


def strategy(kind: type) -> st.SearchStrategy:
    """Any valid message of a kind, made from its own types and constraints."""
    return st.fixed_dictionaries(
        {f.name: of_type(msgspec.inspect.type_info(f.type)) for f in msgspec.structs.fields(kind)}
    ).map(lambda fields: kind(**fields))


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
        case msgspec.inspect.StructType(cls=cls):
            return strategy(cls)
    raise NotImplementedError(info)


def frames_of(message: FromProducer) -> list[bytes]:
    match message:
        case Begin() | Data(truth_hash=None):
            return [encode(message), b""]
        case Data():
            return [encode(message), b"", b""]
    return [encode(message)]


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
    *, n: int = 7, truth: bool = False, schema: EventSchema = LHCO
) -> tuple[Batch, list[bytes]]:
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, schema.n_features)).astype(np.float32)
    batch = Batch(x, 100, 3, 2)
    payload = payload_of(batch)
    labels = (rng.random(n) < 0.5).astype(np.uint8).tobytes()
    header = Data(
        epoch=bytes(16),
        batch=9,
        first_event=100,
        closed_event=50,
        n=n,
        run=3,
        lumisection=2,
        sent_ns=1,
        sent_monotonic_ns=2,
        payload_hash=hash_of(payload),
        truth_hash=hash_of(labels) if truth else None,
    )
    return batch, [encode(header), payload] + ([labels] if truth else [])


def header_of(frames: list[bytes]) -> Data:
    message = decode_from_producer(frames)
    assert isinstance(message, Data)
    return message


@given(st.integers(1, 300), st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_batch_arrives_bit_by_bit(n: int, truth: bool) -> None:
    sent, frames = data_frames(n=n, truth=truth)
    batch, labels = decode_batch(header_of(frames), frames, 5)
    assert batch.x.tobytes() == sent.x.tobytes()
    assert (batch.first_event, batch.run, batch.lumisection) == (100, 3, 2)
    assert (labels is not None) == truth
    assert labels is None or (labels.label.tobytes(), labels.first_event) == (frames[2], 100)


def test_nan_infinity_and_denormals_arrive_as_they_are() -> None:
    x = np.array([[np.nan, np.inf, -np.inf, 1e-45, -0.0]], dtype=np.float32)
    payload = payload_of(Batch(x, 0, 1, 1))
    _, frames = data_frames(n=1)
    header = msgspec.structs.replace(header_of(frames), payload_hash=hash_of(payload))
    batch, _ = decode_batch(header, [encode(header), payload], 5)
    assert batch.x.tobytes() == x.tobytes()


def test_a_received_batch_can_not_be_written_to() -> None:
    _, frames = data_frames()
    batch, _ = decode_batch(header_of(frames), frames, 5)
    assert not batch.x.flags.writeable


@pytest.mark.parametrize("n_features", [4, 6])
def test_another_number_of_features_is_refused(n_features: int) -> None:
    _, frames = data_frames()
    with pytest.raises(MessageError, match="for 7 events of"):
        decode_batch(header_of(frames), frames, n_features)


@given(st.data())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_flipped_bit_in_a_payload_is_noticed(data: st.DataObject) -> None:
    _, frames = data_frames(truth=True)
    header = header_of(frames)
    which = data.draw(st.sampled_from([1, 2]))
    frame = bytearray(frames[which])
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    frames[which] = bytes(frame)
    with pytest.raises(MessageError):
        decode_batch(header, frames, 5)


@pytest.mark.parametrize("n_frames", [1, 3, 4])
def test_a_wrong_number_of_frames_is_refused(n_frames: int) -> None:
    _, frames = data_frames()
    with pytest.raises(MessageError, match="expected 2 frames of Data"):
        decode_from_producer((frames * 2)[:n_frames])


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
    _, data = data_frames(truth=True)
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
    forged = msgspec.structs.replace(header, document_hash=hash_of(document))
    with pytest.raises(MessageError):
        decode_begin(forged, [encode(forged), document])


def test_a_schema_that_does_not_match_its_fingerprint_is_refused() -> None:
    frames = encode_begin(BEGIN)
    document = frames[1].replace(LHCO.fingerprint().encode(), b"0" * 64)
    header = decode_from_producer(frames)
    assert isinstance(header, Begin)
    forged = msgspec.structs.replace(header, document_hash=hash_of(document))
    with pytest.raises(MessageError, match="fingerprint"):
        decode_begin(forged, [encode(forged), document])


def test_the_running_digest_depends_on_every_batch_and_on_their_order() -> None:
    first, second = (header_of(data_frames(n=n)[1]) for n in (3, 4))
    start = bytes(8)
    assert extend_digest(extend_digest(start, first), second) != extend_digest(
        extend_digest(start, second), first
    )
