"""Everything that can go wrong on the wire and at its edges.

::

    StreamError
    ├── SchemaError          a schema is malformed, or two schemas differ
    ├── InputError           a file or stream of events is not what it should be
    ├── ProtocolError        a peer said something that the protocol forbids
    │   ├── MessageError     bytes that are not a valid message
    │   └── RefusedError     the other side refused us, with its reason
    ├── TransportError       a socket could not be opened, or the peer is gone
    ├── SecurityError        keys are missing, malformed or open to others
    ├── DownloadError        a server doesn't send a file, or sends another one
    └── LedgerError          the accounts of the two sides do not balance

Every message says what was expected, what was found, where, and what to do.
"""

import difflib
from collections.abc import Iterable


class StreamError(Exception):
    """Root of the tree; catch it at the top of a process only."""


class SchemaError(StreamError):
    """A schema is malformed, or two schemas differ."""


class InputError(StreamError):
    """A file or stream of events is not what it should be; the user's input is at fault."""


class ProtocolError(StreamError):
    """A peer said something that the protocol forbids."""


class MessageError(ProtocolError):
    """Bytes from the wire are not a valid message.

    Attributes:
        reason: in a word, for counting.
    """

    def __init__(self, text: str, reason: str = "header") -> None:
        super().__init__(text)
        self.reason = reason


class RefusedError(ProtocolError):
    """The other side refused us; the message carries its reason."""


class TransportError(StreamError):
    """A socket could not be opened, or the peer is gone."""


class SecurityError(StreamError):
    """Keys are missing, malformed or open to others; nothing was opened."""


class DownloadError(StreamError):
    """A server doesn't send a file, or sends another one than it should."""


class LedgerError(StreamError):
    """The accounts of the two sides do not balance."""


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> str:
    """Returns the known names closest to an unknown one, ready to end an error message.

    Example:
        >>> nearest("mass_j1", ["mj1", "massj1", "label"])
        "nearest known: 'massj1', 'mj1'"
        >>> nearest("x", [])
        'none are known'
    """
    names = sorted(set(known))
    if not names:
        return "none are known"
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.6)
    if close:
        return "nearest known: " + ", ".join(repr(n) for n in close)
    shown = ", ".join(repr(n) for n in names[:20])
    return "known: " + shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
