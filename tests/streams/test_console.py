"""A daemon's console over real sockets: requests, replies, telemetry, and who may come."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from streams import Counts
from streams.console import REQUESTS_AT_ONCE, Console, Listener, Place, Pulse, ask
from streams.console_codec import decode_reply, encode
from streams.control import Reply, Request
from streams.errors import MessageError, TransportError
from streams.telemetry import ProducerTelemetry

WAIT_S = 5.0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.of(tmp_path / "run", "replay")


@pytest.fixture
def console(place: Place) -> Iterator[Console]:
    with Console(place) as opened:
        yield opened


def telemetry(sequence: int) -> ProducerTelemetry:
    return ProducerTelemetry(
        sequence=sequence,
        unix_s=0.0,
        pid=1,
        state="running",
        run=1,
        epoch="ab" * 16,
        mode="lossless",
        lanes=1,
        next_event=10,
        n_events=None,
        counts=Counts(generated=10, sent=10),
        n_batches=1,
        credit=3,
        n_trained=5,
        arrivals="asap",
        rate_hz=None,
        elapsed_s=1.0,
        live_s=1.0,
        dead_s=0.0,
        paused_s=0.0,
        lumisection=1,
    )


def answered(console: Console, place: Place, request: Request, reply: Reply) -> Reply:
    """What a client gets that asks while the daemon's loop turns."""
    got: list[Reply] = []
    client = threading.Thread(target=lambda: got.append(ask(place, request, timeout_s=WAIT_S)))
    client.start()
    while client.is_alive():
        for peer, asked in console.requests():
            assert asked == request
            console.answer(peer, reply)
        client.join(0.01)
    return got[0]


def test_a_request_is_answered(console: Console, place: Place) -> None:
    reply = Reply(True, "done", {"next_event": 7})
    assert answered(console, place, Request("burst", 12.0), reply) == reply


def test_nobody_there_is_a_clear_error(place: Place) -> None:
    with pytest.raises(TransportError, match=r"expected an answer within 0\.05 s"):
        ask(place, Request("status"), timeout_s=0.05)


@pytest.mark.parametrize("frames", [[b""], [b"\xc1" * 40], [b"a", b"b"], [os.urandom(900)]])
def test_junk_is_refused_and_harms_nobody(
    console: Console, place: Place, frames: list[bytes]
) -> None:
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(f"ipc://{place.control}")
    socket.send_multipart(frames)
    try:
        while not socket.poll(10):
            assert console.requests() == []
        assert b"expected a request" in socket.recv()
    finally:
        socket.close()
        context.term()
    assert answered(console, place, Request("status"), Reply(True, "")) == Reply(True, "")


def test_a_flood_of_requests_is_taken_in_portions(console: Console, place: Place) -> None:
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(f"ipc://{place.control}")
    n_sent = 3 * REQUESTS_AT_ONCE
    for _ in range(n_sent):
        socket.send(encode(Request("pause")))
    n_taken = 0
    while n_taken < n_sent:
        n = len(console.requests())
        assert n <= REQUESTS_AT_ONCE
        n_taken += n
    socket.close()
    context.term()


def test_a_listener_hears_the_newest(console: Console, place: Place) -> None:
    with Listener({"replay": place}) as listener:
        heard: list[tuple[str, object]] = []
        for sequence in range(1000):
            console.publish(telemetry(sequence))
            heard += listener.listen(0.01)
            if heard:
                break
    name, document = heard[0]
    assert name == "replay"
    assert isinstance(document, ProducerTelemetry)


def test_a_listener_that_does_not_read_never_holds_the_daemon(
    console: Console, place: Place
) -> None:
    with Listener({"replay": place}) as listener:
        for sequence in range(1000):
            console.publish(telemetry(sequence))
            if listener.listen(0.01):
                break
        for sequence in range(100_000):
            console.publish(telemetry(sequence))  # would block, or fill the memory, if it waited
        assert len(listener.listen(0.2)) < 5000


def test_a_listener_may_come_before_its_daemon_and_outlive_it(place: Place) -> None:
    with Listener({"replay": place}) as listener:
        for _ in range(2):
            with Console(place) as console:
                heard = []
                for sequence in range(1000):
                    console.publish(telemetry(sequence))
                    heard = listener.listen(0.02)
                    if heard:
                        break
                assert heard


def test_only_the_user_can_use_the_sockets(console: Console, place: Place) -> None:
    for path in (place.control, place.telemetry):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_closing_removes_the_sockets(place: Place) -> None:
    with Console(place):
        assert place.exists
    assert not place.exists
    assert not place.telemetry.exists()


def test_a_daemon_that_leaves_late_keeps_its_successors_sockets(place: Place) -> None:
    first = Console(place)
    with Console(place) as second:
        first.close()
        assert place.telemetry.exists()
        assert answered(second, place, Request("status"), Reply(True, "")).ok


def test_what_a_killed_daemon_left_is_replaced(place: Place) -> None:
    place.control.parent.mkdir()
    place.control.touch()
    with Console(place) as console:
        assert answered(console, place, Request("status"), Reply(True, "")).ok


def test_a_long_path_gets_a_place_among_the_users_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")
    deep = tmp_path / ("x" * 120)
    place = Place.of(deep, "train")
    assert place == Place.of(deep, "train")
    assert place != Place.of(tmp_path / ("y" * 120), "train")
    with Console(place) as console:
        assert place.control.parents[1] == Path(f"/tmp/onlineflows-{os.getuid()}")
        assert stat.S_IMODE(place.control.parents[1].stat().st_mode) == 0o700
        assert answered(console, place, Request("status"), Reply(True, "")).ok
    assert not place.control.parent.exists()


@pytest.mark.parametrize("made", ["open to others", "a link"])
def test_a_folder_of_a_stranger_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    private = tmp_path / f"onlineflows-{os.getuid()}"
    if made == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        private.symlink_to(tmp_path / "elsewhere")
    else:
        private.mkdir(mode=0o755)
    place = Place.of(tmp_path / ("x" * 120), "train")
    for connect in (lambda: ask(place, Request("status")), lambda: Listener({"train": place})):
        with pytest.raises(TransportError, match="not a private folder of this user"):
            connect()
    with pytest.raises(TransportError, match="not a private folder of this user"):
        Console(place)


def test_a_place_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TransportError, match=r"operation\.console = false"):
        Console(Place.of(tmp_path / "file", "train"))


def test_a_listener_counts_what_it_does_not_understand(place: Place) -> None:
    place.telemetry.parent.mkdir()
    context = zmq.Context()
    socket = context.socket(zmq.PUB)
    socket.bind(f"ipc://{place.telemetry}")
    with Listener({"replay": place}) as listener:
        for _ in range(1000):
            socket.send(b"not telemetry")
            assert listener.listen(0.01) == []
            if listener.n_malformed:
                break
        assert listener.n_malformed
    socket.close()
    context.term()


def test_a_pulse_beats_once_per_interval() -> None:
    pulse = Pulse(1.0, 0.0)
    assert [pulse.is_due(t) for t in (0.0, 0.5, 1.0, 1.1, 5.0, 5.5)] == [
        True, False, True, False, True, False
    ]  # fmt: skip


def test_a_reply_that_is_none_is_an_error() -> None:
    with pytest.raises(MessageError, match="expected a reply"):
        decode_reply(b"\x00")
