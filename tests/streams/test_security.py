"""Keys on real sockets: who is let in, who is not, and that everybody refused is counted."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from streams import LHCO, InputError, RunBegan, SecurityConfig, SecurityError, WireConfig, security
from streams.errors import TransportError
from streams.keyfiles import allow, read_public, write_pair
from streams.security import DOMAIN, ZAP_ADDRESS, curve_pair
from streams.settings import is_local
from streams.transport import Receiver, Sender

BEGIN = RunBegan("ab" * 16, 1, LHCO, "lossless")
ANY_PORT = "tcp://127.0.0.1:*"
PATIENCE_S = 10.0


def make_pair(folder: Path, name: str) -> None:
    public, secret = curve_pair()
    write_pair(folder, name, "curve", secret=secret, public=public)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("producer", "consumer", "stranger", "impostor"):
        make_pair(folder, name)
    allow(folder / "allowed", read_public(folder / "consumer.public", "curve"), "consumer")
    return folder


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "REREAD_S", 0.0)
    monkeypatch.setattr(security, "RETRY_S", 0.05)


@pytest.fixture
def both(keys: Path) -> SecurityConfig:
    return SecurityConfig(
        producer_secret=str(keys / "producer.secret"),
        producer_public=str(keys / "producer.public"),
        consumer_secret=str(keys / "consumer.secret"),
        allowed=str(keys / "allowed"),
    )


def wire(keys: SecurityConfig, address: str = ANY_PORT, **changes: float) -> WireConfig:
    return WireConfig(address=address, heartbeat_s=0.2, security=keys, **changes)


@pytest.fixture
def sender(both: SecurityConfig) -> Iterator[Sender]:
    with Sender(wire(both), BEGIN) as sender:
        yield sender


def until(condition: Callable[[], object], *ends: Sender | Receiver) -> bool:
    """Polls both ends in turns until something is so; returns whether it came to be."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for one in ends:
            one.poll(0.01)
        if condition():
            return True
    return False


def test_a_known_key_is_served(sender: Sender, both: SecurityConfig) -> None:
    with Receiver(wire(both, sender.address), name="learner") as receiver:
        assert until(lambda: sender.is_connected and sender.can_send(0), receiver, sender)
        assert sender.refusals == {}


def test_an_unknown_key_is_refused_and_told_what_to_do(
    sender: Sender, both: SecurityConfig, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = replace(both, consumer_secret=str(keys / "stranger.secret"))
    config = wire(stranger, sender.address, connect_timeout_s=1.0)
    with (
        Receiver(config, name="learner") as receiver,
        pytest.raises(TransportError, match="onlineflows keys allow"),
    ):
        until(lambda: False, receiver, sender)
    assert not sender.is_connected
    assert sender.refusals["unknown key"] >= 2, "a refused consumer tries again"
    digits = read_public(keys / "stranger.public", "curve").hex()
    assert sum(digits in r.message and "unknown key" in r.message for r in caplog.records) == 1


def test_a_consumer_does_not_believe_another_producer(
    sender: Sender, both: SecurityConfig, keys: Path
) -> None:
    other = replace(both, producer_public=str(keys / "impostor.public"))
    with Receiver(wire(other, sender.address), name="learner") as receiver:
        assert until(lambda: "wrong producer key" in sender.refusals, receiver, sender)
    assert not sender.is_connected


def test_a_consumer_without_keys_is_refused(sender: Sender) -> None:
    config = wire(SecurityConfig(), sender.address, connect_timeout_s=1.0)
    with (
        Receiver(config, name="learner") as receiver,
        pytest.raises(TransportError, match="the producer may want keys"),
    ):
        until(lambda: False, receiver, sender)
    assert sender.refusals["no keys"] >= 1
    assert not sender.is_connected


def test_a_consumer_with_keys_does_not_speak_to_a_producer_without(both: SecurityConfig) -> None:
    with (
        Sender(wire(SecurityConfig()), BEGIN) as open_sender,
        Receiver(wire(both, open_sender.address), name="learner") as receiver,
    ):
        assert until(lambda: "no keys" in open_sender.refusals, receiver, open_sender)
        assert not open_sender.is_connected


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x01\x00\x05\x00hello" * 50,
        bytes((7 * i + i * i) % 256 for i in range(4096)),
        b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48),
    ],
)
def test_junk_reaches_nobody_and_is_counted(sender: Sender, junk: bytes) -> None:
    port = int(sender.address.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(junk)
        assert until(lambda: sender.refusals, sender)
    assert sender.n_malformed == 0
    assert not sender.is_connected


def test_another_domain_is_refused(sender: Sender, both: SecurityConfig) -> None:
    sender._socket.setsockopt(zmq.ZAP_DOMAIN, b"global")
    sender._socket.bind(ANY_PORT)
    address = sender._socket.getsockopt_string(zmq.LAST_ENDPOINT)
    with Receiver(wire(both, address), name="learner") as receiver:
        assert until(lambda: "other domain" in sender.refusals, receiver, sender)
    assert not sender.is_connected


@pytest.mark.parametrize(
    ("request_frames", "reason"),
    [
        ([b"1.0"], "malformed request"),
        ([b"2.0", b"1", DOMAIN, b"", b"", b"CURVE", bytes(32)], "malformed request"),
        ([b"1.0", b"1", DOMAIN, b"", b"", b"NULL"], "other mechanism"),
        ([b"1.0", b"1", DOMAIN, b"", b"", b"PLAIN", b"user", b"pass"], "other mechanism"),
        ([b"1.0", b"1", DOMAIN, b"", b"", b"CURVE", bytes(31)], "other mechanism"),
        ([b"1.0", b"1", b"*", b"", b"", b"CURVE", bytes(32)], "other domain"),
    ],
)
def test_the_gate_refuses_what_it_does_not_know(
    sender: Sender, request_frames: list[bytes], reason: str
) -> None:
    with sender._context.socket(zmq.REQ) as asking:
        asking.connect(ZAP_ADDRESS)
        asking.send_multipart(request_frames)
        assert until(lambda: asking.poll(0), sender)
        assert asking.recv_multipart()[2] == b"400"
    assert sender.refusals == {reason: 1}


def test_a_key_put_on_the_list_is_let_in_without_a_restart(
    both: SecurityConfig, keys: Path, tmp_path: Path
) -> None:
    allowed = tmp_path / "allowed"
    allowed.touch(mode=0o600)
    config = replace(both, allowed=str(allowed))
    with (
        Sender(wire(config), BEGIN) as sender,
        Receiver(wire(config, sender.address), name="learner") as receiver,
    ):
        assert until(lambda: sender.refusals.get("unknown key"), receiver, sender)
        allow(allowed, read_public(keys / "consumer.public", "curve"), "learner")
        assert until(lambda: sender.is_connected, receiver, sender)


def test_a_key_taken_off_the_list_is_heard_no_more(
    both: SecurityConfig, keys: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    allowed = tmp_path / "allowed"
    allow(allowed, read_public(keys / "consumer.public", "curve"), "learner")
    config = replace(both, allowed=str(allowed))
    with (
        Sender(wire(config), BEGIN) as sender,
        Receiver(wire(config, sender.address), name="learner") as receiver,
    ):
        assert until(lambda: sender.is_connected, receiver, sender)
        allowed.write_text("# nobody\n")
        assert until(lambda: not sender.is_connected, receiver, sender)
        assert sender.refusals["revoked"] >= 1
        assert until(lambda: sender.refusals["revoked"] >= 3, receiver, sender)
        assert not sender.is_connected
    assert sum("refused (revoked)" in r.message for r in caplog.records) == 1


def test_a_list_that_is_damaged_leaves_the_former_one_in_force(
    both: SecurityConfig, keys: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    allowed = tmp_path / "allowed"
    allow(allowed, read_public(keys / "consumer.public", "curve"), "learner")
    config = replace(both, allowed=str(allowed))
    with Sender(wire(config), BEGIN) as sender:
        allowed.write_text("half a li")
        assert until(lambda: "stays as it was" in caplog.text, sender)
        with Receiver(wire(config, sender.address), name="learner") as receiver:
            assert until(lambda: sender.is_connected, receiver, sender)


def test_a_frame_beyond_the_limit_ends_the_connection(both: SecurityConfig, sender: Sender) -> None:
    with Receiver(wire(both, sender.address), name="learner") as receiver:
        assert until(lambda: sender.is_connected, receiver, sender)
        receiver._socket.send(bytes(both.max_request_nbytes + 1))
        assert until(lambda: sender._guard._handshakes._n_accepted == 2, receiver, sender)
    assert sender.n_malformed == 0, "the large frame was handed over"


@pytest.mark.parametrize(
    "address", ["tcp://*:5757", "tcp://0.0.0.0:5757", "tcp://192.0.2.1:5757", "tcp://daq01:5757"]
)
def test_an_address_that_others_reach_wants_keys(address: str) -> None:
    assert not is_local(address)
    with pytest.raises(InputError, match="onlineflows keys"):
        WireConfig(address=address)
    WireConfig(address=address, security=SecurityConfig(insecure=True))


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:*", "tcp://127.1.2.3:1", "tcp://localhost:5", "ipc:///tmp/x", "inproc://x"],
)
def test_an_address_of_this_machine_needs_none(address: str) -> None:
    assert is_local(address)
    WireConfig(address=address)


def test_an_address_with_a_source_is_local_only_if_both_parts_are() -> None:
    assert not is_local("tcp://127.0.0.1:0;192.0.2.1:5757")


def test_insecure_is_said_loudly(caplog: pytest.LogCaptureFixture) -> None:
    with Sender(wire(SecurityConfig(insecure=True)), BEGIN):
        assert "INSECURE" in caplog.text


def test_keys_and_insecure_exclude_each_other() -> None:
    with pytest.raises(InputError, match="got both"):
        SecurityConfig(insecure=True, allowed="allowed")


@pytest.mark.parametrize("missing", ["producer_secret", "allowed"])
def test_a_producer_without_its_half_is_told_what_is_missing(
    both: SecurityConfig, missing: str
) -> None:
    with pytest.raises(SecurityError, match=missing):
        Sender(wire(replace(both, **{missing: ""})), BEGIN)


@pytest.mark.parametrize("missing", ["consumer_secret", "producer_public"])
def test_a_consumer_without_its_half_is_told_what_is_missing(
    both: SecurityConfig, missing: str
) -> None:
    with pytest.raises(SecurityError, match=missing):
        Receiver(wire(replace(both, **{missing: ""}), "tcp://127.0.0.1:1"), name="learner")


def test_a_socket_refused_its_keys_leaves_nothing_open(both: SecurityConfig) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(SecurityError):
            Sender(wire(replace(both, allowed="/nowhere/allowed")), BEGIN)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
