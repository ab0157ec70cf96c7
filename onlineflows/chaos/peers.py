"""Peers that don't belong: strangers, second consumers, other versions, other runs."""

import contextlib
import random
import socket
from collections.abc import Callable

from onlineflows.chaos import zmtp
from onlineflows.chaos.stage import Stage
from onlineflows.chaos.stream import DEADLINE_S, NAME, PACED
from onlineflows.online.rundir import RunDirectory
from streams.codec import encode
from streams.messages import Counts, Hello, Stand

LIFE_S = 0.2
GROWTH_MB = 10.0
HUGE = 1 << 40
LATER_VERSION = 99
SLOW_HZ = 1_000
"""Events a second, so that the run lasts until another consumer has started."""

ELSEWHERE = "elsewhere"


def junk(peer: socket.socket, rng: random.Random) -> None:
    """Sends random bytes."""
    peer.sendall(rng.randbytes(rng.randrange(1, 8192)))


def web_request(peer: socket.socket, _rng: random.Random) -> None:
    """Speaks another protocol."""
    peer.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" * 20)


def junk_messages(peer: socket.socket, rng: random.Random) -> None:
    """Greets as ZeroMQ does, then sends messages of random frames."""
    zmtp.greet(peer, "stranger")
    for _ in range(50):
        peer.sendall(zmtp.frame(rng.randbytes(rng.randrange(300)), more=rng.random() < 0.5))


def huge_claim(peer: socket.socket, _rng: random.Random) -> None:
    """Announces a frame of a terabyte, and begins it."""
    zmtp.greet(peer, "stranger")
    peer.sendall(zmtp.claim(HUGE) + bytes(100_000))


def wrong_socket(peer: socket.socket, _rng: random.Random) -> None:
    """Is a ZeroMQ socket of a kind that doesn't fit."""
    zmtp.greet(peer, "stranger", "PUB")
    peer.sendall(zmtp.frame(b"hello"))


def half_greeting(peer: socket.socket, rng: random.Random) -> None:
    """Stops in the middle of the greeting."""
    peer.sendall(zmtp.GREETING[: rng.randrange(1, len(zmtp.GREETING))])


STRANGERS: tuple[Callable[[socket.socket, random.Random], None], ...] = (
    junk,
    web_request,
    junk_messages,
    huge_claim,
    wrong_socket,
    half_greeting,
)


def meet_strangers(stage: Stage, rounds: int) -> int:
    """Lets strangers connect to the producer's port; their connections stay open."""
    stage.begin()
    before_mb = stage.producer.resident_mb
    played = rounds
    with contextlib.ExitStack() as connections:
        for n in range(rounds):
            if not stage.dwell(stage.rng.uniform(0, LIFE_S)):
                played = n
                break
            stranger = stage.rng.choice(STRANGERS)
            stage.notes.setdefault("strangers", []).append(stranger.__name__)
            with contextlib.suppress(OSError):  # refused, as it should be
                peer = connections.enter_context(zmtp.connect(stage.address))
                stranger(peer, stage.rng)
        after_mb = stage.producer.resident_mb or before_mb
        stage.require_growth("producer", before_mb, after_mb, GROWTH_MB)
        stage.finish()
    return played


def greet_with_other_version(stage: Stage, rounds: int) -> int:
    """Greets in a version of the protocol that the producer doesn't speak; it says so."""
    stage.begin()
    stand = Stand(0, 0, 0, Counts(), Counts(), bytes(8))
    hello = encode(Hello((LATER_VERSION,), "later", None, stand, 8, 1 << 20, truth=False))
    for n in range(rounds):
        if not stage.dwell(stage.rng.uniform(0, LIFE_S)):
            return n
        with zmtp.connect(stage.address) as peer:
            zmtp.greet(peer, "later")
            peer.sendall(zmtp.frame(hello))
            said = zmtp.answer(peer)
        stage.require(b"version" in said, f"a refusal that names the version; got {said[-200:]!r}")
    return rounds


def second_consumer(stage: Stage, _rounds: int) -> int:
    """Starts a consumer of another name beside the one that is served; it is turned away."""
    _begin_slowly(stage)
    second = stage.start("train", {"run.name": "second"}, "--overwrite")
    code = second.finish(deadline_s=DEADLINE_S)
    is_told = code == 2 and "is being served" in second.log
    stage.require(is_told, f"a second consumer that is turned away; {code}, {second.last_words}")
    stage.require(stage.consumer.is_running, "a first consumer that goes on")
    _hurry(stage)
    return 1


def same_name(stage: Stage, _rounds: int) -> int:
    """Starts a consumer of the same name in another folder while the first one is served.

    A consumer that was started again must be let in at once, so the newcomer is served; the other
    is told, ends, and keeps its checkpoints.
    """
    _begin_slowly(stage)
    stage.wait_for_checkpoint(0)
    first, kept = stage.consumer, stage.directory
    stage.follow(RunDirectory(stage.folder / ELSEWHERE / NAME))
    stage.start_consumer({"run.directory": ELSEWHERE})
    code = first.finish(deadline_s=DEADLINE_S)
    is_told = code == 2 and "has taken this one's place" in first.log
    stage.require(is_told, f"a first consumer that is told and ends; {code}, {first.last_words}")
    stage.require(any(kept.checkpoints.iterdir()), "checkpoints of the first one")
    _hurry(stage)
    return 1


def _begin_slowly(stage: Stage) -> None:
    stage.start_producer({**PACED, "pacing.rate_hz": SLOW_HZ})
    stage.start_consumer()
    stage.wait_for_run()


def _hurry(stage: Stage) -> None:
    """Replaces the slow producer by a faster one."""
    stage.producer.kill()
    stage.start_producer()


def other_run(stage: Stage, _rounds: int) -> int:
    """Replaces the producer by one of another stream, which the consumer is not to learn from;
    then the right one comes back.
    """
    stage.begin()
    if not (stage.wait_for_checkpoint(0) and stage.dwell(stage.rng.uniform(0, LIFE_S))):
        return 0
    stage.producer.kill()
    seed = int(str(stage.settings["source.seed"])) + 1
    other = stage.start_producer({**PACED, "source.seed": seed})
    code = stage.consumer.finish(deadline_s=DEADLINE_S)
    is_told = code == 2 and "epoch" in stage.consumer.last_words
    words = stage.consumer.last_words
    stage.require(is_told, f"a consumer that refuses another run; {code}, {words}")
    other.kill()
    stage.hit()
    stage.start_producer()
    stage.start_consumer()
    return 1
