"""Who may speak on the wire: CURVE keys on both sockets, an allow-list, and a count of refusals.

The producer's socket holds a secret key, and admits the consumers whose public keys are in its
allow-list; a consumer believes only the producer whose public key it was given. libzmq asks for
each new connection through a ZAP socket (https://rfc.zeromq.org/spec/27); the question is
answered in the loop that owns the producer's socket, so there is no thread and no lock. A key that
is taken off the list is heard no more, even over the connection that it has.
"""

import logging
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import zmq
import zmq.utils.z85

from streams.errors import SecurityError
from streams.keyfiles import KEY_NBYTES, read_allowed, read_public, read_secret
from streams.settings import SecurityConfig, WireConfig

logger = logging.getLogger(__name__)

DOMAIN = b"onlineflows"
"""The one ZAP domain: a handler that answers for another one is not asked."""

ZAP_ADDRESS = "inproc://zeromq.zap.01"
ZAP_VERSION = b"1.0"

ATTEND_S = 0.02
"""How often, at least, whoever knocks is looked after."""

REREAD_S = 1.0
"""How often the allow-list is looked at."""

LOG_S = 60.0
"""Refusals for one reason are logged at once and then no more often than this."""

RETRY_S = 1.0
"""How long a consumer waits that was refused; libzmq itself would never try again."""

EVENTS_PER_VISIT = 1000

PASSED = "passed"
REFUSED = "refused"
_COUNTED = (PASSED, REFUSED)
"""Ends of a handshake that are no news to the gate."""

_HANDSHAKES = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
_POLLIN = int(zmq.POLLIN)
_event = struct.Struct("=HI")

Context = zmq.Context["zmq.Socket[bytes]"]
Socket = zmq.Socket[bytes]


class Guard:
    """Watches over the producer's socket; make it before the socket is bound.

    Args:
        context: the socket's context.
        socket: the producer's socket.
        wire: address and keys.
        now: the time in seconds of any clock that never goes back.

    Raises:
        SecurityError: a key or the allow-list is missing or can't be used.
    """

    def __init__(self, context: Context, socket: Socket, wire: WireConfig, now: float) -> None:
        security = wire.security
        self._refused: Counter[str] = Counter()
        self._log = _SparseLog()
        self._gate: _Gate | None = None
        if security.producer_secret or security.allowed:
            self._gate = _Gate(context, _producer_keys(socket, security), now)
        elif security.has_keys:
            _producer_keys(socket, security)  # says what is missing
        elif security.insecure:
            logger.warning(
                "INSECURE: no keys at %s: whoever reaches it can read the events and end the run",
                wire.address,
            )
        socket.setsockopt(zmq.MAXMSGSIZE, security.max_request_nbytes)
        self._handshakes = _Handshakes(context, socket)
        self._attended = now - ATTEND_S

    @property
    def sockets(self) -> tuple[Socket, ...]:
        """What to wait for besides the guarded socket."""
        handshakes = self._handshakes.socket
        return (handshakes,) if self._gate is None else (self._gate.socket, handshakes)

    @property
    def refusals(self) -> Mapping[str, int]:
        """How many connections were refused, or messages of revoked keys dropped, by reason."""
        silent = self._handshakes.n_silent
        return dict(self._refused) | ({"no handshake": silent} if silent else {})

    def attend(self, now: float) -> None:
        """Answers whoever knocks; call it in every turn of the loop, it mostly does nothing."""
        if 0 <= now - self._attended < ATTEND_S:
            return
        self._attended = now
        reasons: list[tuple[str, str]] = []
        if self._gate is not None:
            reasons += self._gate.answer(now)
        reasons += [found for found in self._handshakes.read() if found[0] not in _COUNTED]
        for reason, detail in reasons:
            self._refused[reason] += 1
            self._log.refused(reason, detail, self._refused[reason], now)

    def hurry(self) -> None:
        """Makes the next `attend` look, however recent the last was."""
        self._attended = -float("inf")

    def admits(self, message: Sequence[zmq.Frame], now: float) -> bool:
        """Returns whether the sender of a message that has arrived is on the list still."""
        if self._gate is None or self._gate.admits(message[-1]):
            return True
        self._refused["revoked"] += 1
        detail = "a consumer whose key was taken off the list goes on sending"
        self._log.refused("revoked", detail, self._refused["revoked"], now)
        return False

    @property
    def is_on(self) -> bool:
        """Whether keys are asked for."""
        return self._gate is not None

    def close(self, socket: Socket) -> None:
        """Closes the guarded socket and everything that watched over it, in this order."""
        self._handshakes.stop(socket)
        if not socket.closed:
            socket.close()
        self._handshakes.socket.close()
        if self._gate is not None:
            self._gate.socket.close()


class Knock:
    """A consumer's keys on its socket, and what becomes of its handshakes; make it first.

    Args:
        context: the socket's context.
        socket: the consumer's socket.
        wire: address and keys.

    Raises:
        SecurityError: a key is missing or can't be used.
    """

    def __init__(self, context: Context, socket: Socket, wire: WireConfig) -> None:
        self._address = wire.address
        self._public = _consumer_keys(socket, wire.security)
        self._handshakes = _Handshakes(context, socket)
        self._log = _SparseLog()
        self._retry_at: float | None = None
        self._attended = -float("inf")
        self._n_refused = 0
        self.hint = ""
        """Why the producer can't be spoken to, and what to do; empty when it can."""

    def attend(self, socket: Socket, now: float) -> None:
        """Tries again where the producer refused; call it in every turn of the loop."""
        if 0 <= now - self._attended < ATTEND_S:
            return
        self._attended = now
        for reason, _ in self._handshakes.read():
            if reason == PASSED:
                self.hint, self._retry_at = "", None
                continue
            self._n_refused += 1
            self.hint = self._hint(reason)
            self._log.refused(reason, self.hint, self._n_refused, now)
            if self._retry_at is None:
                self._retry_at = now + RETRY_S
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            try:
                socket.disconnect(self._address)
            except zmq.ZMQError:
                logger.debug("no connection to %s to give up", self._address)
            socket.connect(self._address)

    def close(self, socket: Socket) -> None:
        """Closes the socket and what watched it."""
        self._handshakes.stop(socket)
        if not socket.closed:
            socket.close()
        self._handshakes.socket.close()

    def _hint(self, reason: str) -> str:
        if reason == REFUSED:
            return (
                "the producer does not know this consumer's key; on its machine: "
                f"onlineflows keys allow <its allow-list> {self._public.hex()}"
            )
        if self._public:
            return (
                "the handshake fails: wire.security.producer_public is not that producer's key, "
                "or the producer uses no keys"
            )
        return "the handshake fails: the producer may want keys; name them in [wire.security]"


class _Gate:
    """The allow-list and the socket through which libzmq asks about it."""

    def __init__(self, context: Context, allowed: Path, now: float) -> None:
        self._path = allowed
        self._allowed = read_allowed(allowed)
        self._stamp = _stamp(allowed)
        self._looked = now
        if not self._allowed:
            logger.warning("%s is empty: no consumer will be admitted until it has a key", allowed)
        self.socket: Socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ZAP_ADDRESS)

    def answer(self, now: float) -> Iterator[tuple[str, str]]:
        """Answers the questions that have come; yields reason and detail of each refusal."""
        if not 0 <= now - self._looked < REREAD_S:
            self._looked = now
            self._reread()
        for _ in range(EVENTS_PER_VISIT):
            if not int(self.socket.getsockopt(zmq.EVENTS)) & _POLLIN:
                return
            request = self.socket.recv_multipart()
            refusal, user = self.judge(request)
            request_id = request[1] if len(request) > 1 else b""
            status, text = (b"400", refusal[0].encode()) if refusal else (b"200", b"OK")
            self.socket.send_multipart([ZAP_VERSION, request_id, status, text, user, b""])
            if refusal:
                yield refusal

    def judge(self, request: list[bytes]) -> tuple[tuple[str, str] | None, bytes]:
        """Returns why a connection is refused, None where it isn't, and its user."""
        if len(request) < 6 or request[0] != ZAP_VERSION:
            return ("malformed request", ""), b""
        _, _, domain, address, _, mechanism, *credentials = request
        where = address.decode(errors="replace")
        if domain != DOMAIN:
            return ("other domain", f"{domain!r} from {where}"), b""
        if mechanism != b"CURVE" or len(credentials) != 1 or len(credentials[0]) != KEY_NBYTES:
            return ("other mechanism", f"{mechanism!r} from {where}"), b""
        key = credentials[0]
        if key not in self._allowed:
            return ("unknown key", f"{key.hex()} from {where}"), b""
        return None, key.hex().encode()

    def admits(self, frame: zmq.Frame) -> bool:
        """Returns whether the sender of a frame is on the list now."""
        try:
            user = str(frame.get("User-Id"))
        except zmq.ZMQError:
            return False
        return bytes.fromhex(user) in self._allowed

    def _reread(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._allowed = read_allowed(self._path)
        except SecurityError as error:
            logger.error("the allow-list stays as it was: %s", error)
        else:
            logger.info("%s: %d keys are admitted now", self._path, len(self._allowed))


class _Handshakes:
    """What libzmq reports of handshakes on a socket."""

    def __init__(self, context: Context, watched: Socket) -> None:
        self.socket: Socket = context.socket(zmq.PAIR)
        self.socket.setsockopt(zmq.LINGER, 0)
        # Without a mark: libzmq's I/O thread must never wait for this loop.
        self.socket.setsockopt(zmq.RCVHWM, 0)
        address = f"inproc://handshakes.{id(self)}"
        watched.monitor(address, _HANDSHAKES)
        self.socket.connect(address)
        self._n_accepted = 0
        self._n_settled = 0

    @property
    def n_silent(self) -> int:
        """Connections that came and neither passed nor failed a handshake: not ZeroMQ, or new."""
        return max(0, self._n_accepted - self._n_settled)

    def read(self) -> Iterator[tuple[str, str]]:
        """Yields how each handshake ended: `PASSED`, or the reason why it failed, and details."""
        for _ in range(EVENTS_PER_VISIT):
            if not int(self.socket.getsockopt(zmq.EVENTS)) & _POLLIN:
                return
            kind, value = _event.unpack(self.socket.recv_multipart()[0])
            if kind == zmq.EVENT_ACCEPTED:
                self._n_accepted += 1
                continue
            self._n_settled += 1
            if kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                yield PASSED, ""
            elif kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                yield REFUSED, ""
            elif value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
                yield "no keys", "a peer without keys, or one with keys where none are used"
            elif value == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC:
                yield "wrong producer key", "a peer that expects another producer"
            else:
                yield "broken handshake", f"code {value:#x}"

    def stop(self, watched: Socket) -> None:
        """Stops the reports; then close the socket, or the context would never end."""
        if not watched.closed:
            watched.disable_monitor()


class _SparseLog:
    """Says at once that somebody was refused, and then only now and then."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def refused(self, reason: str, detail: str, n: int, now: float) -> None:
        if now - self._last.get(reason, -float("inf")) >= LOG_S:
            self._last[reason] = now
            logger.warning("refused (%s): %s", reason, detail, extra={"n_refused": n})


def _producer_keys(socket: Socket, security: SecurityConfig) -> Path:
    """Puts the producer's key onto its socket; returns the allow-list."""
    _require(security, "producer", "producer_secret", "allowed")
    secret = read_secret(Path(security.producer_secret).expanduser(), "curve")
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    return Path(security.allowed).expanduser()


def _consumer_keys(socket: Socket, security: SecurityConfig) -> bytes:
    """Puts a consumer's keys onto its socket; returns its public one, empty without keys."""
    if not security.has_keys:
        return b""
    _require(security, "consumer", "consumer_secret", "producer_public")
    secret = read_secret(Path(security.consumer_secret).expanduser(), "curve")
    public = curve_public(secret)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    socket.setsockopt(zmq.CURVE_SERVERKEY, read_public(security.producer_public, "curve"))
    return public


def _require(security: SecurityConfig, side: str, *names: str) -> None:
    missing = [f"wire.security.{name}" for name in names if not getattr(security, name)]
    if missing:
        raise SecurityError(
            f"expected {' and '.join(missing)} for the {side}'s side; got none: make keys with "
            "`onlineflows keys make` and name their files"
        )


def curve_pair() -> tuple[bytes, bytes]:
    """Returns a new pair of keys for the wire: public and secret, 32 bytes each."""
    public, secret = zmq.curve_keypair()
    return zmq.utils.z85.decode(public), zmq.utils.z85.decode(secret)


def curve_public(secret: bytes) -> bytes:
    """Returns the public key that belongs to a secret one."""
    return zmq.utils.z85.decode(zmq.curve_public(zmq.utils.z85.encode(secret)))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Returns what changes when a file does; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
