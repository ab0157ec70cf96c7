"""Messages and batches as bytes. Decoding is total: any bytes give a message or MessageError."""

import json
import struct
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
import xxhash

from streams.batch import Batch, Truth
from streams.errors import MessageError, SchemaError
from streams.messages import (
    MAX_DOCUMENT_NBYTES,
    MAX_HEADER_NBYTES,
    VERSION,
    Begin,
    Data,
    FromConsumer,
    FromProducer,
)
from streams.protocol import RunBegan
from streams.schema import EventSchema
from streams.source import SourceFile

Frames = list[bytes]
T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_from_producer: msgspec.msgpack.Decoder[FromProducer] = msgspec.msgpack.Decoder(FromProducer)
_from_consumer: msgspec.msgpack.Decoder[FromConsumer] = msgspec.msgpack.Decoder(FromConsumer)
_LITTLE_FLOAT = np.dtype("<f4")
_digest_link = struct.Struct("<8s8sQQ")


def hash_of(payload: bytes) -> bytes:
    """Returns the XXH3-64 of a payload, 8 bytes."""
    return xxhash.xxh3_64_digest(payload)


def extend_digest(digest: bytes, data: Data) -> bytes:
    """Returns the running digest with one more batch: a chain over payload hashes and positions."""
    return hash_of(_digest_link.pack(digest, data.payload_hash, data.first_event, data.n))


def encode(message: FromProducer | FromConsumer) -> bytes:
    """Returns a message's header frame."""
    return _encoder.encode(message)


def decode_from_producer(frames: Sequence[bytes]) -> FromProducer:
    """Returns the message whose header is the first frame; further frames are only counted.

    Raises:
        MessageError: the frames aren't a message that a producer sends.
    """
    message = _decode(frames, _from_producer)
    match message:
        case Data():
            expected = 2 if message.truth_hash is None else 3
        case Begin():
            expected = 2
        case _:
            expected = 1
    if len(frames) != expected:
        raise MessageError(
            f"expected {expected} frames of {type(message).__name__}; got {len(frames)}"
        )
    return message


def decode_from_consumer(frames: Sequence[bytes]) -> FromConsumer:
    """Returns the message in a single frame.

    Raises:
        MessageError: the frames aren't a message that a consumer sends.
    """
    message = _decode(frames, _from_consumer)
    if len(frames) != 1:
        raise MessageError(f"expected 1 frame of {type(message).__name__}; got {len(frames)}")
    return message


def _decode(frames: Sequence[bytes], decoder: "msgspec.msgpack.Decoder[T]") -> T:
    if not frames:
        raise MessageError("expected a header frame; got an empty message")
    if len(frames[0]) > MAX_HEADER_NBYTES:
        raise MessageError(
            f"expected a header of at most {MAX_HEADER_NBYTES} bytes; got {len(frames[0])}"
        )
    try:
        return decoder.decode(frames[0])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # Not all of msgspec's complaints are its own: a damaged string is a UnicodeDecodeError.
        raise MessageError(f"expected a message of protocol {VERSION}; got {error}") from error


def payload_of(batch: Batch) -> bytes:
    """Returns a batch's features as they travel: little-endian float32, row by row."""
    return batch.x.astype(_LITTLE_FLOAT, copy=False).tobytes()


def decode_batch(
    data: Data, frames: Sequence[bytes], n_features: int
) -> tuple[Batch, Truth | None]:
    """Returns the events, and the truth where it came along, as read-only views of the frames.

    Args:
        data: the header, as `decode_from_producer` returned it.
        frames: the whole message, header first.
        n_features: d, as the run's schema says.

    Raises:
        MessageError: a frame has the wrong size or its hash differs.
    """
    payload = frames[1]
    expected = 4 * data.n * n_features
    if len(payload) != expected:
        raise MessageError(
            f"batch {data.batch}: expected {expected} bytes for {data.n} events of {n_features} "
            f"features; got {len(payload)}"
        )
    if hash_of(payload) != data.payload_hash:
        raise MessageError(f"batch {data.batch}: the events' hash differs: damaged on the way")
    x = np.frombuffer(payload, dtype=_LITTLE_FLOAT).reshape(data.n, n_features)
    batch = Batch(x.astype(np.float32, copy=False), data.first_event, data.run, data.lumisection)
    if data.truth_hash is None:
        return batch, None
    labels = frames[2]
    if len(labels) != data.n or hash_of(labels) != data.truth_hash:
        raise MessageError(f"batch {data.batch}: the truth frame is damaged")
    return batch, Truth(np.frombuffer(labels, dtype=np.uint8), data.first_event)


def encode_begin(begin: RunBegan) -> Frames:
    """Returns the frames of BOR: header and document.

    Raises:
        MessageError: the configuration is too large or not made of plain JSON types.
    """
    try:
        document = json.dumps(
            {
                "schema": begin.schema.to_dict(),
                "fingerprint": begin.schema.fingerprint(),
                "sources": [[s.name, s.nbytes, s.sha256] for s in begin.sources],
                "config": begin.config,
            },
            separators=(",", ":"),
            allow_nan=False,
        ).encode()
    except (TypeError, ValueError) as error:
        raise MessageError(f"expected a configuration of plain JSON types; {error}") from error
    if len(document) > MAX_DOCUMENT_NBYTES:
        raise MessageError(
            f"expected a begin-of-run document of at most {MAX_DOCUMENT_NBYTES} bytes; "
            f"got {len(document)}"
        )
    header = Begin(
        version=VERSION,
        epoch=bytes.fromhex(begin.epoch),
        run=begin.run,
        mode=begin.mode,
        seed=begin.seed,
        batch_events=begin.batch_events,
        n_events=begin.n_events,
        has_truth=begin.has_truth,
        document_hash=hash_of(document),
    )
    try:
        return [encode(header), document]
    except OverflowError as error:
        raise MessageError(f"expected a message of protocol {VERSION}; got {error}") from error


def decode_begin(header: Begin, frames: Sequence[bytes]) -> RunBegan:
    """Returns the run that BOR announces.

    Raises:
        MessageError: the document is damaged, malformed or contradicts its fingerprint.
    """
    document = _document(header, frames[1])
    try:
        schema = EventSchema.from_dict(document["schema"])
        if schema.fingerprint() != document["fingerprint"]:
            raise MessageError("begin of run: the schema doesn't have the fingerprint it claims")
        config = document["config"]
        if not isinstance(config, dict):
            raise MessageError("begin of run: expected the configuration to be a table")
        return RunBegan(
            epoch=header.epoch.hex(),
            run=header.run,
            schema=schema,
            mode=header.mode,
            seed=header.seed,
            batch_events=header.batch_events,
            n_events=header.n_events,
            has_truth=header.has_truth,
            sources=tuple(SourceFile(str(n), int(b), str(h)) for n, b, h in document["sources"]),
            config=config,
        )
    except (KeyError, TypeError, ValueError, SchemaError) as error:
        raise MessageError(f"begin of run: malformed document: {error!r}") from error


def _document(header: Begin, frame: bytes) -> dict[str, Any]:
    if len(frame) > MAX_DOCUMENT_NBYTES or hash_of(frame) != header.document_hash:
        raise MessageError("begin of run: the document is too large or damaged on the way")
    try:
        document = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"begin of run: expected a JSON document; {error}") from error
    if not isinstance(document, dict):
        raise MessageError("begin of run: expected a JSON table")
    return document
