"""The wire: what a batch is, how it is carried, and how every event is accounted for."""

from streams.batch import Batch, Truth
from streams.errors import (
    InputError,
    LedgerError,
    MessageError,
    ProtocolError,
    RefusedError,
    SchemaError,
    StreamError,
    TransportError,
)
from streams.schema import LHCO, EventSchema, Feature
from streams.source import Events, Sink, Source, SourceFile, Status

__all__ = [
    "LHCO",
    "Batch",
    "EventSchema",
    "Events",
    "Feature",
    "InputError",
    "LedgerError",
    "MessageError",
    "ProtocolError",
    "RefusedError",
    "SchemaError",
    "Sink",
    "Source",
    "SourceFile",
    "Status",
    "StreamError",
    "TransportError",
    "Truth",
]
