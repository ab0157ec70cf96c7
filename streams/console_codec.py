"""Requests, replies and telemetry as bytes. Decoding is total: a document, or MessageError."""

from typing import Any, TypeVar

import msgspec

from streams.control import MAX_NBYTES, Reply, Request
from streams.errors import MessageError
from streams.telemetry import Telemetry

T = TypeVar("T")

MAX_TELEMETRY_NBYTES = 1 << 20
"""No document is longer: histories, alarms and histograms are of fixed length."""

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
_telemetry: msgspec.msgpack.Decoder[Telemetry] = msgspec.msgpack.Decoder(Telemetry)


def encode(document: Request | Reply | Telemetry) -> bytes:
    """Returns a document as MessagePack."""
    return _encoder.encode(document)


def decode_request(frame: bytes) -> Request:
    """Returns what an operator asks for.

    Raises:
        MessageError: the bytes aren't a request.
    """
    return _decode(frame, _requests, "a request", MAX_NBYTES)


def decode_reply(frame: bytes) -> Reply:
    """Returns what a daemon answers.

    Raises:
        MessageError: the bytes aren't a reply.
    """
    return _decode(frame, _replies, "a reply", MAX_TELEMETRY_NBYTES)


def decode_telemetry(frame: bytes) -> Telemetry:
    """Returns what a daemon says of itself.

    Raises:
        MessageError: the bytes aren't telemetry of this version.
    """
    return _decode(frame, _telemetry, "telemetry", MAX_TELEMETRY_NBYTES)


def plain(document: Telemetry) -> dict[str, Any]:
    """Returns a document as plain JSON types."""
    built: dict[str, Any] = msgspec.to_builtins(document)
    return built


def _decode(frame: bytes, decoder: "msgspec.msgpack.Decoder[T]", what: str, max_nbytes: int) -> T:
    if len(frame) > max_nbytes:
        raise MessageError(f"expected {what} of at most {max_nbytes} bytes; got {len(frame)}")
    try:
        return decoder.decode(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MessageError(f"expected {what}; got {error}") from error
