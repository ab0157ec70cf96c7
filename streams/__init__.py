"""The wire: what a batch is, how it is carried, and how every event is accounted for.

The sockets are in `streams.transport`, which is not imported here: most of what learns or reads
needs batches and schemas only.
"""

from streams.array_source import ArraySource
from streams.batch import Batch, Truth
from streams.consumer_ledger import ConsumerLedger
from streams.errors import (
    InputError,
    LedgerError,
    MessageError,
    ProtocolError,
    RefusedError,
    SchemaError,
    SecurityError,
    StreamError,
    TransportError,
)
from streams.ledger import Balance, ProducerLedger
from streams.messages import Condition, Counts
from streams.protocol import (
    BatchReceived,
    EventsLost,
    GapReceived,
    Incoming,
    LumisectionEnded,
    Position,
    RunBegan,
    RunEnded,
)
from streams.schema import LHCO, EventSchema, Feature
from streams.settings import Mode, SecurityConfig, WireConfig
from streams.source import Events, Sink, Source, SourceFile, Status, why_not_finite

__all__ = [
    "LHCO",
    "ArraySource",
    "Balance",
    "Batch",
    "BatchReceived",
    "Condition",
    "ConsumerLedger",
    "Counts",
    "EventSchema",
    "Events",
    "EventsLost",
    "Feature",
    "GapReceived",
    "Incoming",
    "InputError",
    "LedgerError",
    "LumisectionEnded",
    "MessageError",
    "Mode",
    "Position",
    "ProducerLedger",
    "ProtocolError",
    "RefusedError",
    "RunBegan",
    "RunEnded",
    "SchemaError",
    "SecurityConfig",
    "SecurityError",
    "Sink",
    "Source",
    "SourceFile",
    "Status",
    "StreamError",
    "TransportError",
    "Truth",
    "WireConfig",
    "why_not_finite",
]
