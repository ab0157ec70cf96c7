"""Messages and batches as bytes. Decoding is total: any bytes give a message or MessageError."""

import json
import struct
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from streams.batch import Batch, Truth
from streams.errors import MessageError, SchemaError
from streams.messages import (
    MAX_DOCUMENT_NBYTES,
    MAX_HEADER_NBYTES,
    VERSION,
    Begin,
    Data,
    EndLumisection,
    EndRun,
    FromConsumer,
    FromProducer,
    Gap,
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
_NO_HASH = bytes(8)
_digest_link = struct.Struct("<8s8s8sQQ")


def hash_of(payload: bytes) -> bytes:
    """Returns the XXH3-64 of a payload, 8 bytes."""
    return xxhash.xxh3_64_digest(payload)


def extend_digest(digest: bytes, data: Data) -> bytes:
    """Returns the running digest with one more batch: a chain over hashes and ranges."""
    present_hash = data.present_hash or _NO_HASH
    return hash_of(
        _digest_link.pack(digest, data.payload_hash, present_hash, data.first_event, data.end_event)
    )


def encode(message: FromProducer | FromConsumer) -> bytes:
    """Returns a message's header frame."""
    return _encoder.encode(message)


def decode_from_producer(frames: Sequence[bytes]) -> FromProducer:
    """Returns the message whose header is the first frame; further frames are only counted.

    Raises:
        MessageError: the frames aren't a message that a producer sends, or its counts don't add
            up to its range.
    """
    message = _decode(frames, _from_producer)
    expected = 1
    match message:
        case Data():
            expected = 2 + (message.present_hash is not None) + (message.truth_hash is not None)
            _require_counts(message, message.first_event, sends=True)
        case Gap():
            _require_counts(message, message.first_event, sends=False)
        case EndLumisection():
            _require_counts(message, message.first_event)
        case EndRun():
            _require_counts(message, 0)
        case Begin():
            expected = 2
        case _:
            pass
    if len(frames) != expected:
        raise MessageError(
            f"expected {expected} frames of {type(message).__name__}; got {len(frames)}", "frames"
        )
    return message


def _require_counts(
    message: Data | Gap | EndLumisection | EndRun, first_event: int, *, sends: bool | None = None
) -> None:
    """Raises MessageError unless counts add up; `sends`: whether some, or none, must be sent."""
    counts, end_event = message.counts, message.end_event
    if not counts.cover(first_event, end_event):
        raise MessageError(
            f"expected counts that add up to events [{first_event}, {end_event}); got {counts}",
            "counts",
        )
    if sends is not None and (counts.generated == 0 or (counts.sent > 0) != sends):
        raise MessageError(
            f"expected {'some events that are sent' if sends else 'events, none of them sent'} in "
            f"{type(message).__name__}; got {counts}",
            "counts",
        )


def decode_from_consumer(frames: Sequence[bytes]) -> FromConsumer:
    """Returns the message in a single frame.

    Raises:
        MessageError: the frames aren't a message that a consumer sends.
    """
    message = _decode(frames, _from_consumer)
    if len(frames) != 1:
        raise MessageError(
            f"expected 1 frame of {type(message).__name__}; got {len(frames)}", "frames"
        )
    return message


def _decode(frames: Sequence[bytes], decoder: "msgspec.msgpack.Decoder[T]") -> T:
    if not frames:
        raise MessageError("expected a header frame; got an empty message", "frames")
    if len(frames[0]) > MAX_HEADER_NBYTES:
        raise MessageError(
            f"expected a header of at most {MAX_HEADER_NBYTES} bytes; got {len(frames[0])}",
            "large header",
        )
    try:
        return decoder.decode(frames[0])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # Not all of msgspec's complaints are its own: a damaged string is a UnicodeDecodeError.
        raise MessageError(f"expected a message of protocol {VERSION}; got {error}") from error


def encode_batch(header: Data, batch: Batch, truth: Truth | None) -> tuple[Data, Frames]:
    """Returns a batch's frames and its header as sent, which carries their hashes.

    Args:
        header: everything about the batch; its hashes are filled in here.
        batch: the events.
        truth: their labels; None to leave them out.
    """
    # Features travel as little-endian float32, row by row.
    payload = batch.x.astype(_LITTLE_FLOAT, copy=False).tobytes()
    present = None if batch.present is None else batch.present.tobytes()
    labels = None if truth is None else truth.label.tobytes()
    header = msgspec.structs.replace(
        header,
        payload_hash=hash_of(payload),
        present_hash=None if present is None else hash_of(present),
        truth_hash=None if labels is None else hash_of(labels),
    )
    frames = [encode(header), payload, present, labels]
    return header, [frame for frame in frames if frame is not None]


def decode_batch(
    data: Data, frames: Sequence[bytes], n_features: int
) -> tuple[Batch, Truth | None]:
    """Returns the events, and the truth where it came along, as read-only views of the frames.

    Args:
        data: the header, as `decode_from_producer` returned it.
        frames: the whole message, header first.
        n_features: d, as the run's schema says.

    Raises:
        MessageError: a frame has the wrong size, its hash differs, or the bits aren't those of
            the rows.
    """
    n = data.counts.sent
    payload = _checked(frames[1], data.payload_hash, 4 * n * n_features, data, "events")
    x: NDArray[np.float32] = np.ndarray((n, n_features), _LITTLE_FLOAT, payload)
    if not _LITTLE_FLOAT.isnative:
        x = x.astype(np.float32)
    present = None
    if data.present_hash is not None:
        nbytes = -(-data.counts.generated // 8)
        bits = _checked(frames[2], data.present_hash, nbytes, data, "bits")
        present = np.frombuffer(bits, dtype=np.uint8)
    truth = None
    if data.truth_hash is not None:
        labels = _checked(frames[-1], data.truth_hash, n, data, "truth labels")
        truth = Truth(np.frombuffer(labels, dtype=np.uint8))
    try:
        batch = Batch(x, data.first_event, data.end_event, data.run, data.lumisection, present)
    except SchemaError as error:
        raise MessageError(f"batch {data.batch}: {error}", "bits") from error
    return batch, truth


def _checked(frame: bytes, expected_hash: bytes, nbytes: int, data: Data, what: str) -> bytes:
    """Returns a raw frame; raises MessageError unless it has its size and hash."""
    if len(frame) != nbytes:
        raise MessageError(
            f"batch {data.batch}: expected {nbytes} bytes for the {what} of {data.counts}; "
            f"got {len(frame)}",
            "size",
        )
    if hash_of(frame) != expected_hash:
        raise MessageError(f"batch {data.batch}: the hash of the {what} differs: damaged", "hash")
    return frame


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
            raise MessageError(
                "begin of run: the schema doesn't have the fingerprint it claims", "document"
            )
        config = document["config"]
        if not isinstance(config, dict):
            raise MessageError("begin of run: expected the configuration to be a table", "document")
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
    except (KeyError, TypeError, ValueError, OverflowError, SchemaError) as error:
        raise MessageError(f"begin of run: malformed: {error!r}", "document") from error


def _document(header: Begin, frame: bytes) -> dict[str, Any]:
    if len(frame) > MAX_DOCUMENT_NBYTES or hash_of(frame) != header.document_hash:
        raise MessageError("begin of run: the document is too large or damaged", "hash")
    try:
        document = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"begin of run: expected JSON; {error}", "document") from error
    if not isinstance(document, dict):
        raise MessageError("begin of run: expected a JSON table", "document")
    return document
